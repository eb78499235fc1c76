"""Turns an exception into the error for the log: readable, cut, and without secrets.

The log is kept for ever, and the message of a library's exception may quote an outside server: a
header with our key, or the text of a Chatwork message. Therefore two kinds of messages are left
out: those of an HTTP library's exceptions, and those of library exceptions that caused another
exception. The types and stack frames of all exceptions are kept.
"""

import sys
import traceback
from collections.abc import Iterator

from events.job import JobError
from events.secret_redaction import scrubbed

LONGEST_MESSAGE = 2_000  # characters
LONGEST_STACK = 16_000  # characters
LONGEST_LOOKED_AT = 200_000  # characters of a text that are searched for secrets; the rest is dropped
MOST_LINKS = 20  # the most exceptions that one stack shows
MOST_IN_A_GROUP = 5  # the most exceptions of one `ExceptionGroup` that a stack shows
SPEAK_FOR_SERVERS = frozenset({"httpcore", "httpcore2", "httpx", "httpx2", "openai", "h11"})
"""Libraries whose exceptions quote the answers of servers outside."""

CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"
LEFT_OUT = "(the message is left out: it comes from outside)"


def error_from(error: BaseException) -> JobError:
    """Returns the error for the log. Its texts hold only characters that PostgreSQL can store."""
    message = LEFT_OUT if _root(error) in SPEAK_FOR_SERVERS else _message(error)
    stack = "".join(_chain(error, set()))
    return JobError(type(error).__name__, _readable(message, LONGEST_MESSAGE), _readable(stack, LONGEST_STACK))


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as unprintable:
        return f"its message cannot be printed: {type(unprintable).__name__}"


def _chain(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Yields the lines of the stack in Python's order: the first cause comes first."""
    outermost = not seen
    seen.add(id(error))
    before, link = (error.__cause__, CAUSE) if error.__cause__ is not None else (error.__context__, CONTEXT)
    if before is not None and link == CONTEXT and error.__suppress_context__:
        before = None
    if before is not None and id(before) not in seen and len(seen) < MOST_LINKS:
        yield from _chain(before, seen)
        yield link
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    yield _headline(error, outermost=outermost)
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions[:MOST_IN_A_GROUP]:
            if id(part) not in seen and len(seen) < MOST_LINKS:
                yield "\nOne of the group:\n\n"
                yield from _chain(part, seen)


def _headline(error: BaseException, *, outermost: bool) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    if _root(error) in SPEAK_FOR_SERVERS or (not outermost and _comes_from_outside(error)):
        return f"{name}: {LEFT_OUT}\n"
    message = _message(error)
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    return "\n".join([f"{name}: {message}" if message else name, *notes]) + "\n"


def _comes_from_outside(error: BaseException) -> bool:
    """Returns whether a library defines the exception's class or raised the exception."""
    if _is_a_library(getattr(sys.modules.get(type(error).__module__), "__file__", None)):
        return True
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    return innermost is not None and _is_a_library(innermost.tb_frame.f_code.co_filename)


def _is_a_library(file: str | None) -> bool:
    return file is not None and (
        "site-packages" in file or "dist-packages" in file or file.startswith(f"{sys.base_prefix}/lib")
    )


def _root(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _readable(text: str, longest: int) -> str:
    text = scrubbed(text[:LONGEST_LOOKED_AT].encode("utf-8", "replace").decode().replace("\x00", "\ufffd"))
    cut = f" … ({len(text)} characters)"
    return text if len(text) <= longest else text[: longest - len(cut)] + cut
