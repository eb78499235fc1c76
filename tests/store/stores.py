"""Functions that the tests of the store share: counts, lock waits, running jobs."""

import asyncio
from collections.abc import Callable

from events.database import Connection, Database
from events.job import Event, Job, fold, word
from events.store import Store
from events.writes import Decision
from projections.jobs import JobsView
from tests.histories import new, starting, until


class Counted:
    """A decision that records each job on which it was made."""

    def __init__(self, decide: Decision) -> None:
        self._decide = decide
        self.jobs: list[Job] = []

    def __call__(self, job: Job) -> list[Event]:
        self.jobs.append(job)
        return self._decide(job)


async def words_of(store: Store, job: Job | str) -> list[str]:
    return [word(event.event) for event in await store.history.events(job if isinstance(job, str) else job.id)]


async def counts(connection: Connection) -> tuple[int, int, int]:
    """Returns the numbers of events, jobs and idempotency keys in the database."""
    row = await connection.fetchrow(
        "select (select count(*) from job_events), (select count(*) from jobs), (select count(*) from idempotency_keys)"
    )
    assert row is not None
    return (row[0], row[1], row[2])


async def row_and_fold(database: Database, store: Store, job_id: str) -> tuple[Job | None, Job | None]:
    return await JobsView(database).get(job_id), fold(await store.history.events(job_id))


async def deadlocks(connection: Connection) -> int:
    """Returns the number of deadlocks in this database.

    Waits for the last connection of the service to close, because PostgreSQL reports them then.
    """

    async def alone() -> bool:
        service = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'rireki'"
        return not await connection.fetchval(service)

    await until(alone)
    return int(await connection.fetchval("select deadlocks from pg_stat_database where datname = current_database()"))


async def is_true(connection: Connection, query: str) -> bool:
    answer: bool = await connection.fetchval(query)
    return answer


async def waiting_for_locks(connection: Connection, backends: int) -> bool:
    """Whether at least this many connections of the service wait for a lock."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    return int(await connection.fetchval(query)) >= backends


async def prepared(far_store: Store, jobs: int = 1) -> list[Job]:
    """Makes jobs that are processing. Afterwards the store has open connections."""
    made = await asyncio.gather(*(far_store.create(new(), actor="user:x") for _ in range(jobs)))
    return list(await asyncio.gather(*(far_store.append(job, starting(), actor="worker:w1") for job in made)))


async def true_of(condition: Callable[[], bool]) -> bool:
    return condition()
