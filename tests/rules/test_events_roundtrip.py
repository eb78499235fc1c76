"""Events keep their values in their stored form, and fold to the same job afterwards."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.job import (
    JSON,
    BrokenHistory,
    Canceled,
    Completed,
    Event,
    Failed,
    Job,
    JobError,
    Progress,
    Queued,
    Recorded,
    Started,
    Status,
    cancel,
    complete,
    evolve,
    fail,
    fold,
    force_fail,
    give_up,
    hand_back,
    progress,
    queue,
    rescue,
    retry,
    rfc3339,
    start,
    word,
)
from events.stored import event_data, event_from
from tests.histories import ALICE, AT, ERROR, JOB_ID, queued

LATER = timedelta(seconds=1)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
errors = st.builds(JobError, texts, texts, st.none() | texts)
workers = st.sampled_from(["w1", "w2", "働き手"])
delays = st.timedeltas(timedelta(0), timedelta(days=400))
times = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
gaps = st.just(timedelta(0)) | st.timedeltas(timedelta(0), timedelta(days=3))


def as_new(draw: Callable[[st.SearchStrategy[Any]], Any]) -> list[Event]:
    user_id = draw(st.none() | st.just(ALICE))
    return queue(
        job_type=draw(st.text("abc_", min_size=1)),
        payload=draw(values),
        user_id=user_id,
        max_attempts=draw(st.integers(1, 4)),
        delay=draw(delays),
    )


def decided(draw: Callable[[st.SearchStrategy[Any]], Any], job: Job) -> list[Event]:
    """Returns the events of a random decision that the job allows, or [] if it allows none."""
    match job.status:
        case Status.QUEUED:
            decide = draw(st.sampled_from([lambda: start(job, attempt=job.attempt, worker=draw(workers)), *canceling(job)]))
        case Status.PROCESSING:
            worker, attempt = job.worker or "", job.attempt
            retry_in = draw(st.none() | delays)
            by_its_worker: list[Callable[[], list[Event]]] = [
                lambda: progress(job, attempt=attempt, worker=worker, result=draw(values)),
                lambda: complete(job, attempt=attempt, worker=worker, result=draw(values)),
                lambda: fail(job, attempt=attempt, worker=worker, error=draw(errors), retry_in=retry_in),
                lambda: rescue(job, attempt=attempt, worker=worker, error=draw(errors), retry_in=retry_in),
                lambda: give_up(job, attempt=attempt, worker=worker, reason=draw(texts)),
                lambda: hand_back(job, attempt=attempt, worker=worker),
                lambda: force_fail(job, error=draw(errors)),
            ]
            decide = draw(st.sampled_from([*by_its_worker, *canceling(job)]))
        case Status.FAILED | Status.CANCELED:
            decide = functools.partial(retry, job)
        case _:
            return []
    events: list[Event] = decide()
    return events


def canceling(job: Job) -> list[Callable[[], list[Event]]]:
    return [lambda: cancel(job, reason="asked")]


@st.composite
def legal_histories(draw: Callable[[st.SearchStrategy[Any]], Any]) -> list[Recorded]:
    history: list[Recorded] = []
    job: Job | None = None
    at = draw(times)
    for _ in range(draw(st.integers(1, 12))):
        events = as_new(draw) if job is None else decided(draw, job)
        for event in events:
            seq, attempt = (1, 1) if job is None else (job.seq + 1, job.attempt + (word(event) == "queued"))
            history.append(Recorded(JOB_ID, seq, attempt, event, "system:test", at))
            job = evolve(job, history[-1])
        at += draw(gaps)
    return history


def through_the_store(event: Recorded) -> Recorded:
    stored = orjson.dumps(event_data(event.event, event.at))
    return event._replace(event=event_from(word(event.event), orjson.loads(stored), event.at))


@given(legal_histories())
@settings(max_examples=300, deadline=None)
def test_an_event_survives_the_round_trip_through_its_stored_form(history: list[Recorded]) -> None:
    back = [through_the_store(event) for event in history]

    assert back == history
    for length in range(1, len(history) + 1):
        assert fold(back[:length]) == fold(history[:length])


@given(legal_histories())
@settings(deadline=None)
def test_every_sequence_of_decisions_keeps_the_invariants_of_a_job(history: list[Recorded]) -> None:
    jobs = [job for length in range(1, len(history) + 1) if (job := fold(history[:length])) is not None]

    for job in jobs:
        assert 1 <= job.attempt <= job.max_attempts
        assert (job.worker is not None) == (job.status is Status.PROCESSING)
        assert job.created_at <= job.updated_at
        if job.status in (Status.QUEUED, Status.PROCESSING):
            assert job.finished_at is None
        if job.status is Status.QUEUED:
            assert (job.result, job.started_at) == (None, None)
    attempts = [event.attempt for event in history if word(event.event) == "queued"]
    assert attempts == list(range(1, len(attempts) + 1))


@given(legal_histories(), st.data())
@settings(deadline=None)
def test_a_history_with_a_missing_doubled_or_swapped_event_is_refused(history: list[Recorded], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(history) - 1))
    harm = data.draw(st.sampled_from(["left out", "doubled", "swapped"]))
    harmed = list(history)

    if harm == "doubled":
        harmed.insert(place, history[place])
    elif place == len(history) - 1:
        return  # A history is valid without its last event, too.
    elif harm == "left out":
        del harmed[place]
    else:
        harmed[place : place + 2] = reversed(history[place : place + 2])

    with pytest.raises(BrokenHistory):
        fold(harmed)


@given(legal_histories(), st.data())
@settings(deadline=None)
def test_a_history_with_a_forged_seq_attempt_or_time_is_refused(history: list[Recorded], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(history) - 1))
    event = history[place]
    forgeries = [
        event._replace(seq=event.seq + data.draw(st.sampled_from([-1, 1, 7]))),
        event._replace(attempt=event.attempt + data.draw(st.sampled_from([-1, 1, 7]))),
    ]
    if place > 0:
        forgeries.append(event._replace(at=history[place - 1].at - data.draw(st.timedeltas(timedelta(microseconds=1), LATER))))

    for forged in forgeries:
        with pytest.raises(BrokenHistory):
            fold([*history[:place], forged, *history[place + 1 :]])


SHAPES: list[tuple[Event, str, JSON]] = [
    (
        queued(),
        "queued",
        {
            "reason": "new",
            "runAt": "2026-11-23T09:00:00.123456Z",
            "maxAttempts": 3,
            "type": "rooms",
            "payload": {"n": 1},
            "userId": ALICE,
        },
    ),
    (
        Queued("new", 1, timedelta(0), "rooms", {}, None),
        "queued",
        {
            "reason": "new",
            "runAt": "2026-11-23T09:00:00.123456Z",
            "maxAttempts": 1,
            "type": "rooms",
            "payload": {},
            "userId": None,
        },
    ),
    (
        Queued("retry", 3, timedelta(seconds=2, microseconds=1)),
        "queued",
        {"reason": "retry", "runAt": "2026-11-23T09:00:02.123457Z", "maxAttempts": 3},
    ),
    (
        Queued("manual_retry", 4),
        "queued",
        {"reason": "manual_retry", "runAt": "2026-11-23T09:00:00.123456Z", "maxAttempts": 4},
    ),
    (Started("w1"), "started", {"worker": "w1"}),
    (Progress({"totalRooms": 40, "processedRooms": 7}), "progress", {"result": {"totalRooms": 40, "processedRooms": 7}}),
    (Completed(None), "completed", {"result": None}),
    (
        Failed(ERROR, will_retry=True),
        "failed",
        {"error": {"name": "ValueError", "message": "no such room", "stack": "Traceback: line 1"}, "willRetry": True},
    ),
    (
        Failed(JobError("Lost", "gone"), will_retry=False),
        "failed",
        {"error": {"name": "Lost", "message": "gone", "stack": None}, "willRetry": False},
    ),
    (Canceled("asked"), "canceled", {"reason": "asked"}),
]


@pytest.mark.parametrize(("event", "type", "data"), SHAPES)
def test_a_stored_event_has_the_keys_of_the_contract(event: Event, type: str, data: JSON) -> None:
    assert word(event) == type
    assert event_data(event, AT) == data
    assert event_from(type, data, AT) == event


@pytest.mark.parametrize(
    ("time", "written"),
    [
        (datetime(2026, 11, 23, 9, tzinfo=UTC), "2026-11-23T09:00:00.000000Z"),
        (datetime(2026, 11, 23, 9, 0, 0, 7, tzinfo=UTC), "2026-11-23T09:00:00.000007Z"),
        (datetime(2026, 11, 23, 0, 30, tzinfo=timezone(timedelta(hours=9))), "2026-11-22T15:30:00.000000Z"),
    ],
)
def test_times_are_written_in_utc_with_microseconds(time: datetime, written: str) -> None:
    assert rfc3339(time) == written
    assert datetime.fromisoformat(written) == time


RUN_AT = rfc3339(AT)
NEVER_WRITTEN: list[tuple[str, JSON]] = [
    ("paused", {}),
    ("Queued", {"reason": "retry", "runAt": RUN_AT, "maxAttempts": 3}),
    ("queued", {}),
    ("queued", {"reason": "retry", "maxAttempts": 3}),
    ("queued", {"reason": "a whim", "runAt": RUN_AT, "maxAttempts": 3}),
    ("queued", {"reason": "retry", "runAt": "soon", "maxAttempts": 3}),
    ("queued", {"reason": "retry", "runAt": "2026-11-23T09:00:00", "maxAttempts": 3}),
    ("queued", {"reason": "retry", "runAt": None, "maxAttempts": 3}),
    ("queued", {"reason": "retry", "runAt": RUN_AT, "maxAttempts": "3"}),
    ("queued", {"reason": "retry", "runAt": RUN_AT, "maxAttempts": None}),
    ("queued", {"reason": "new", "runAt": RUN_AT, "maxAttempts": 3, "type": 7, "payload": {}, "userId": None}),
    ("started", {}),
    ("started", {"worker": None}),
    ("started", {"worker": 7}),
    ("progress", {}),
    ("completed", {"done": 1}),
    ("failed", {"willRetry": False}),
    ("failed", {"error": None, "willRetry": False}),
    ("failed", {"error": "it broke", "willRetry": False}),
    ("failed", {"error": {"name": "ValueError"}, "willRetry": False}),
    ("failed", {"error": {"name": "A", "message": "b", "stack": None, "cause": "c"}, "willRetry": False}),
    ("failed", {"error": {"name": 7, "message": None}, "willRetry": False}),
    ("failed", {"error": ERROR.to_json()}),
    ("failed", {"error": ERROR.to_json(), "willRetry": "no"}),
    ("canceled", {}),
    ("canceled", {"reason": ["asked"]}),
    ("started", ["worker"]),
    ("started", "worker"),
    ("started", None),
    ("progress", []),
    ("queued", [1]),
]


@pytest.mark.parametrize(("type", "data"), NEVER_WRITTEN)
def test_data_that_the_service_cannot_have_written_are_refused(type: str, data: JSON) -> None:
    with pytest.raises(BrokenHistory):
        event_from(type, data, AT)
