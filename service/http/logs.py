"""Log lines, to standard error: one for each thing that happened, readable on a terminal, JSON elsewhere."""

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
"""What every line says that is written in this context: whose request it is, and which."""


def new_request_id() -> str:
    return os.urandom(16).hex()


# Without the local variables of each frame: a password may be one of them.
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
        # One write for each line, whole: nothing is kept back.
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr)
        if on_terminal
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    # Libraries speak through the standard library's logging; only their warnings are of interest.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Scrubbing("%(levelname)s %(name)s: %(message)s"))
    # It warns of what a client has sent, which is a line of ours (`service/http/protocol.py`).
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


class _Scrubbing(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return scrubbed(super().format(record))


def _scrub(logger: WrappedLogger, level: str, line: Any) -> str:
    return scrubbed(line)


def _complete(logger: WrappedLogger, level: str, entry: EventDict) -> EventDict:
    return {"level": level, **ABOUT.get(), **entry}


def _line(logger: WrappedLogger, level: str, entry: EventDict) -> bytes:
    # `orjson` writes a time a good deal faster than Python.
    whole = {"timestamp": datetime.now(UTC), **entry}
    return scrubbed(orjson.dumps(whole, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()).encode()
