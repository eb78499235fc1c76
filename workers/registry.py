"""Every job type, one line each. Adding one touches nothing else."""

from typing import Any

from events.job import JSON
from workers.chatwork.messages_sync import CHATWORK_MESSAGES_SYNC
from workers.chatwork.rooms_sync import CHATWORK_ROOMS_SYNC
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
    return [job_type.name for job_type in JOB_TYPES.values() if job_type.calls == service]


def unique_key(type: str, payload: JSON, user_id: str | None) -> str | None:
    """What at most one active job may have in common with this one; None for any number, and for a type that is no more."""
    job_type = JOB_TYPES.get(type)
    return None if job_type is None else job_type.unique_key(payload, user_id)
