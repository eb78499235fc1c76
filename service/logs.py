"""Log lines, to standard error: one for each thing that happened, readable on a terminal, JSON elsewhere."""

import logging
import sys

import orjson
import structlog

# Without the local variables of each frame: a password may be one of them.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure_logs(level: int = logging.INFO) -> None:
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(
                [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
                if on_terminal
                else [_TRACEBACKS, structlog.processors.JSONRenderer(serializer=_dump)]
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # One write for each line, whole: nothing is kept back.
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr)
        if on_terminal
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    # Libraries speak through the standard library's logging; only their warnings are of interest.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")


def _dump(entry: object, **_: object) -> bytes:
    return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS)
