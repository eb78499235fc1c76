"""Every job type, one line each.

To add a job type, write its file (`workers/job_type.py` says how) and add its line here. Queueing,
delivery, retries, the API and the page then support the new type.
"""

from typing import Any

from events.job import JSON
from workers.chatwork.messages_sync import CHATWORK_MESSAGES_SYNC
from workers.chatwork.rooms_sync import CHATWORK_ROOMS_SYNC
from workers.description import Part
from workers.description import described as described_by
from workers.job_type import JobType
from workers.summaries.summary_draft import SUMMARY_DRAFT

JOB_TYPES: dict[str, JobType[Any]] = {
    job_type.name: job_type
    for job_type in (
        CHATWORK_ROOMS_SYNC,
        CHATWORK_MESSAGES_SYNC,
        SUMMARY_DRAFT,
    )
}


def types_that_call(service: str) -> list[str]:
    """Returns the names of the job types that call an outside service, such as "Chatwork"."""
    return [job_type.name for job_type in JOB_TYPES.values() if job_type.calls == service]


def unique_key(name: str, payload: JSON, user_id: str | None) -> str | None:
    """Returns the key that only one active job may have; None if any number may be active.

    Also returns None if the type does not exist: a stored job may have such a type.
    """
    job_type = JOB_TYPES.get(name)
    return None if job_type is None else job_type.unique_key(payload, user_id)


def described(name: str, payload: JSON) -> list[Part]:
    """Returns the parts of a job's description.

    There are none if the type does not exist or does not describe its jobs.
    """
    job_type = JOB_TYPES.get(name)
    return [] if job_type is None else described_by(job_type.payload, job_type.describe, payload)
