"""A handler that raises, returns or swallows strange things harms only its own job."""

import asyncio
import math
from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from events.bus import Bus
from events.database import Database
from events.job import JSON, Completed, Failed, Job, Status
from events.store import Store
from tests.job_types import (
    Numbered,
    cancel,
    ended,
    events_of,
    hang,
    job_type,
    lives_on,
    must_fold,
    queue,
    running,
    swallow_cancellation,
    until,
    wait_deaf_to_cancellation,
    words,
    working,
)
from tests.workers.attempt.attempts import run_one
from workers.attempt import failures
from workers.delivery.wire import LocalWire
from workers.job_type import Context, JobType
from workers.outcomes import AttemptOver, Final


async def run_all(database: Database, store: Store, bus: Bus, type: JobType[Any], kinds: Iterable[str]) -> dict[str, Job]:
    """Runs a job for each kind (the payload's `kind`), as `run_one` does."""
    wire = LocalWire()
    async with working(database, store, bus, wire, [type]) as worker:
        jobs = {kind: await queue(store, wire, type, {"kind": kind}) for kind in kinds}
        jobs = {kind: await ended(database, job) for kind, job in jobs.items()}
        await lives_on(worker, store, database)
    return jobs


class Strange(BaseException):
    pass


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Explosive(Exception):
    def __str__(self) -> str:
        raise Strange("boom")


@pytest.mark.parametrize(
    ("error", "name", "ends_at_once"),
    [
        (SystemExit(3), "TriedToExit", True),
        (KeyboardInterrupt(), "TriedToExit", True),
        (GeneratorExit(), "GeneratorExit", False),
        (Strange("x"), "Strange", False),
        (asyncio.CancelledError(), "CancelledError", False),
        (StopIteration(1), "RuntimeError", False),
        (TimeoutError(), "TimeoutError", False),
        (AttemptOver("says the handler"), "AttemptOver", False),
        (ExceptionGroup("two", [ValueError("1"), OSError("2")]), "ExceptionGroup", False),
        (Silent(), "Silent", False),
        (Explosive(), "Explosive", False),
        (type("長い名前" * 2_000, (Exception,), {})(), "長い名前", False),
    ],
    ids=lambda value: type(value).__name__[:20] if isinstance(value, BaseException) else "",
)
async def test_any_exception_of_a_handler_ends_its_attempt(
    database: Database, store: Store, bus: Bus, error: BaseException, name: str, ends_at_once: bool
) -> None:
    async def misbehave(context: Context, payload: Any) -> JSON:
        await context.progress({"about to": "raise"})
        raise error

    job = await run_one(database, store, bus, job_type("misbehaves", misbehave, max_attempts=2))

    failures = await events_of(store, job, Failed)
    assert [event.error.name[: len(name)] for event in failures] == [name] * (1 if ends_at_once else 2)
    assert job.status is Status.FAILED


async def test_an_error_message_of_a_megabyte_is_cut_and_made_readable(database: Database, store: Store, bus: Bus) -> None:
    async def rant(context: Context, payload: Any) -> JSON:
        raise Final("\x00\ud800\udfff履歴 " * 150_000)

    job = await run_one(database, store, bus, job_type("rants", rant))

    assert job.error is not None
    assert len(job.error.message) <= failures.LONGEST_MESSAGE
    assert len(job.error.stack or "") <= failures.LONGEST_STACK
    assert "履歴" in job.error.message
    assert "\x00" not in job.error.message + (job.error.stack or "")
    job.error.message.encode()


def nested(depth: int) -> JSON:
    value: JSON = 1
    for _ in range(depth):
        value = [value]
    return value


NOT_JSON: dict[str, Any] = {
    "an object": object(),
    "bytes": b"bytes",
    "a set": {1, 2},
    "2^70": 2**70,
    "-2^63-1": -(2**63) - 1,
    "a number as key": {1: "one"},
    "a lone surrogate": {"half": "\ud800"},
    "nesting 300": nested(300),
    "NaN": math.nan,
    "infinity": {"in": [math.inf]},
}


@pytest.mark.parametrize("how", ["returned", "reported"])
async def test_a_result_that_is_not_json_fails_the_job_without_a_retry(
    database: Database, store: Store, bus: Bus, wire: LocalWire, how: str
) -> None:
    async def answer(context: Context, payload: Any) -> JSON:
        if how == "reported":
            await context.progress(NOT_JSON[payload.kind])
        return NOT_JSON[payload.kind]

    jobs = await run_all(database, store, bus, job_type("answers", answer), NOT_JSON)

    ends = {kind: (job.status, job.error and job.error.name, job.attempt, job.result) for kind, job in jobs.items()}
    assert ends == dict.fromkeys(NOT_JSON, (Status.FAILED, "NotJSON", 1, None))


async def test_a_result_nested_too_deeply_to_be_read_again_is_refused(database: Database, store: Store, bus: Bus) -> None:
    depths = {str(depth): nested(depth) for depth in (32, *range(240, 256))}

    async def answer(context: Context, payload: Any) -> JSON:
        return depths[payload.kind]

    jobs = await run_all(database, store, bus, job_type("answers", answer), depths)

    assert jobs["32"].result == nested(32)
    for job in jobs.values():
        assert await words(store, job) in (["queued", "started", "completed"], ["queued", "started", "failed"])
        orjson.dumps({"events": [{"data": {"result": job.result}}]})  # The API writes this JSON into its answer.


async def test_the_result_of_a_job_equals_what_the_handler_returned(database: Database, store: Store, bus: Bus) -> None:
    results: list[JSON] = ["a NUL: \x00", 2**64 - 1, 0.1, "履歴 🎌", {"": [None, True, {}]}, None, "null"]
    values = {ascii(result): result for result in results}

    async def answer(context: Context, payload: Any) -> JSON:
        return values[payload.kind]

    jobs = await run_all(database, store, bus, job_type("answers", answer), values)

    assert {kind: job.result for kind, job in jobs.items()} == values
    for kind, job in jobs.items():
        assert await events_of(store, job, Completed) == [Completed(values[kind])]


async def test_a_stored_payload_that_no_longer_fits_its_schema_fails_the_job_without_a_retry(
    database: Database, store: Store, bus: Bus
) -> None:
    job = await run_one(database, store, bus, job_type("numbered", hang, payload=Numbered), {"n": "not a number"})

    assert await words(store, job) == ["queued", "started", "failed"]
    assert job.error is not None
    assert job.error.name == "InvalidPayload"


async def test_a_handler_that_ignores_its_cancellation_is_counted_as_stuck_and_frees_its_slot(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    release = asyncio.Event()
    late: list[BaseException | str] = []
    await database.execute("create table effects (attempt integer)")

    async def be_deaf(context: Context, payload: Any) -> JSON:
        if context.attempt == 2:
            return "second"
        await wait_deaf_to_cancellation(release)
        await context.progress({"written": "too late"})
        try:
            async with context.store():
                await context.database.execute("insert into effects values (1)")
        except AttemptOver as error:
            late.append(error)
        return "first"

    deaf = job_type("deaf", be_deaf, deadline=0.1, max_attempts=2)
    async with working(database, store, bus, wire, [deaf], slots=1) as worker:
        job = await ended(database, await queue(store, wire, deaf))

        assert len(worker.runner.slots.stuck) == 1
        await lives_on(worker, store, database)
        assert len(worker.runner.slots.stuck) == 1
        release.set()
        await until(lambda: not worker.runner.slots.stuck)

    assert await words(store, job) == ["queued", "started", "failed, retried", "queued: retry", "started", "completed"]
    assert job.result == "second"
    assert len(late) == 1
    assert await database.fetch_val("select count(*) from effects") == 0
    await must_fold(database, store, job)


async def test_a_canceled_job_whose_handler_ignores_it_stays_canceled(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    deaf = job_type("deaf", swallow_cancellation)
    async with working(database, store, bus, wire, [deaf]) as worker:
        job = await running(database, await queue(store, wire, deaf))

        await cancel(store, job)

        await lives_on(worker, store, database)
        await until(lambda: not worker.runner.slots.stuck)
        assert await words(store, job) == ["queued", "started", "canceled"]
