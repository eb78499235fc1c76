"""Events have the time of the database, whatever the clock of this machine shows."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest

from events import database_clock
from events.bus import Bus
from events.concurrency import CLOCK
from events.database import Connection, Database
from events.database_clock import DatabaseClock
from events.job import (
    Status,
    retry,
)
from events.store import Store
from projections.jobs import JobsView
from tests.histories import (
    failing,
    new,
    open_store,
    reporting,
    starting,
    what_is_broken,
)


class WrongClock(datetime):
    """Replaces this machine's wall clock by a wrong one."""

    error = timedelta(0)

    @classmethod
    def now(cls, tz: Any = None) -> Self:
        return super().now(tz) + cls.error


@pytest.fixture
def wrong_clock(monkeypatch: pytest.MonkeyPatch) -> type[WrongClock]:
    class Clock(WrongClock):
        pass

    monkeypatch.setattr(database_clock, "datetime", Clock)
    return Clock


A_LITTLE = timedelta(seconds=0.5)


async def database_time(connection: Connection) -> datetime:
    time: datetime = await connection.fetchval("select clock_timestamp()")
    return time


@pytest.mark.parametrize("error", [timedelta(hours=-3), timedelta(hours=3)])
async def test_events_have_the_time_of_the_database_although_the_local_clock_is_wrong(
    database: Database, connection: Connection, wrong_clock: type[WrongClock], error: timedelta
) -> None:
    wrong_clock.error = error
    store = Store(database, Bus())
    await store.start()

    before = await database_time(connection)
    job = await store.create(new(), actor="user:x")
    after = await database_time(connection)
    await store.stop()

    assert before - A_LITTLE <= job.created_at <= after + A_LITTLE
    assert job.created_at.tzinfo is not None


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(hours=1)])
async def test_events_have_the_time_of_the_database_although_the_local_clock_is_set(
    store: Store, connection: Connection, wrong_clock: type[WrongClock], step: timedelta
) -> None:
    await store.create(new(), actor="user:x")

    wrong_clock.error = step
    before = await database_time(connection)
    job = await store.create(new(), actor="user:x")
    after = await database_time(connection)

    assert before - A_LITTLE <= job.created_at <= after + A_LITTLE


async def test_events_have_the_time_of_the_database_although_the_machine_has_slept(
    store: Store, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.create(new(), actor="user:x")
    awake, slept = time.clock_gettime, timedelta(hours=1)

    # Simulates a sleep of the machine on Linux: this clock counts the sleep, and `time.monotonic`
    # does not.
    monkeypatch.setattr(time, "clock_gettime", lambda clock: awake(clock) + slept.total_seconds() * (clock == CLOCK))
    before = await database_time(connection) + slept
    job = await store.create(new(), actor="user:x")
    after = await database_time(connection) + slept

    assert before - A_LITTLE <= job.created_at <= after + A_LITTLE


async def test_times_never_run_backwards_within_a_job_although_the_local_clock_does(
    store: Store, connection: Connection, wrong_clock: type[WrongClock]
) -> None:
    job = await store.create(new(), actor="user:x")

    for hours in (-1, 2, -5, 0):
        wrong_clock.error = timedelta(hours=hours)
        job = await store.append(job, starting(attempt=job.attempt), actor="worker:w1")
        job = await store.append(job, failing(attempt=job.attempt, retry_in=timedelta(0)), actor="worker:w1")
        if job.status is not Status.QUEUED:
            job = await store.append(job, retry, actor="user:x")

    times = [event.at for event in await store.history.events(job.id)]
    assert times == sorted(times)
    assert await what_is_broken(connection) == []


async def test_an_event_is_never_earlier_than_the_one_before_although_the_clock_of_the_database_was_set_back(
    store: Store, database: Database, connection: Connection
) -> None:
    job = await store.create(new(), actor="user:x")
    # Simulates a move to a server whose clock is behind: the events in the log have times in the
    # future.
    await connection.execute("alter table job_events disable trigger all")
    await connection.execute("update job_events set at = at + interval '1 hour'")
    later = "created_at = created_at + interval '1 hour', updated_at = updated_at + interval '1 hour'"
    await connection.execute(f"update jobs set {later}")
    shown = await JobsView(database).get(job.id)
    assert shown is not None

    started = await store.append(shown, starting(), actor="worker:w1")
    again = await store.append(started, failing(), actor="worker:w1")

    assert started.updated_at == again.updated_at == shown.updated_at
    assert "times run backwards" not in str(await what_is_broken(connection))


async def test_times_never_run_backwards_between_processes_whose_clocks_differ(
    database_url: str, connection: Connection, wrong_clock: type[WrongClock]
) -> None:
    async with open_store(database_url) as one, open_store(database_url) as two:
        job = await one.create(new(), actor="user:x")
        wrong_clock.error = timedelta(seconds=90)
        job = await two.append(job, starting(), actor="worker:w1")
        for n in range(6):
            wrong_clock.error = timedelta(seconds=90 if n % 2 else -90)
            job = await (one, two)[n % 2].append(job, reporting(n), actor="worker:w1")

    assert await what_is_broken(connection) == []
    assert await connection.fetchval("select count(*) from job_events") == 8


async def test_the_offset_of_the_database_s_clock_is_measured_to_a_fraction_of_a_second(connection: Connection) -> None:
    clock = DatabaseClock()

    await clock.measure(connection)

    assert abs(clock.now() - await database_time(connection)) < A_LITTLE
    assert clock.now().utcoffset() == timedelta(0)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(days=1)
