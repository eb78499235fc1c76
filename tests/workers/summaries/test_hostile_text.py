"""Parsing untrusted text takes time linear in its length: no pattern may backtrack.

The limits are generous: linear time is milliseconds here, quadratic time is minutes.
"""

import asyncio
import importlib
import pkgutil
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.messages import conversation, sections
from tests.openai_server import GOOD_ANSWER, OpenAIServer, openai_server
from workers.summaries.citations import cited_in, without_citations
from workers.summaries.digest import extractive
from workers.summaries.digest.sentences import sentences_of
from workers.summaries.markdown import complete, sections_of
from workers.summaries.reasoning import without_reasoning
from workers.summaries.summariser import Summariser, SummarySettings
from workers.summaries.summary import Message

LONG = 20_000
LINEAR = 2.0  # seconds that a pattern may take for a long text
LONGEST_MESSAGE = 65_535


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Returns every compiled pattern of a module."""
    for package in ("events", "projections", "workers", "service"):
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not found.name.startswith("service.web"):
                module = importlib.import_module(found.name)
                yield from ((f"{found.name}.{name}", it) for name, it in vars(module).items() if isinstance(it, re.Pattern))


GENERAL = (" ", "\t", "　", "\n", "a", "1", "#", "[#1, ", "あ", "漢", "ア", "[To:1] ", "[task aid=1", "[qt]", "はい", "- ")
"""Pieces of text that make backtracking patterns slow."""


def hostile_texts(pattern: str) -> Iterator[tuple[str, str]]:
    """Yields texts that may make this pattern slow, as pairs of a piece to repeat and an end.

    They come from the pattern's own literals and from a list that fits every pattern.
    """
    for piece in sorted(set(re.findall(r"[A-Za-z0-9぀-ヿ一-鿿]+|[^\w\\]", pattern))):
        yield piece, "!"
    for piece in GENERAL:
        yield from ((piece, end) for end in ("", "!", "漢"))


def seconds(pattern: re.Pattern[Any], text: str) -> float:
    """Returns the CPU seconds of this thread. A busy machine does not change them."""
    hostile: Any = text.encode() if isinstance(pattern.pattern, bytes) else text
    started = time.thread_time()
    for _ in pattern.finditer(hostile):
        pass
    return time.thread_time() - started


KEPT = dict(patterns())


def test_the_patterns_of_all_modules_are_found() -> None:
    assert len(KEPT) > 50
    assert "workers.summaries.citations._NUMBERS" in KEPT


@pytest.mark.parametrize("name", KEPT)
def test_a_pattern_takes_linear_time_on_repetitions_of_its_own_literals(name: str) -> None:
    """Four times the text must take about four times as long, not sixteen times."""
    pattern = KEPT[name]
    source = pattern.pattern.decode() if isinstance(pattern.pattern, bytes) else pattern.pattern
    for piece, end in hostile_texts(source):
        short, long = ((piece * length)[:length] + end for length in (LONG // 4, LONG))

        spent = seconds(pattern, short)

        assert spent < LINEAR, (piece, end)
        if spent > 0.005:
            assert seconds(pattern, long) < 9 * spent, (piece, end)


TEN = ", ".join(f"#{number}" for number in range(101, 111))


@pytest.mark.parametrize(
    ("answer", "cited", "left"),
    [
        (f"a [{TEN} など] b", list(range(101, 111)), "a b"),
        ("a [#101、#102 など]。", [101, 102], "a。"),
        ("a [#101、#102ほか3件]。", [101, 102], "a。"),
        (f"a [{TEN}", list(range(101, 111)), "a"),
        ("a [#1, #2\n\n## Key Topics", [1, 2], "a\n\n## Key Topics"),
        ("a [#1, #2, #", [1, 2], "a"),
        ("a [#1, #2 …", [1, 2], "a"),
        ("a [#", [], "a"),
        ("a [#1,\n  #2] b", [1, 2], "a b"),
        ("a [#1][#2] b", [1, 2], "a b"),
        ("a 【#1、#2】 b", [1, 2], "a b"),
        ("a ［＃１、＃２］ b", [1, 2], "a b"),
        ("a [#1 and #2, etc.] b", [1, 2], "a b"),
        ("a [#3-#5] b [#7〜9]", [3, 4, 5, 7, 8, 9], "a b"),
        ("a [#12 see also what Ken wrote about the budget, #13]", [12, 13], "a [see also what Ken wrote about the budget,]"),
        ("a [#99999999999999999999] b", [], "a b"),
        ("[#general] stays", [], "[#general] stays"),
        ("a \t　 [#1]", [1], "a"),
    ],
)
def test_citations_are_read_and_removed_from_the_text(answer: str, cited: list[int], left: str) -> None:
    assert cited_in(answer) == cited
    assert without_citations(answer) == left


@pytest.mark.parametrize(
    "piece",
    [
        "[#101, #102, ", "#1, ", " ", "\t", "[#", "[#1", "[#1 など ", "1", "[", "]", "[#1-", "、", "[#1\n", "[ # 1 ,", "[#1, see ",
        "<think>", "</think>", "<think", "<", "[THINK]", "<|channel|>", "<|channel|>final", "```think\n", "assistantfinal",
        "<details type=reasoning>", "&lt;think", "<x>", "## Summary\n", "# ", "**", "**Summary", "\n", "```\n", "|", "【", "1. ",
    ],
)  # fmt: skip
def test_an_answer_of_a_hundred_thousand_characters_is_read_in_seconds(piece: str) -> None:
    answer = (piece * 100_000)[:100_000]
    started = time.perf_counter()

    answered = without_reasoning(answer)
    cited_in(answered)
    complete(sections_of(without_citations(answered)), "ja")

    assert time.perf_counter() - started < 10


def said(body: str, messages: int) -> list[Message]:
    return conversation(*[(f"s{number % 5}", body) for number in range(messages)])


@pytest.mark.parametrize(
    "piece",
    [
        "え", "ええ", "1", " ", ".", "。", "！", "漢", "ﷺ", "笑", "(笑)", "w", "http://", "[To:1] ", "[task aid=1", "[qt][code]",
        "[rp aid=1 to=1-", "[title]", "12/", "明日 ", "、", "よろしく、", "ありがとう、", "hi ", "I will ", "- ", "[#1, #2, ", "1,",
    ],
)  # fmt: skip
def test_messages_of_the_greatest_length_are_summarised_in_linear_time(piece: str) -> None:
    body = (piece * LONGEST_MESSAGE)[: LONGEST_MESSAGE - 1] + "？"
    started = time.perf_counter()

    extractive.summarise(said(body, 20))

    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    "line", ["資料{0}の見積{0}を送付してください", "資料{0}の見積{0}はどこですか？", "製品{0}の金額{0}が決定しました"]
)
def test_a_room_full_of_requests_and_questions_is_summarised_in_linear_time(line: str) -> None:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    bodies = ["\n".join(line.format(30 * number + of) for of in range(30)) for number in range(300)]
    messages = [
        Message("1", "営業", str(number), f"s{number % 7}", at + timedelta(minutes=number), body)
        for number, body in enumerate(bodies)
    ]
    started = time.perf_counter()

    extractive.summarise(messages)

    assert time.perf_counter() - started < 60


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("I know", "I know"),
        ("I know www", "I know"),
        ("了解です(笑)w", "了解です"),
        ("そうです（笑）（笑）！", "そうです！"),
        ("行きます♪～", "行きます"),
        ("ok (thanks)", "ok (thanks)"),
    ],
)
def test_laughter_at_the_end_of_a_sentence_is_left_out(line: str, sentence: str) -> None:
    assert sentences_of(line) == [sentence]


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as server:
        yield server


async def test_the_event_loop_stays_free_while_long_messages_and_a_hostile_answer_are_read(server: OpenAIServer) -> None:
    server.answer = lambda request: f"{GOOD_ANSWER} [{TEN} など]" + " \t" * 200_000 + "[#1, " * 50_000
    summariser = Summariser(SummarySettings(api_key="key", base_url=server.url))
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - started)

    watching = asyncio.create_task(watch())
    summary = await summariser.summarise(said("[To:1] 明日 " * 7_000, 300), _no_report)
    watching.cancel()
    await summariser.close()

    assert longest < 10
    assert "[#" not in summary.content
    assert sections(summary.content)["Key Topics"] == ["- The move"]


async def _no_report(total: int, processed: int) -> None:
    pass
