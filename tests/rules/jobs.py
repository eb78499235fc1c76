"""Makes a job in each state, for the tests of this folder."""

from events.job import (
    Canceled,
    Completed,
    Event,
    Failed,
    Job,
    Started,
    evolve,
)
from tests.histories import ERROR, job_after, next_recorded, queued

STATES: dict[str, tuple[Event, ...]] = {
    "queued": (queued(),),
    "processing": (queued(), Started("w1")),
    "completed": (queued(), Started("w1"), Completed({"done": 2})),
    "failed": (queued(), Started("w1"), Failed(ERROR, will_retry=False)),
    "canceled": (queued(), Started("w1"), Canceled("asked")),
}


def job_in(state: str) -> Job:
    return job_after(*STATES[state])


def after(job: Job, *events: Event) -> Job:
    for event in events:
        job = evolve(job, next_recorded(job, event))
    return job
