"""Every job type, one line each. Adding one touches nothing else."""

from typing import Any

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
