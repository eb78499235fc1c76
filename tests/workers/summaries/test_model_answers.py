"""Odd answers of a model's server end in a named failure or in a correct draft."""

import gzip
import json
import traceback
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.messages import conversation, sections
from tests.openai_server import GOOD_ANSWER, OpenAIServer, Reply, completion, error, openai_server
from workers.summaries.answer import AnswerCutOff, AnswerWithheld, OnlyReasoning
from workers.summaries.markdown import HEADINGS, LEFT_OUT
from workers.summaries.model import LARGEST_ANSWER
from workers.summaries.summariser import MAX_ANSWER, ModelFailed, ModelRefused, Summariser, SummarySettings
from workers.summaries.summary import Summary, TokenUsage

KEY = "sk-secret-of-the-test"
MESSAGES = conversation(("Ken", "We move in May"), ("Mary", "I book the van"), ("Ken", "Fine"))


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as server:
        yield server


async def summary_from(server: OpenAIServer, model: str = "model-1") -> Summary:
    summariser = Summariser(SummarySettings(api_key=KEY, model=model, base_url=server.url))
    try:
        return await summariser.summarise(MESSAGES, _no_report)
    finally:
        await summariser.close()


async def _no_report(total: int, processed: int) -> None:
    pass


THOUGHTS = "maybe call Bob? [#1]"


@pytest.mark.parametrize(
    "before",
    [
        f"<think>{THOUGHTS}</think>\n",
        f"<THINK>\n{THOUGHTS}\n</THINK>",
        f'<thinking mode="deep">{THOUGHTS}</thinking>',
        f"<reasoning>{THOUGHTS}</reasoning>",
        f"<think>{THOUGHTS}<think>again</think>{THOUGHTS}</think>",
        f"<think>{THOUGHTS}<think>{THOUGHTS}</think>",
        f"{THOUGHTS}</think>\n",
        f"<think>## Summary\n- {THOUGHTS}</think>",
        f"[THINK]{THOUGHTS}[/THINK]",
        f"◁think▷{THOUGHTS}◁/think▷",
        f"<|begin_of_thought|>{THOUGHTS}<|end_of_thought|>",
        f"<|START_THINKING|>{THOUGHTS}<|END_THINKING|>",
        f"<seed:think>{THOUGHTS}</seed:think>",
        f"&lt;think&gt;{THOUGHTS}&lt;/think&gt;",
        f"```thinking\n{THOUGHTS}\n```\n",
        f"<|channel|>analysis<|message|>{THOUGHTS}<|end|><|start|>assistant<|channel|>final<|message|>",
        f"analysis{THOUGHTS}assistantfinal",
        f'<details type="reasoning" done="true"><summary>Thought</summary>{THOUGHTS}</details>\n',
        f"<mulling>{THOUGHTS}\n## Summary\n- {THOUGHTS}</mulling>\n",
        f"Let me see: {THOUGHTS}\n\n",
        f"<think>{THOUGHTS * 1_000}</think>",
    ],
)
async def test_the_model_s_reasoning_is_left_out_of_the_draft(server: OpenAIServer, before: str) -> None:
    server.answer = lambda request: before + GOOD_ANSWER.replace(" [#1, #2]", " [#3]")

    summary = await summary_from(server)

    assert "Bob" not in summary.content
    assert sections(summary.content)["Next Actions"] == ["- **Ken**: book the van by Friday"]
    assert summary.source_links == ("1002", "1001")


async def test_reasoning_after_the_answer_is_left_out(server: OpenAIServer) -> None:
    server.answer = lambda request: f"{GOOD_ANSWER}\n<think>{THOUGHTS}"

    assert "Bob" not in (await summary_from(server)).content


async def test_a_tag_quoted_from_messages_is_not_taken_for_reasoning(server: OpenAIServer) -> None:
    server.answer = lambda request: GOOD_ANSWER.replace("to move", "to drop `<think>` from the log")

    assert "`<think>` from the log" in (await summary_from(server)).content


@pytest.mark.parametrize(
    "reply",
    [
        completion(f"<think>{THOUGHTS}"),
        completion(f"<think>{THOUGHTS}</think>\n \n"),
        completion(f"<think>{GOOD_ANSWER}"),
        completion(f"<|channel|>analysis<|message|>{THOUGHTS}"),
        completion(None, reasoning_content=THOUGHTS),
        completion("", reasoning=THOUGHTS),
        completion([{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHTS}]}], reasoning_content=THOUGHTS),
    ],
)
async def test_an_answer_of_only_reasoning_is_a_named_failure(server: OpenAIServer, reply: Reply) -> None:
    server.next_replies.append(reply)

    with pytest.raises(OnlyReasoning, match="nothing but its reasoning"):
        await summary_from(server)


@pytest.mark.parametrize(
    ("reason", "raised"),
    [
        ("length", AnswerCutOff),
        ("max_tokens", AnswerCutOff),
        ("MAX_TOKENS", AnswerCutOff),
        ("content_filter", AnswerWithheld),
        ("SAFETY", AnswerWithheld),
        ("tool_calls", ModelFailed),
        ("error", ModelFailed),
        ("something_new", ModelFailed),
    ],
)
async def test_an_answer_that_was_cut_off_or_withheld_is_a_failure_that_names_the_reason(
    server: OpenAIServer, reason: str, raised: type[Exception]
) -> None:
    server.next_replies.append(completion(GOOD_ANSWER, reason))

    with pytest.raises(raised, match=reason):
        await summary_from(server)

    assert len(server.requests) == 1


@pytest.mark.parametrize("reason", ["stop", "STOP", "eos_token", "end_turn", None])
async def test_an_answer_that_ended_normally_is_used(server: OpenAIServer, reason: str | None) -> None:
    server.next_replies.append(completion(GOOD_ANSWER, reason))

    assert list(sections((await summary_from(server)).content)) == list(HEADINGS)


@pytest.mark.parametrize(
    ("answer", "left_out"),
    [
        ("## Summary\n- x\n## Key Topics\n- y", ("Open Items", "Next Actions")),
        ("## Summary\n- x\n## Key Topics\n- y\n## Open Items\n- z\n## Next Actions\n", ("Next Actions",)),
        ("## Next Actions\n- x", ("Summary", "Key Topics", "Open Items")),
        ("- x", ("Key Topics", "Open Items", "Next Actions")),
    ],
)
async def test_a_section_that_the_model_left_out_is_reported_as_missing_not_as_empty(
    server: OpenAIServer, answer: str, left_out: tuple[str, ...]
) -> None:
    server.answer = lambda request: answer

    found = sections((await summary_from(server)).content)

    assert tuple(heading for heading, lines in found.items() if lines == [LEFT_OUT["en"]]) == left_out
    assert not any("None" in line or "なし" in line for lines in found.values() for line in lines)


async def test_each_section_of_an_answer_that_is_too_long_keeps_its_beginning(server: OpenAIServer) -> None:
    server.answer = lambda request: "\n".join(f"## {heading}\n" + f"- {heading} is long\n" * 1_000 for heading in HEADINGS)

    content = (await summary_from(server)).content

    assert len(content) < MAX_ANSWER * 1.1
    for heading, lines in sections(content).items():
        assert lines[0] == f"- {heading} is long"
        assert "left out" in lines[-1]


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": GOOD_ANSWER}],
        [{"type": "thinking", "thinking": THOUGHTS}, {"type": "text", "text": GOOD_ANSWER}],
        [{"type": "output_text", "text": GOOD_ANSWER[:40]}, {"type": "output_text", "text": GOOD_ANSWER[40:]}],
        [{"type": "text", "text": {"value": GOOD_ANSWER}}],
        [GOOD_ANSWER],
    ],
)
async def test_an_answer_in_parts_is_read(server: OpenAIServer, content: object) -> None:
    server.next_replies.append(completion(content))

    assert sections((await summary_from(server)).content)["Key Topics"] == ["- The move"]


@pytest.mark.parametrize(
    "reply",
    [
        completion(None, refusal=f"I will not\x1b[31m\nhelp with {KEY}. " + "x" * 5_000),
        completion([{"type": "refusal", "refusal": f"I will not\x1b[31m\nhelp with {KEY}. " + "x" * 5_000}]),
    ],
)
async def test_a_refusal_forbids_a_retry_and_is_reported_in_one_short_line(server: OpenAIServer, reply: Reply) -> None:
    server.next_replies.append(reply)

    with pytest.raises(ModelRefused, match="refused: I will not") as refused:
        await summary_from(server)

    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()
    assert KEY not in str(refused.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("tokens", [-1, 10**30, True, "many", 1.5, None])
async def test_an_invalid_token_usage_counts_as_zero(server: OpenAIServer, tokens: object) -> None:
    body = json.loads(completion(GOOD_ANSWER).body) | {"usage": {"prompt_tokens": tokens, "completion_tokens": 7}}
    server.next_replies.append(Reply(200, json.dumps(body).encode()))

    assert (await summary_from(server)).usage == TokenUsage(0, 7)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "insufficient_quota"),
        (429, "billing_hard_limit_reached"),
        (429, "billing_not_active"),
        (402, "insufficient_balance"),
        (429, "account_deactivated"),
        (401, "invalid_api_key"),
        (403, "unsupported_country_region_territory"),
    ],
)
async def test_a_permanent_error_fails_the_job_after_one_request(server: OpenAIServer, status: int, code: str) -> None:
    server.next_replies.extend([error(status, "no", code)] * 3)

    with pytest.raises(ModelRefused, match=rf"{status} \({code}\)"):
        await summary_from(server)

    assert len(server.requests) == 1


async def test_a_used_up_quota_is_recognised_by_the_error_s_type(server: OpenAIServer) -> None:
    body = json.dumps({"error": {"message": "no", "type": "insufficient_quota", "code": None}}).encode()
    server.next_replies.extend([Reply(429, body)] * 3)

    with pytest.raises(ModelRefused, match="insufficient_quota"):
        await summary_from(server)

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        error(404, "The model `gone-1` does not exist", "model_not_found"),
        error(404, "model 'gone-1' not found"),
        error(403, "no access", "model_not_found"),
        Reply(404, b"no such page", "text/plain"),
        Reply(400, b'{"error": {"message": "invalid", "param": "model", "code": "invalid_value"}}'),
        Reply(404, b'[{"error": {"code": 404, "status": "NOT_FOUND"}}]'),
    ],
)
async def test_an_unknown_model_fails_the_job_and_the_error_names_the_setting(server: OpenAIServer, reply: Reply) -> None:
    server.next_replies.append(reply)

    with pytest.raises(ModelRefused, match=r"OPENAI_MODEL.*gone-1"):
        await summary_from(server, model="gone-1")

    assert len(server.requests) == 1


async def test_an_error_inside_a_response_with_status_200_is_an_error(server: OpenAIServer) -> None:
    server.next_replies.append(Reply(200, b'{"error": {"code": 429, "type": "insufficient_quota", "message": "no"}}'))

    with pytest.raises(ModelRefused, match="insufficient_quota"):
        await summary_from(server)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 503])
async def test_the_stack_of_an_error_has_no_text_of_the_answer(server: OpenAIServer, status: int) -> None:
    echo = f"Authorization: Bearer {KEY} said Ken: We move in May"
    server.next_replies.extend([Reply(status, json.dumps({"error": {"message": echo, "code": echo}}).encode())] * 3)

    with pytest.raises((ModelRefused, ModelFailed)) as raised:
        await summary_from(server)

    stack = "".join(traceback.format_exception(raised.value))
    assert KEY not in stack
    assert "move in May" not in stack
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


BOMB = gzip.compress(gzip.compress(b" " * 2**28))
"""A compressed body of less than two kilobytes that unpacks to a quarter of a gigabyte."""


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (BOMB, "gzip, gzip"),
        (gzip.compress(b" " * 2**28), "gzip"),
        (gzip.compress(BOMB), "gzip, gzip, gzip"),
        (b" " * (LARGEST_ANSWER + 1), "identity"),
    ],
)
async def test_an_answer_of_any_size_takes_a_limited_amount_of_memory(
    server: OpenAIServer, status: int, body: bytes, coding: str
) -> None:
    server.next_replies.extend([Reply(status, body, headers=(("content-encoding", coding),))] * 3)
    tracemalloc.start()
    try:
        with pytest.raises((ModelFailed, ModelRefused)):
            await summary_from(server)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 10 * LARGEST_ANSWER


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(completion(GOOD_ANSWER).body), "gzip"),
        (gzip.compress(gzip.compress(completion(GOOD_ANSWER).body)), "gzip, gzip"),
        (completion(GOOD_ANSWER).body, "identity"),
    ],
)
async def test_a_compressed_answer_is_read(server: OpenAIServer, body: bytes, coding: str) -> None:
    server.next_replies.append(Reply(200, body, headers=(("content-encoding", coding),)))

    assert "van" in (await summary_from(server)).content


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"no gzip", "gzip"),
        (gzip.compress(completion(GOOD_ANSWER).body)[:-20], "gzip"),
        (b"x", "br"),
        (b"[" * 100_000, "identity"),
    ],
)
async def test_an_answer_that_cannot_be_unpacked_allows_a_retry(server: OpenAIServer, body: bytes, coding: str) -> None:
    server.next_replies.append(Reply(200, body, headers=(("content-encoding", coding),)))

    with pytest.raises(ModelFailed, match=r"compressed|read"):
        await summary_from(server)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_messages_are_not_sent_to_the_target_of_a_redirect(server: OpenAIServer, status: int) -> None:
    async with openai_server() as elsewhere:
        location = (("location", f"{elsewhere.url}/chat/completions"),)
        server.next_replies.append(Reply(status, b"", headers=location))

        with pytest.raises(ModelRefused, match=rf"{status}.*OPENAI_BASE_URL"):
            await summary_from(server)

        assert elsewhere.requests == []


async def test_environment_variables_of_the_vendor_s_package_have_no_effect(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    strange = {
        "OPENAI_ORG_ID": "org-stray", "OPENAI_ORGANIZATION": "org-stray", "OPENAI_PROJECT_ID": "proj-stray",
        "OPENAI_LOG": "debug", "OPENAI_CUSTOM_HEADERS": "X-Stray: stray", "OPENAI_ADMIN_KEY": "stray-key",
        "OPENAI_WEBHOOK_SECRET": "stray", "OPENAI_API_TYPE": "azure", "OPENAI_API_VERSION": "stray",
        "OPENAI_DEFAULT_MODEL": "stray", "HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1",
    }  # fmt: skip
    for name, value in strange.items():
        monkeypatch.setenv(name, value)

    await summary_from(server)

    assert "stray" not in server.heads[0]
    assert "stray" not in json.dumps(server.requests)
    assert "van" not in capfd.readouterr().err


async def test_a_query_in_the_base_url_is_sent_with_each_request(server: OpenAIServer) -> None:
    base_url = server.url.removesuffix("/v1") + "/openai/deployments/gpt/?api-version=2026-10-01&x=%E3%81%82"
    summariser = Summariser(SummarySettings(api_key=KEY, model="m", base_url=base_url))

    await summariser.summarise(MESSAGES, _no_report)

    await summariser.close()
    assert "POST /openai/deployments/gpt/chat/completions?api-version=2026-10-01&x=%E3%81%82 " in server.heads[0]
    assert f"api-key: {KEY}" in server.heads[0]


async def test_a_bearer_token_is_the_only_credential_that_is_sent(server: OpenAIServer) -> None:
    await summary_from(server)

    assert f"authorization: Bearer {KEY}" in server.heads[0]
    assert "api-key" not in server.heads[0].lower()


async def test_the_prompt_has_japanese_times_and_today_s_date(server: OpenAIServer) -> None:
    """At 23:30 UTC it is already the next day in Japan, and "明日" is the day after that."""
    from datetime import UTC, datetime

    from workers.summaries.summary import OFFICE_ZONE

    late = conversation(("田中", "明日までに送ります"), begins=datetime(2026, 11, 23, 23, 30, tzinfo=UTC))
    summariser = Summariser(SummarySettings(api_key=KEY, base_url=server.url))
    before = datetime.now(OFFICE_ZONE)

    await summariser.summarise(late, _no_report)

    await summariser.close()
    system, user = (str(message["content"]) for message in server.requests[0]["messages"])
    assert '"at":"2026-11-24T08:30+09:00"' in user
    days = {f"Today is {day:%Y-%m-%d}, a {day:%A}" for day in (before, datetime.now(OFFICE_ZONE))}
    assert any(day in system for day in days)


async def test_a_long_name_is_cut_before_it_is_sent(server: OpenAIServer) -> None:
    summariser = Summariser(SummarySettings(api_key=KEY, base_url=server.url))

    await summariser.summarise(conversation(("K" * 100_000, "hello there"), room_name="R" * 100_000), _no_report)

    await summariser.close()
    assert len(_sent(server.requests[0])) < 2_000


def _sent(request: dict[str, Any]) -> str:
    return str(request["messages"][1]["content"])
