"""Reads the response to a chat completion: the model's text, or the error in the response.

The functions here do no I/O. Error messages quote only two parts of a response: a short code such
as `content_filter`, and the sentence in which a model refuses. Any other part may hold a key or
somebody's chat messages.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.outcomes import Final
from workers.summaries.reasoning import without_reasoning
from workers.summaries.summary import TokenUsage

MOST_TOKENS = 10**12
LONGEST_REFUSAL = 200
"""An error message shows at most this many characters of a model's refusal."""

FINISHED = frozenset({"", "stop", "eos", "eos_token", "end_turn", "stop_sequence", "completed", "complete", "finished"})
CUT_OFF = frozenset(
    {"length", "max_tokens", "max_output_tokens", "model_length", "context_length", "insufficient_system_resource"}
)
WITHHELD = frozenset(
    {"content_filter", "content_filtered", "safety", "recitation", "sensitive", "prohibited_content", "blocklist", "spii"}
)

WILL_NOT_GO_AWAY = frozenset(
    {
        "insufficient_quota", "quota_exceeded", "billing_hard_limit_reached", "billing_not_active", "billing_error",
        "insufficient_balance", "insufficient_credits", "insufficient_user_quota", "payment_required", "credit_limit_reached",
        "account_deactivated", "account_disabled", "organization_deactivated", "access_terminated", "invalid_api_key",
        "invalid_authentication", "authentication_error", "permission_denied", "permission_error", "ip_not_authorized",
        "unsupported_country_region_territory", "context_length_exceeded", "content_policy_violation", "content_filter",
        "unsupported_model",
    }
)  # fmt: skip
"""Error codes that make an error final, with any status below 500.

OpenAI, for example, sends `insufficient_quota` with status 429, which otherwise is worth another attempt."""
UNKNOWN_MODEL = frozenset({"model_not_found", "model_not_available", "unknown_model", "invalid_model", "deploymentnotfound"})
WORTH_ANOTHER_ATTEMPT = frozenset({408, 409, 425, 429})

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_SECRET = re.compile(r"(?:sk|pk|rk|key|token|Bearer)[-_ ][\w.-]{6,}+", re.IGNORECASE)


class ModelRefused(Final):
    """A final error: a bad key, an unknown model, a request that the server rejects.

    The job is not tried again, because another attempt would fail in the same way.
    """


class AnswerWithheld(ModelRefused):
    """The server's content filter withheld the answer."""


class ModelFailed(Exception):
    """The server is unreachable or busy, or its answer is unreadable.

    Another attempt may succeed.
    """


class AnswerCutOff(ModelFailed):
    """The answer is incomplete, because the model reached its limit of tokens."""


class OnlyReasoning(ModelFailed):
    """The answer holds only the model's reasoning, and no other text."""


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    usage: TokenUsage


def read_answer(body: bytes, *, model: str) -> Answer:
    """Returns the answer in the body of a response with status 200, without its reasoning.

    Raises: `ModelRefused`; `ModelFailed`, also if the answer is empty.
    """
    completion = _json(body)
    if not isinstance(completion, Mapping):
        raise ModelFailed("the language model's answer cannot be read")
    choice = _first_choice(completion)
    error = completion.get("error") or choice.get("error")
    if error:
        raise failure(_status_in(error), error, model=model)
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    _must_be_finished(choice.get("finish_reason"))
    _must_not_be_refused(message)
    text = _storable("".join(_texts(message.get("content"))))
    answered = without_reasoning(text)
    if not answered:
        if text.strip() or any(
            message.get(name) for name in ("reasoning_content", "reasoning", "thinking", "reasoning_details")
        ):
            raise OnlyReasoning("the language model answered with nothing but its reasoning")
        raise ModelFailed("the language model answered with nothing")
    return Answer(answered, _usage(completion.get("usage")))


def failure(status: int, error: object, *, model: str) -> ModelRefused | ModelFailed:
    """Returns the exception for a response with this HTTP status and this `error` in its body.

    The exception's message shows the error's code. It leaves out the server's own message, because
    the server's message may hold the key or a part of somebody's chat.
    """
    codes = _codes(error)
    shown = f" ({codes[0]})" if codes else ""
    message = f"the language model's server answered {status}{shown}"
    known = {code.lower() for code in codes}
    param = error.get("param") if isinstance(error, Mapping) else None
    if known & UNKNOWN_MODEL or status == 404 or (param == "model" and 400 <= status < 500 and status != 429):
        return ModelRefused(
            f"{message}: set OPENAI_MODEL to a model that this server has (now {model[:80]!r}), and check OPENAI_BASE_URL"
        )
    if status in (401, 403):
        return ModelRefused(f"{message}: check OPENAI_API_KEY")
    if 300 <= status < 400:
        return ModelRefused(f"{message}, a redirect: set OPENAI_BASE_URL to the server's own address")
    if known & WILL_NOT_GO_AWAY and status < 500:
        return ModelRefused(message)
    if status in WORTH_ANOTHER_ATTEMPT or status >= 500 or status < 300:
        return ModelFailed(message)
    return ModelRefused(message)


def error_in(body: bytes) -> object:
    """Returns the error in a body: the value of `error`, or the whole body without that name.

    Google sends the error in a list. Returns None if the body holds no JSON object.
    """
    read = _json(body)
    if isinstance(read, list) and read:
        read = read[0]
    return read.get("error", read) if isinstance(read, Mapping) else None


def _json(body: bytes) -> Any:
    """Parses the body, and returns None if it is not JSON.

    Python's own parser is used, because it accepts a lone surrogate (half an emoji).
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _first_choice(completion: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = completion.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else {}


def _must_be_finished(reason: object) -> None:
    word = reason.strip() if isinstance(reason, str) else ""
    if word.lower() in FINISHED:
        return
    shown = word if _WORD.fullmatch(word) else "for an unknown reason"
    if word.lower() in CUT_OFF:
        raise AnswerCutOff(f"the language model's answer was cut off ({shown}): it reached a limit of tokens")
    if word.lower() in WITHHELD:
        raise AnswerWithheld(f"the language model's server withheld the answer ({shown})")
    raise ModelFailed(f"the language model did not finish its answer ({shown})")


def _must_not_be_refused(message: Mapping[str, Any]) -> None:
    content = message.get("content")
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    refusals = [message.get("refusal"), *(part.get("refusal") for part in parts)]
    refusal = next((text for text in refusals if isinstance(text, str) and text.strip()), None)
    if refusal is not None:
        raise ModelRefused(f"the language model refused: {_scrubbed(refusal)}")


def _scrubbed(text: str) -> str:
    """Returns the text on one line, cut to `LONGEST_REFUSAL`, with "…" in place of keys."""
    printable = "".join(character if character.isprintable() else " " for character in _storable(text[: 4 * LONGEST_REFUSAL]))
    line = _SECRET.sub("…", " ".join(printable.split()))
    return line if len(line) <= LONGEST_REFUSAL else line[: LONGEST_REFUSAL - 1] + "…"


def _texts(content: object) -> Iterator[str]:
    """Yields the texts in `content`, which is a string or a list of parts.

    Parts that are not text (thoughts, images) are skipped.
    """
    if isinstance(content, str):
        yield content
    elif isinstance(content, Sequence):
        for part in content:
            if isinstance(part, str):
                yield part
            elif isinstance(part, Mapping) and part.get("type", "text") in ("text", "output_text"):
                text = part.get("text")
                value = text.get("value") if isinstance(text, Mapping) else text
                if isinstance(value, str):
                    yield value


def _storable(text: str) -> str:
    """Removes NUL and lone surrogates, because PostgreSQL's type `text` cannot hold them."""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode("utf-8")


def _usage(usage: object) -> TokenUsage:
    given = usage if isinstance(usage, Mapping) else {}
    used = (given.get(name) for name in ("prompt_tokens", "completion_tokens"))
    return TokenUsage(*(tokens if type(tokens) is int and 0 <= tokens <= MOST_TOKENS else 0 for tokens in used))


def _codes(error: object) -> list[str]:
    """Returns the error's codes, the most specific first."""
    given = error if isinstance(error, Mapping) else {}
    words = (given.get(name) for name in ("code", "type", "status"))
    return [word for word in words if isinstance(word, str) and _WORD.fullmatch(word)]


def _status_in(error: object) -> int:
    """Returns the status that an error names itself, or 200 if it names none.

    Some proxies send an error with its status inside a response with status 200.
    """
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if type(code) is int and 400 <= code <= 599 else 200
