"""Breaks of the code that stops attempts, by SIGTERM, by a cancel or at a deadline."""

from tests.mutants.breaks.edit import ATTEMPT, CONCURRENCY, JOB, RESCUE, RUNNER, Break, Edit

BREAKS = (
    Break(
        "a hand-back uses up an attempt",
        "each rolling restart takes an attempt from running jobs, and a job in its last attempt cannot be handed back",
        (
            Edit(JOB, 'Queued("worker_shutdown", job.max_attempts + 1)', 'Queued("worker_shutdown", job.max_attempts)'),
            Edit(
                JOB,
                "expected = job.status is Status.PROCESSING, job.max_attempts + 1",
                "expected = job.status is Status.PROCESSING, job.max_attempts",
            ),
        ),
        ("tests/workers/liveness/test_stopping.py::test_a_worker_that_stops_hands_its_jobs_back_without_using_up_an_attempt",),
    ),
    Break(
        "SIGTERM hands no job back",
        "jobs that run when a worker is stopped are rescued after a lease, and each loses an attempt",
        (Edit(RUNNER, "        self._interrupt_all(Interruption.STOPPING)\n", ""),),
        ("tests/workers/liveness/test_stopping.py::test_a_process_that_gets_sigterm_hands_back_its_running_jobs",),
    ),
    Break(
        "a cancel does not stop the handler",
        "the job is canceled, but its handler goes on working",
        (Edit(ATTEMPT, "elif self._phase is not Phase.ENDED and change.seq > self.job.seq:", "elif False:"),),
        ("tests/mutants/test_caught.py::test_a_cancel_stops_the_handler_without_any_heartbeat",),
    ),
    Break(
        "a cancel that arrives before the handler is called is ignored",
        "the handler is called although the job has ended, and works until the next heartbeat",
        (Edit(ATTEMPT, "if self._heard > self.job.seq and not", "if False and not"),),
        ("tests/workers/attempt/test_cancel.py::test_a_handler_whose_job_was_canceled_before_it_began_is_never_called",),
    ),
    Break(
        "a message of the bus is believed without a check",
        "anybody who reaches Redis can end a running attempt with a message",
        (Edit(ATTEMPT, "            if not await self._is_still_ours():\n", "            if True:\n"),),
        ("tests/workers/delivery/test_hostile_redis.py::test_no_forged_message_stops_an_attempt",),
    ),
    Break(
        "a cancel that the bus lost is never found",
        "while the bus is down, the handler of a canceled job works to its end",
        (Edit(RESCUE, "                attempt.interrupt(Interruption.OVER)\n", "                pass\n"),),
        ("tests/workers/liveness/test_reconcile.py::test_a_cancel_that_the_bus_lost_is_found_at_the_next_heartbeat",),
    ),
    Break(
        "the first reason to stop an attempt is recorded, not the strongest",
        "a stopping worker hands back an attempt that has passed its deadline, and the job gets the whole time again",
        (
            Edit(
                ATTEMPT,
                "self._interruption = why if self._interruption is None else min(why, self._interruption)",
                "self._interruption = self._interruption or why",
            ),
        ),
        ("tests/workers/attempt/test_cancel.py::test_the_strongest_of_several_reasons_to_stop_is_recorded",),
    ),
    Break(
        "a timeout is recorded under another name than Timeout",
        "a job that was too slow looks like one that canceled itself",
        (Edit(ATTEMPT, 'JobError("Timeout", message)', 'JobError("CancelledError", message)'),),
        ("tests/workers/attempt/test_outcomes.py::test_an_attempt_that_passes_its_deadline_times_out_and_is_retried",),
    ),
    Break(
        "attempts have no deadline",
        "a handler that hangs holds its slot for ever",
        (Edit(ATTEMPT, "        self._deadlines.add(self)\n", ""),),
        ("tests/workers/attempt/test_outcomes.py::test_an_attempt_that_passes_its_deadline_times_out_and_is_retried",),
    ),
    Break(
        "only the first of several deadlines is enforced",
        "of several handlers that hang, all but one hold their slots for ever",
        (Edit(CONCURRENCY, "self._timer = loop.call_at(added + self._seconds, self._look)", "break"),),
        ("tests/store/test_deadlines.py::test_each_item_is_reported_late_at_its_time_and_in_order",),
    ),
)
