"""At most one active job has a given unique key."""

import asyncio

import pytest

from events.database import Connection
from events.job import (
    Job,
    Status,
    retry,
)
from events.store import Store
from events.writes import AlreadyActive
from tests.histories import (
    canceling,
    completing,
    failing,
    new,
    open_store,
    starting,
    what_is_broken,
)
from tests.store.stores import counts, deadlocks, words_of


async def test_one_of_many_equal_unique_jobs_is_made_and_the_other_requests_name_it(
    store: Store, other_store: Store, connection: Connection
) -> None:
    answers = await asyncio.gather(
        *((store, other_store)[n % 2].create(new(unique_key="rooms"), actor="user:x") for n in range(20)),
        return_exceptions=True,
    )

    [job] = [answer for answer in answers if isinstance(answer, Job)]
    assert [answer.job_id for answer in answers if isinstance(answer, AlreadyActive)] == [job.id] * 19
    assert await counts(connection) == (1, 1, 0)


async def test_unique_jobs_in_opposite_orders_do_not_deadlock(database_url: str, connection: Connection) -> None:
    async with open_store(database_url) as one, open_store(database_url) as two:
        for turn in range(8):
            kinds = [f"{turn} {n}" for n in range(40)]
            asked = [(one, kind) for kind in kinds] + [(two, kind) for kind in reversed(kinds)]
            async with asyncio.timeout(20):
                await asyncio.gather(
                    *(each.create(new(unique_key=kind), actor="user:x") for each, kind in asked), return_exceptions=True
                )

    assert await counts(connection) == (320, 320, 0)
    assert await deadlocks(connection) == 0


@pytest.mark.parametrize("end", ["completed", "failed", "canceled"])
async def test_after_a_unique_job_has_ended_another_may_be_made(store: Store, end: str) -> None:
    first = await store.create(new(unique_key="rooms"), actor="user:x")
    first = await store.append(first, starting(), actor="worker:w1")
    with pytest.raises(AlreadyActive):
        await store.create(new(unique_key="rooms"), actor="user:x")

    decide = {"completed": completing(), "failed": failing(retry_in=None), "canceled": canceling}[end]
    await store.append(first, decide, actor="worker:w1")
    second = await store.create(new(unique_key="rooms"), actor="user:x")

    assert second.id != first.id


async def test_a_unique_job_stays_the_only_one_while_it_is_retried(store: Store) -> None:
    first = await store.create(new(unique_key="rooms"), actor="user:x")
    first = await store.append(first, starting(), actor="worker:w1")
    await store.append(first, failing(), actor="worker:w1")

    with pytest.raises(AlreadyActive) as active:
        await store.create(new(unique_key="rooms"), actor="user:x")

    assert active.value.job_id == first.id


async def test_a_retry_of_an_old_job_while_a_new_one_is_active_names_the_new_one(store: Store, connection: Connection) -> None:
    old = await store.create(new(unique_key="rooms"), actor="user:x")
    old = await store.append(old, canceling, actor="user:x")
    fresh = await store.create(new(unique_key="rooms"), actor="user:x")

    with pytest.raises(AlreadyActive) as active:
        await store.append(old, retry, actor="user:x")

    assert active.value.job_id == fresh.id
    assert await words_of(store, old) == ["queued", "canceled"]
    await store.append(fresh, canceling, actor="user:x")
    assert (await store.append(old, retry, actor="user:x")).status is Status.QUEUED
    assert await what_is_broken(connection) == []


async def test_retries_and_new_jobs_with_one_unique_key_at_once_make_one_active_job(
    store: Store, other_store: Store, connection: Connection
) -> None:
    old = []
    for _ in range(5):
        job = await store.create(new(unique_key="rooms"), actor="user:x")
        old.append(await store.append(job, canceling, actor="user:x"))

    answers = await asyncio.gather(
        *((store, other_store)[n % 2].append(job, retry, actor="user:x") for n, job in enumerate(old)),
        *((store, other_store)[n % 2].create(new(unique_key="rooms"), actor="user:x") for n in range(5)),
        return_exceptions=True,
    )

    [active] = [answer for answer in answers if isinstance(answer, Job)]
    assert [answer.job_id for answer in answers if isinstance(answer, AlreadyActive)] == [active.id] * 9
    assert await what_is_broken(connection) == []


async def test_jobs_without_a_unique_key_never_exclude_each_other(store: Store, connection: Connection) -> None:
    await asyncio.gather(*(store.create(new(), actor="user:x") for _ in range(20)))

    assert await counts(connection) == (20, 20, 0)
