"""Breaks of stopping, canceling and deadlines."""

from tests.mutants.breaks.edit import ATTEMPT, CONCURRENCY, JOB, RESCUE, RUNNER, Break, Edit

BREAKS = (
    Break(
        "a hand-back spends an attempt",
        "each rolling restart takes an attempt away from what runs, and the last one is refused altogether",
        (
            Edit(JOB, 'Queued("worker_shutdown", job.max_attempts + 1)', 'Queued("worker_shutdown", job.max_attempts)'),
            Edit(
                JOB,
                "expected = job.status is Status.PROCESSING, job.max_attempts + 1",
                "expected = job.status is Status.PROCESSING, job.max_attempts",
            ),
        ),
        ("tests/workers/liveness/test_stopping.py::test_a_worker_that_stops_hands_its_jobs_back_without_spending_an_attempt",),
    ),
    Break(
        "SIGTERM hands nothing back",
        "what runs when a worker is stopped is rescued as lost, a lease later, and costs an attempt",
        (Edit(RUNNER, "        self._interrupt_all(Interruption.STOPPING)\n", ""),),
        ("tests/workers/liveness/test_stopping.py::test_a_process_that_is_asked_to_end_hands_back_what_it_runs",),
    ),
    Break(
        "a cancel does not reach the task",
        "the job is canceled, and its work goes on",
        (Edit(ATTEMPT, "elif self._phase is not Phase.ENDED and change.seq > self.job.seq:", "elif False:"),),
        ("tests/mutants/test_caught.py::test_a_cancel_stops_the_handler_though_no_heart_beats",),
    ),
    Break(
        "a cancel that is heard of before the start is forgotten",
        "the handler is entered though the job has ended, and works on until the next heartbeat",
        (Edit(ATTEMPT, "if self._heard > self.job.seq and not", "if False and not"),),
        ("tests/workers/attempt/test_cancel.py::test_a_handler_whose_job_was_canceled_before_it_began_is_never_entered",),
    ),
    Break(
        "what the bus says is believed",
        "whoever reaches Redis ends a running attempt by a message",
        (Edit(ATTEMPT, "            if not await self._is_still_ours():\n", "            if True:\n"),),
        ("tests/workers/delivery/test_hostile_redis.py::test_no_untrue_message_stops_an_attempt",),
    ),
    Break(
        "a missed cancel is never found",
        "with the bus down, the work of a canceled job goes on to its end",
        (Edit(RESCUE, "                attempt.interrupt(Interruption.OVER)\n", "                pass\n"),),
        ("tests/workers/liveness/test_reconcile.py::test_a_cancel_that_the_bus_did_not_bring_is_found_at_the_next_heartbeat",),
    ),
    Break(
        "the first reason to stop stands",
        "a worker that stops hands back an attempt whose deadline has passed, and another gives it the whole time again",
        (
            Edit(
                ATTEMPT,
                "self._interruption = why if self._interruption is None else min(why, self._interruption)",
                "self._interruption = self._interruption or why",
            ),
        ),
        (
            "tests/workers/attempt/test_cancel.py::test_of_reasons_to_stop_that_come_together_the_one_that_counts_more_is_recorded",
        ),
    ),
    Break(
        "a timeout is not recorded as Timeout",
        "nobody can tell a job that was too slow from one that was canceled from within",
        (Edit(ATTEMPT, 'JobError("Timeout", message)', 'JobError("CancelledError", message)'),),
        ("tests/workers/attempt/test_outcomes.py::test_an_attempt_that_passes_its_deadline_times_out_and_is_retried",),
    ),
    Break(
        "no deadline",
        "a handler that hangs keeps its slot for ever",
        (Edit(ATTEMPT, "        self._deadlines.add(self)\n", ""),),
        ("tests/workers/attempt/test_outcomes.py::test_an_attempt_that_passes_its_deadline_times_out_and_is_retried",),
    ),
    Break(
        "only the first deadline is looked at",
        "of the handlers that hang all but one keep their slots for ever",
        (Edit(CONCURRENCY, "self._timer = loop.call_at(added + self._seconds, self._look)", "break"),),
        ("tests/store/test_deadlines.py::test_each_item_is_late_at_its_time_and_in_order",),
    ),
)
