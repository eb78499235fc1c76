"""Runs a module without one trick: `python -m bench.without TRICK MODULE [ARGUMENT …]`.

`bench.tricks` measures a trick this way. The trick `nothing` switches nothing off.
"""

import asyncio
import runpy
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import redis.asyncio.connection
from prometheus_client import Counter, Histogram
from starlette.routing import Match

from events import batch_writer, group_commit, redis_connections, statements
from events.concurrency import Deadlines
from service.api import app
from service.http import metrics, protocol
from service.http.slow_readers import SlowReader
from service.process import assembly, serve


def plans_that_are_kept() -> None:
    chosen = statements.CHOOSE_PLANS.replace("'force_generic_plan'", "'force_custom_plan'")
    batch_writer.CHOOSE_PLANS = chosen  # type: ignore[attr-defined]


def two_lanes() -> None:
    group_commit.LANES = 1


def redis_commands_without_a_read_before_them() -> None:
    read = redis.asyncio.connection.AbstractConnection.can_read_destructive
    redis_connections._Translating.can_read_destructive = read  # type: ignore[method-assign, assignment]


def one_timer_for_many_deadlines() -> None:
    """Replaces the shared timer by a separate timer for each deadline."""

    def add(self: "Deadlines[Any]", waiting: Any) -> None:
        self._added[waiting] = asyncio.get_running_loop().call_later(self._seconds, self._late, waiting)  # type: ignore[assignment]

    def remove(self: "Deadlines[Any]", waiting: Any) -> None:
        if (timer := self._added.pop(waiting, None)) is not None:
            timer.cancel()  # type: ignore[attr-defined]

    Deadlines.add, Deadlines.remove = add, remove  # type: ignore[method-assign]


def a_rare_garbage_collection() -> None:
    for module in (assembly, serve):
        module.keep_what_is_loaded = lambda: None  # type: ignore[attr-defined]


def fixed_addresses_found_in_a_dictionary() -> None:
    app.FixedAddresses.matches = lambda self, scope: (Match.NONE, {})  # type: ignore[method-assign]


def labels_of_metrics_kept() -> None:
    made = metrics.Metrics.__init__

    def make(self: metrics.Metrics) -> None:
        made(self)
        self.requests_of = _labels(self.requests)  # type: ignore[assignment]
        self.seconds_of = _labels(self.seconds)  # type: ignore[assignment]

    metrics.Metrics.__init__ = make  # type: ignore[method-assign]


def _labels(metric: Counter | Histogram) -> Callable[..., Any]:
    return metric.labels


def head_and_body_of_an_answer_in_one_write() -> None:
    def as_it_is(transport: Any, loop: Any) -> Any:
        return SimpleNamespace(
            write=transport.write,
            close=transport.close,
            is_closing=transport.is_closing,
            flush=lambda: None,
            slow_reader=SlowReader(transport, loop),
        )

    protocol.HeadWithBody = as_it_is  # type: ignore[assignment, misc]


def nothing() -> None: ...


OF_THE_DRAIN = (
    plans_that_are_kept,
    two_lanes,
    redis_commands_without_a_read_before_them,
    one_timer_for_many_deadlines,
    a_rare_garbage_collection,
)
OF_THE_API = (
    redis_commands_without_a_read_before_them,
    one_timer_for_many_deadlines,
    a_rare_garbage_collection,
    fixed_addresses_found_in_a_dictionary,
    labels_of_metrics_kept,
    head_and_body_of_an_answer_in_one_write,
)
TRICKS = {trick.__name__: trick for trick in (*OF_THE_DRAIN, *OF_THE_API, nothing)}


if __name__ == "__main__":
    trick, module, *arguments = sys.argv[1:]
    TRICKS[trick]()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
