"""Breaks of the fence, which refuses the writes of a worker whose attempt is over."""

from tests.mutants.breaks.edit import CONTEXT, JOB, Break, Edit

BREAKS = (
    Break(
        "the fence does not check the attempt",
        "a late worker completes a job that another attempt has taken over",
        (
            Edit(
                JOB,
                "job.status is not Status.PROCESSING or job.attempt != attempt or job.worker != worker",
                "job.status is not Status.PROCESSING or job.worker != worker",
            ),
        ),
        ("tests/rules/test_fence.py::test_a_worker_may_not_write_for_its_own_earlier_attempt",),
    ),
    Break(
        "the fence does not check the worker",
        "a worker reports on an attempt that another worker has started",
        (
            Edit(
                JOB,
                "job.status is not Status.PROCESSING or job.attempt != attempt or job.worker != worker",
                "job.status is not Status.PROCESSING or job.attempt != attempt",
            ),
        ),
        (
            "tests/rules/test_fence.py::test_a_worker_may_not_write_for_the_worker_that_started_the_attempt",
            "tests/race/test_race.py::test_view_and_log_agree_in_every_snapshot_while_writers_race_and_their_connections_break",
        ),
    ),
    Break(
        "a start does not check the attempt",
        "an old hint starts a later attempt before its backoff is over",
        (Edit(JOB, "if job.status is not Status.QUEUED or job.attempt != attempt:", "if job.status is not Status.QUEUED:"),),
        ("tests/rules/test_fence.py::test_only_the_attempt_that_is_queued_may_be_started",),
    ),
    Break(
        "effects have no fence",
        "the handler of a canceled or rescued attempt still stores its messages and drafts",
        (Edit(CONTEXT, "if await self.database.fetch_val(STILL_MINE, values) is None:", "if False:"),),
        (
            "tests/workers/attempt/test_effects.py::test_effects_of_an_ended_attempt_are_rolled_back_and_its_progress_is_refused",
        ),
    ),
    Break(
        "the fence of effects does not check the attempt",
        "after a cancel and a retry, effects of the old attempt are stored beside those of the new one",
        (Edit(CONTEXT, "and attempt = :attempt and worker", "and (attempt = :attempt or true) and worker"),),
        (
            "tests/workers/attempt/test_effects.py::test_effects_of_an_ended_attempt_are_rolled_back_and_its_progress_is_refused",
        ),
    ),
)
