"""An idempotency key belongs to one job, also for concurrent requests."""

import asyncio

import pytest

from events.database import Connection
from events.job import (
    Job,
    retry,
)
from events.store import Store
from events.writes import AlreadyActive, Idempotency, KeyTaken
from tests.histories import (
    ALICE,
    BOB,
    canceling,
    new,
    what_is_broken,
)
from tests.store.stores import counts


async def test_many_tasks_that_use_one_key_at_once_get_one_job(
    store: Store, other_store: Store, connection: Connection
) -> None:
    keyed = new(idempotency=Idempotency("once", "hash"))

    answers = await asyncio.gather(
        *((store, other_store)[n % 2].create(keyed, actor="user:x") for n in range(20)), return_exceptions=True
    )

    [job] = [answer for answer in answers if isinstance(answer, Job)]
    others = [answer for answer in answers if isinstance(answer, KeyTaken)]
    assert [(other.job_id, other.request_hash) for other in others] == [(job.id, "hash")] * 19
    assert await counts(connection) == (1, 1, 1)
    assert await store.job_of_key(ALICE, "once") == (job.id, "hash")


async def test_a_key_used_for_another_request_is_refused_and_names_the_first_job(store: Store, connection: Connection) -> None:
    job = await store.create(new(idempotency=Idempotency("once", "hash")), actor="user:x")

    with pytest.raises(KeyTaken) as taken:
        await store.create(new("messages", idempotency=Idempotency("once", "another hash")), actor="user:x")

    assert (taken.value.job_id, taken.value.request_hash) == (job.id, "hash")
    assert await counts(connection) == (1, 1, 1)


async def test_a_key_still_gives_its_job_after_the_job_has_ended(store: Store) -> None:
    job = await store.create(new(idempotency=Idempotency("once", "hash")), actor="user:x")
    await store.append(job, canceling, actor="user:x")

    with pytest.raises(KeyTaken):
        await store.create(new(idempotency=Idempotency("once", "hash")), actor="user:x")


async def test_the_same_key_of_another_user_makes_another_job(store: Store, connection: Connection) -> None:
    mine = await store.create(new(idempotency=Idempotency("once", "hash")), actor="user:a")

    async with asyncio.timeout(5):
        theirs = await store.create(new(user_id=BOB, idempotency=Idempotency("once", "hash")), actor="user:b")

    assert mine.id != theirs.id
    assert await counts(connection) == (2, 2, 2)
    assert await store.job_of_key(BOB, "once") == (theirs.id, "hash")


async def test_many_keys_at_once_in_two_processes_make_one_job_each(
    store: Store, other_store: Store, connection: Connection
) -> None:
    keys = [f"key {n}" for n in range(30)]
    asked = [(store, key) for key in keys] + [(other_store, key) for key in reversed(keys)]

    async with asyncio.timeout(20):
        answers = await asyncio.gather(
            *(each.create(new(idempotency=Idempotency(key, "h")), actor="user:x") for each, key in asked),
            return_exceptions=True,
        )

    assert sum(isinstance(answer, Job) for answer in answers) == 30
    assert sum(isinstance(answer, KeyTaken) for answer in answers) == 30
    assert await counts(connection) == (30, 30, 30)


async def test_many_jobs_are_queued_at_once_and_in_order(store: Store, connection: Connection) -> None:
    jobs = await store.create_many([new(type=f"number {n}") for n in range(1_200)], actor="user:x", request_id="r")

    assert [job.type for job in jobs] == [f"number {n}" for n in range(1_200)]
    assert {(await store.history.events(job.id))[0].actor for job in jobs[::100]} == {"user:x"}
    assert await connection.fetchval("select count(*) from job_events where request_id = 'r'") == 1_200
    assert await what_is_broken(connection) == []
    assert await store.create_many([], actor="user:x") == []


async def test_create_many_queues_the_allowed_jobs_and_raises_for_the_first_refused_one(
    store: Store, connection: Connection
) -> None:
    active = await store.create(new(unique_key="u"), actor="user:x")

    with pytest.raises(AlreadyActive) as refused:
        await store.create_many([new(), new(unique_key="u"), new()], actor="user:x")

    assert refused.value.job_id == active.id
    assert await connection.fetchval("select count(*) from jobs") == 3
    assert await what_is_broken(connection) == []


async def test_the_key_of_a_job_that_could_not_be_made_stays_free(store: Store) -> None:
    first = await store.create(new(unique_key="u"), actor="user:x")

    with pytest.raises(AlreadyActive) as active:
        await store.create(new(unique_key="u", idempotency=Idempotency("once", "hash")), actor="user:x")

    assert active.value.job_id == first.id
    assert await store.job_of_key(ALICE, "once") is None


async def test_an_idempotency_key_is_looked_up_before_the_unique_key(store: Store) -> None:
    first = await store.create(new(unique_key="u", idempotency=Idempotency("once", "hash")), actor="user:x")
    await store.append(first, canceling, actor="user:x")
    second = await store.create(new(unique_key="u"), actor="user:x")

    with pytest.raises(KeyTaken) as taken:
        await store.create(new(unique_key="u", idempotency=Idempotency("once", "hash")), actor="user:x")

    assert (taken.value.job_id, second.id != first.id) == (first.id, True)


async def test_a_key_is_bound_to_an_existing_job_once(store: Store) -> None:
    one = await store.create(new(), actor="user:x")
    two = await store.create(new(), actor="user:x")

    await store.bind_key(ALICE, Idempotency("once", "hash"), one.id)
    await store.bind_key(ALICE, Idempotency("once", "hash"), one.id)

    assert await store.job_of_key(ALICE, "once") == (one.id, "hash")
    for idempotency, job in ((Idempotency("once", "hash"), two), (Idempotency("once", "other"), one)):
        with pytest.raises(KeyTaken) as taken:
            await store.bind_key(ALICE, idempotency, job.id)
        assert (taken.value.job_id, taken.value.request_hash) == (one.id, "hash")


async def test_a_key_is_bound_to_a_job_with_its_retry_or_not_at_all(
    store: Store, other_store: Store, connection: Connection
) -> None:
    jobs = [await store.append(await store.create(new(), actor="user:x"), canceling, actor="user:x") for _ in range(20)]
    names = [(ALICE, Idempotency(f"key {n // 2}", f"hash {n}")) for n in range(20)]

    answers = await asyncio.gather(
        *((store, other_store)[n % 2].append(job, retry, actor="user:x", user_key=names[n]) for n, job in enumerate(jobs)),
        return_exceptions=True,
    )

    for n in range(0, 20, 2):
        [retried] = [answer for answer in answers[n : n + 2] if isinstance(answer, Job)]
        [taken] = [answer for answer in answers[n : n + 2] if isinstance(answer, KeyTaken)]
        assert taken.job_id == retried.id
        assert await store.job_of_key(ALICE, f"key {n // 2}") == (retried.id, taken.request_hash)
    assert await what_is_broken(connection) == []
