"""Structured log lines on standard error: text on a terminal, JSON elsewhere."""

import logging
import os
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from events.secret_redaction import scrubbed

ABOUT: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))
"""The fields that every log line of this context has, for example `request_id`."""


def new_request_id() -> str:
    return os.urandom(16).hex()


# Tracebacks leave out local variables, because a variable may hold a password.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure_logs(level: int = logging.INFO) -> None:
    on_terminal = sys.stderr.isatty()
    for_people: list[Processor] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        _scrub,
    ]
    for_programs: list[Processor] = [_TRACEBACKS, _line]
    structlog.configure(
        processors=[_complete, *(for_people if on_terminal else for_programs)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Each line is one unbuffered write, so that lines of several processes do not mix.
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr)
        if on_terminal
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    # Libraries log through `logging`. Only their warnings and errors are written.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Scrubbing("%(levelname)s %(name)s: %(message)s"))
    # uvicorn warns about bad requests, which `service/http/protocol.py` logs already.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


class _Scrubbing(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return scrubbed(super().format(record))


def _scrub(logger: WrappedLogger, level: str, line: Any) -> str:
    return scrubbed(line)


def _complete(logger: WrappedLogger, level: str, entry: EventDict) -> EventDict:
    return {"level": level, **ABOUT.get(), **entry}


def _line(logger: WrappedLogger, level: str, entry: EventDict) -> bytes:
    # orjson formats the time, because `datetime.isoformat` is much slower.
    whole = {"timestamp": datetime.now(UTC), **entry}
    return scrubbed(orjson.dumps(whole, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()).encode()
