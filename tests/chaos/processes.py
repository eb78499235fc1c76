"""Starts a child process of the campaign: `python -m tests.chaos.processes api|worker|witness`.

It runs the product's own `serve`, `work` or witness, with settings from the environment. Added are the job
types of the load, an endpoint that queues them, and on demand a wrong clock.
"""

import asyncio
import ctypes
import datetime as datetimes
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

PR_SET_PDEATHSIG = 1  # an option of prctl(2): the kernel ends this process when its parent, the campaign, has ended


def main() -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if sys.argv[1] == "witness":
        _run_witness()
        return
    skew = float(os.environ.get("CHAOS_CLOCK_SKEW", "0"))
    if skew:
        _set_back_the_clock(skew)
    import uvloop

    from service.config import load_settings
    from service.http.logs import configure_logs
    from tests.chaos.work import TYPES
    from workers.chatwork.rate_limit import RateLimit
    from workers.registry import JOB_TYPES

    JOB_TYPES.update(TYPES)
    assert RateLimit.__init__.__kwdefaults__ is not None
    RateLimit.__init__.__kwdefaults__["window"] = float(os.environ["CHAOS_CHATWORK_WINDOW"])
    settings = load_settings()
    configure_logs()
    assert settings.database_url is not None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if sys.argv[1] == "worker":
            from service.process.serve import work

            _skew_our_modules(skew)
            runner.run(work(settings, settings.database_url))
        else:
            from service.checkpoints import signing
            from service.process.serve import listen, serve

            _add_endpoint()
            signing.SIGN_EVERY = float(os.environ["CHAOS_SIGN_EVERY"])
            with listen(settings) as listening:
                runner.run(serve(settings, settings.database_url, listening))


def _run_witness() -> None:
    from pathlib import Path

    from service.commands.witness import serve_witness

    key, state = Path(os.environ["CHAOS_WITNESS_KEY"]), Path(os.environ["CHAOS_WITNESS_STATE"])
    serve_witness([os.environ["CHAOS_WITNESS_LOG"]], key, state, f"127.0.0.1:{os.environ['CHAOS_WITNESS_PORT']}")


def _add_endpoint() -> None:
    from starlette.responses import Response

    from service.api import app
    from service.api.queue_request import Queued, enqueue_for
    from service.http.endpoint import Answer, Call, Endpoint, Who
    from service.http.problems import not_found
    from service.http.request import Fields
    from tests.chaos.work import TYPES, Task

    class Request(Fields):
        mark: str
        seconds: float = 0.0

    async def queue_chaos(call: Call[Any, Request]) -> Response:
        job_type = TYPES.get(call.path("type"))
        if job_type is None:
            raise not_found("job type")
        return await enqueue_for(call, job_type.name, Task(mark=call.body.mark, seconds=call.body.seconds))

    endpoint = Endpoint(
        "POST", "/api/chaos/{type}", queue_chaos, Who.SIGNED_IN, "Queue a job of the load.",
        {202: Answer(Queued, "Queued, or active already.")}, body=Request, problems=(404,), queues=True,
        path_schemas={"type": lambda: {"type": "string"}},
    )  # fmt: skip
    app.ENDPOINTS = (*app.ENDPOINTS, endpoint)  # type: ignore[assignment]


def _set_back_the_clock(skew: float) -> None:
    """Makes the wall clock of this process wrong by `skew` seconds.

    `time.monotonic` stays right, as on a real machine. Call it before other modules import the
    clock.
    """
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + skew
    time.time_ns = lambda: right_ns() + int(skew * 1e9)


def _skew_our_modules(skew: float) -> None:
    if not skew:
        return

    class Skewed(datetimes.datetime):
        @classmethod
        def now(cls, tz: datetimes.tzinfo | None = None) -> Any:
            return datetimes.datetime.now(tz) + datetimes.timedelta(seconds=skew)

    ours = ("events", "projections", "workers", "service")
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ours and vars(module).get("datetime") is datetimes.datetime:
            vars(module)["datetime"] = Skewed


if __name__ == "__main__":
    main()
