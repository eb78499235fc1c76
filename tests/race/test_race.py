"""A small race for CI, and forged rows that its checks must find.

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
    for happened in ("refused", "decided_again", "terminated", "cut", "sent_again", "folded"):
        assert getattr(outcome, happened) > 0, happened


def test_a_race_is_clean_only_if_nothing_was_found() -> None:
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


async def test_the_independent_judge_accepts_the_log_of_the_store(store: Store, connection: Connection) -> None:
    await a_history_of_every_kind(store)

    wrong, requests = await what_is_wrong(connection)

    assert wrong == []
    assert (requests["r1"], requests["r2"]) == (1, 1)


FORGERIES = {
    "the view has another result": ("3: result is", "update jobs set result = '{\"n\": 3}'"),
    "the view is an event behind": ("3: seq is", "update jobs set seq = seq - 1"),
    "the view has no such job": ("3: it is not in the view", "delete from jobs"),
    "the log has no such job": ("3: ", "delete from job_events"),
    "an event is missing": ("2: seq has gaps", "delete from job_events where seq = 3"),
    "two ends of an attempt": ("4: an attempt has two ends", "update job_events set type = 'canceled' where seq = 3"),
    "something after the end": ("4: after the end at seq 4", "update job_events set attempt = 1 where seq = 5"),
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
async def test_the_independent_judge_finds_every_forgery(store: Store, connection: Connection, forgery: str) -> None:
    expected, statement = FORGERIES[forgery]
    await a_history_of_every_kind(store)
    await connection.execute("alter table job_events disable trigger user; drop index an_attempt_starts_once")

    await connection.execute(statement)

    wrong, _ = await what_is_wrong(connection)
    assert [each for each in wrong if each.startswith(expected)], wrong


@pytest.mark.parametrize("forgery", ["the view has another result", "the view is an event behind"])
async def test_a_checker_of_the_race_sees_where_view_and_fold_differ(
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
