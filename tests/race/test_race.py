"""Runs a small race, and checks that the race's checks find forged rows.

`python -m tests.race` runs the whole race.
"""

from collections.abc import AsyncIterator

import pytest

from events.database import Connection, connect
from events.job import JobError, fail, hand_back, retry
from events.store import Store
from tests.histories import RETRY_AT_ONCE, canceling, completing, new, reporting, starting
from tests.race.__main__ import ALL, Outcome, Settings, compare, race
from tests.race.check import what_is_wrong
from tests.race.sealers import Published, wrong_roots
from tests.race.writers import TYPE


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, application_name="the test")
    yield connection
    await connection.close()


async def test_view_and_log_agree_in_every_snapshot_while_writers_race_and_their_connections_break(database_url: str) -> None:
    outcome = await race(
        database_url, Settings(decisions=1000, jobs=30, processes=2, checkers=1, terminate_every=100, cut_every=40)
    )

    assert (outcome.differences, outcome.wrong, outcome.deadlocks) == ([], [], 0)
    assert outcome.decisions >= 1000
    assert outcome.snapshots > 10
    for happened in ("refused", "decided_again", "terminated", "cut", "sent_again", "folded", "published"):
        assert getattr(outcome, happened) > 0, happened


async def test_a_root_that_the_log_does_not_have_is_found(store: Store, database_url: str) -> None:
    await a_history_of_every_kind(store)
    published: Published = {}
    assert await wrong_roots(database_url, published) == []
    published[4] = {bytes(32)}

    assert await wrong_roots(database_url, published) == [
        "10: the log does not extend a checkpoint of size 4 that was published before"
    ]


def test_a_race_is_reported_as_clean_only_if_no_check_found_anything() -> None:
    assert Outcome().is_clean

    for found in (Outcome(differences=["x"]), Outcome(wrong=["x"]), Outcome(deadlocks=1)):
        assert not found.is_clean


async def a_history_of_every_kind(store: Store) -> str:
    job = await store.create(new(TYPE), actor="user:x", request_id="r1")
    error = JobError("Race", "asked")
    job = await store.append(job, starting("w1"), actor="worker:w1")
    job = await store.append(job, reporting({"n": 1}), actor="worker:w1")
    job = await store.append(
        job, lambda job: fail(job, attempt=1, worker="w1", error=error, retry_in=RETRY_AT_ONCE), actor="worker:w1"
    )
    job = await store.append(job, starting("w2", 2), actor="worker:w2")
    job = await store.append(job, lambda job: hand_back(job, attempt=2, worker="w2"), actor="worker:w2")
    job = await store.append(job, canceling, actor="user:x")
    job = await store.append(job, retry, actor="user:x")
    job = await store.append(job, starting("w1", 4), actor="worker:w1")
    job = await store.append(job, completing({"n": 2.5}, "w1", 4), actor="worker:w1", request_id="r2")
    return job.id


async def test_the_second_implementation_of_the_rules_accepts_the_log_of_the_store(
    store: Store, connection: Connection
) -> None:
    await a_history_of_every_kind(store)

    wrong, requests = await what_is_wrong(connection)

    assert wrong == []
    assert (requests["r1"], requests["r2"]) == (1, 1)


FORGERIES = {
    "the view has another result": ("3: result is", "update jobs set result = '{\"n\": 3}'"),
    "the view lacks the last event": ("3: seq is", "update jobs set seq = seq - 1"),
    "the job is missing in the view": ("3: the job is not in the view", "delete from jobs"),
    "the job is missing in the log": ("3: ", "delete from job_events"),
    "an event is missing": ("2: seq has gaps", "delete from job_events where seq = 3"),
    "an attempt with two ends": ("4: an attempt has two ends", "update job_events set type = 'canceled' where seq = 3"),
    "an event after the end": ("4: after the end at seq 4", "update job_events set attempt = 1 where seq = 5"),
    "a second start": (
        "6: an attempt was started twice",
        "update job_events set type = 'started', data = json_build_object('worker', 'w1') where seq = 3",
    ),
    "too many attempts": (
        "6: attempt 2 is more",
        "update job_events set data = replace(data::text, 's\":3', 's\":1')::json where seq = 5",
    ),
    "a stranger's report": ("7: progress at seq 3", "update job_events set actor = 'worker:w9' where seq = 3"),
    "a stranger's failure": ("7: failed at seq 4", "update job_events set actor = 'worker:w9' where seq = 4"),
    "a stranger's hand-back": ("7: hand-back at seq 7", "update job_events set actor = 'worker:w9' where seq = 7"),
    "time that runs backwards": ("times run backwards", "update job_events set at = at - interval '1 hour' where seq = 3"),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_the_second_implementation_of_the_rules_finds_every_forged_row(
    store: Store, connection: Connection, forgery: str
) -> None:
    expected, statement = FORGERIES[forgery]
    await a_history_of_every_kind(store)
    await connection.execute("alter table job_events disable trigger user; drop index an_attempt_starts_once")

    await connection.execute(statement)

    wrong, _ = await what_is_wrong(connection)
    assert [each for each in wrong if each.startswith(expected)], wrong


@pytest.mark.parametrize("forgery", ["the view has another result", "the view lacks the last event"])
async def test_the_race_finds_a_row_of_the_view_that_differs_from_the_events(
    store: Store, connection: Connection, forgery: str
) -> None:
    outcome = Outcome()
    await a_history_of_every_kind(store)
    await compare(connection, ALL, outcome)
    assert outcome.is_clean

    await connection.execute(FORGERIES[forgery][1])
    await compare(connection, ALL, outcome)

    assert outcome.compared == 2
    assert not outcome.is_clean
