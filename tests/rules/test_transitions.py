"""The table of states and events holds, cell by cell, for decisions and recorded events."""

from collections.abc import Callable

import pytest

from events.job import (
    ACTIVE,
    ENDED,
    EVENT_TYPES,
    RETRYABLE,
    BrokenHistory,
    Event,
    Job,
    NotAllowed,
    Reason,
    Recorded,
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
    rescue,
    retry,
    start,
    word,
)
from tests.histories import AT, ERROR, EXAMPLES, JOB_ID, job_after, next_recorded, queued, recorded
from tests.rules.jobs import STATES, after, job_in

Decide = Callable[[Job], list[Event]]

# This is a copy of the table in docs/architecture.md. A pair that is missing here is an empty cell
# there.
TABLE = {
    ("none", "queued"): "queued",
    ("queued", "started"): "processing",
    ("queued", "canceled"): "canceled",
    ("processing", "queued"): "queued",
    ("processing", "progress"): "processing",
    ("processing", "completed"): "completed",
    ("processing", "failed"): "failed",
    ("processing", "canceled"): "canceled",
    ("failed", "queued"): "queued",
    ("canceled", "queued"): "queued",
}

# For each type of event, every decision that produces it. The right worker makes each worker's
# decision.
DECISIONS: dict[str, dict[str, Decide]] = {
    "queued": {
        "retry": retry,
        "hand_back": lambda job: hand_back(job, attempt=job.attempt, worker="w1"),
    },
    "started": {"start": lambda job: start(job, attempt=job.attempt, worker="w1")},
    "progress": {"progress": lambda job: progress(job, attempt=job.attempt, worker="w1", result={"done": 1})},
    "completed": {"complete": lambda job: complete(job, attempt=job.attempt, worker="w1", result={"done": 2})},
    "failed": {
        "fail": lambda job: fail(job, attempt=job.attempt, worker="w1", error=ERROR, retry_in=None),
        "rescue": lambda job: rescue(job, attempt=job.attempt, worker="w1", error=ERROR, retry_in=None),
        "force_fail": lambda job: force_fail(job, error=ERROR),
    },
    "canceled": {
        "cancel": lambda job: cancel(job, reason="asked"),
        "give_up": lambda job: give_up(job, attempt=job.attempt, worker="w1", reason="asked"),
    },
}

# These decisions are allowed in fewer states than the events that they produce.
ONLY_IN = {"retry": {"failed", "canceled"}, "hand_back": {"processing"}, "give_up": {"processing"}}

CELLS = [(state, event) for state in STATES for event in EVENT_TYPES]
ALL_DECISIONS = [(event, name) for event, decisions in DECISIONS.items() for name in decisions]


def event_for(state: str, type: str) -> Event:
    """Makes an event of this type. It is valid in this state if the table allows that."""
    if type == "queued":
        job = job_in(state)
        reason: Reason = "worker_shutdown" if state == "processing" else "manual_retry"
        return queued(reason, max_attempts=job.max_attempts + 1)
    return EXAMPLES[type]


@pytest.mark.parametrize(("state", "event"), CELLS)
def test_a_recorded_event_leads_to_the_state_of_the_table_or_is_refused(state: str, event: str) -> None:
    job = job_in(state)
    next_event = next_recorded(job, event_for(state, event))

    if (state, event) in TABLE:
        later = evolve(job, next_event)

        assert later.status == TABLE[state, event]
        assert (later.seq, later.updated_at) == (job.seq + 1, next_event.at)
    else:
        with pytest.raises(BrokenHistory, match=f"{event} .* may not follow {state} "):
            evolve(job, next_event)


@pytest.mark.parametrize("event", EVENT_TYPES)
def test_a_first_event_other_than_queued_is_refused(event: str) -> None:
    first = queued() if event == "queued" else EXAMPLES[event]

    if event == "queued":
        assert fold(recorded(first)) == job_after(queued())
    else:
        with pytest.raises(BrokenHistory, match=f"begins with {event}"):
            evolve(None, Recorded(JOB_ID, 1, 1, first, "system:test", AT))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("event", "name"), ALL_DECISIONS)
def test_a_decision_leads_to_the_state_of_the_table_or_is_refused(state: str, event: str, name: str) -> None:
    job = job_in(state)
    decide = DECISIONS[event][name]

    if (state, event) in TABLE and state in ONLY_IN.get(name, STATES):
        events = decide(job)

        assert [word(each) for each in events] == [event]
        assert after(job, *events).status == TABLE[state, event]
    else:
        with pytest.raises(NotAllowed) as refused:
            decide(job)
        assert refused.value.job is job
        assert f"it is {state} " in str(refused.value)


def test_every_allowed_cell_can_be_reached_by_a_decision() -> None:
    reached = {
        (state, event)
        for event, name in ALL_DECISIONS
        for state in STATES
        if (state, event) in TABLE and state in ONLY_IN.get(name, STATES)
    }

    assert reached | {("none", "queued")} == set(TABLE)


def test_the_sets_of_states_are_those_of_the_contract() -> None:
    assert {Status.QUEUED, Status.PROCESSING} == ACTIVE
    assert {Status.FAILED, Status.CANCELED} == RETRYABLE
    assert {Status.COMPLETED, Status.FAILED, Status.CANCELED} == ENDED
    assert EVENT_TYPES == ("queued", "started", "progress", "completed", "failed", "canceled")
