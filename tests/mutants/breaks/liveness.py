"""Breaks of the code that sends heartbeats and rescues the jobs of lost workers."""

from tests.mutants.breaks.edit import ATTEMPT, CONCURRENCY, RESCUE, RUNNER, WORKER_TABLE, Break, Edit

BREAKS = (
    Break(
        "jobs are rescued by age",
        "a long job is run twice, and a young job of a dead worker waits for ever",
        (
            Edit(
                RESCUE,
                "not exists (select from workers w where w.id = j.worker and w.gone_at is null)",
                "started_at < now() - interval '1 second'",
            ),
        ),
        ("tests/workers/liveness/test_living_workers.py::test_a_job_may_run_longer_than_a_lease",),
    ),
    Break(
        "jobs are rescued from a worker that was not declared gone",
        "a worker that comes back keeps working under the id from which its jobs were taken",
        (
            Edit(WORKER_TABLE, "where gone_at is null and last_seen < now()", "where false and last_seen < now()"),
            Edit(
                RESCUE,
                "w.id = j.worker and w.gone_at is null)",
                "w.id = j.worker and w.last_seen > now() - interval '1 second')",
            ),
        ),
        ("tests/workers/liveness/test_living_workers.py::test_a_silent_worker_is_declared_gone_after_a_lease_and_not_before",),
    ),
    Break(
        "workers are declared gone right after PostgreSQL has started",
        "after a restart of PostgreSQL every worker looks dead",
        (Edit(WORKER_TABLE, "and pg_postmaster_start_time() < now() - make_interval(secs => :lease)\n", ""),),
        (
            "tests/workers/liveness/test_living_workers.py::test_no_worker_is_declared_gone_before_postgresql_has_run_for_a_lease",
        ),
    ),
    Break(
        "a rescuer that was itself cut off does not wait",
        "the first worker that reaches PostgreSQL again declares all others gone",
        (Edit(RESCUE, "if self._beats_regularly():", "if True:"),),
        (
            "tests/workers/liveness/test_living_workers.py::test_no_worker_is_declared_gone_because_the_database_was_unreachable",
        ),
    ),
    Break(
        "a rescuer that was itself frozen does not wait",
        "a worker frozen between its heartbeat and its check of the others declares all of them gone",
        (
            Edit(
                WORKER_TABLE,
                "me.last_seen = :seen and me.last_seen >= now() - make_interval(secs => :beat)",
                "(cast(:seen as timestamptz), cast(:beat as float8)) is not null",
            ),
        ),
        (
            "tests/workers/liveness/test_living_workers.py::test_after_a_sleep_of_its_machine_a_worker_declares_no_other_gone_for_a_lease",
        ),
    ),
    Break(
        "a rescuer measures its own silence by its local clock only",
        "when a machine wakes, its first worker declares the others gone: its local clock stood still during the sleep",
        (Edit(RESCUE, 'max(now - self._last_beat, beat["silent_for"])', "now - self._last_beat"),),
        (
            "tests/workers/liveness/test_living_workers.py::test_after_a_sleep_of_its_machine_a_worker_declares_no_other_gone_for_a_lease",
        ),
    ),
    Break(
        "a heartbeat waits for the rescue of other workers' jobs",
        "while PostgreSQL hangs, a living worker is declared gone, and its jobs are run again",
        (
            Edit(RESCUE, "            both.create_task(self._rescue_on())\n", ""),
            Edit(RESCUE, "await self.beat()\n", "await self.beat()\n                await self.rescue()\n"),
        ),
        (
            "tests/workers/liveness/test_living_workers.py::test_a_worker_sends_heartbeats_while_its_rescue_of_other_workers_hangs",
        ),
    ),
    Break(
        "a heartbeat waits for its answer as long as any other statement",
        "one connection that hangs without closing makes a living worker look dead",
        (
            Edit(
                RESCUE,
                "timeout(BEAT_TIMEOUT):\n                    await self.beat()",
                "timeout(None):\n                    await self.beat()",
            ),
        ),
        (
            "tests/workers/liveness/test_living_workers.py::test_a_heartbeat_without_an_answer_is_given_up_and_its_connection_closed",
        ),
    ),
    Break(
        "the connection of a cancelled statement goes back to the pool",
        "the pool waits for a server that never answers, and the heartbeat waits for the pool",
        (Edit("events/database.py", "                    connection.raw_connection.terminate()\n", ""),),
        (
            "tests/workers/liveness/test_living_workers.py::test_a_heartbeat_without_an_answer_is_given_up_and_its_connection_closed",
        ),
    ),
    Break(
        "a worker that was declared gone keeps its id",
        "the worker keeps working on jobs that other workers have taken over, and never registers anew",
        (Edit(WORKER_TABLE, "before.id = w.id and w.gone_at is null", "before.id = w.id"),),
        (
            "tests/workers/liveness/test_reconcile.py::test_a_worker_that_was_declared_gone_stops_its_handlers_and_goes_on_under_a_new_id",
        ),
    ),
    Break(
        "a worker that was declared gone stops none of its handlers",
        "the worker's handlers go on with work whose results are refused",
        (Edit(RESCUE, "            self._runner.lose()\n", ""),),
        ("tests/workers/liveness/test_reconcile.py::test_a_worker_that_was_declared_gone_stops_before_its_jobs_are_rescued",),
    ),
    Break(
        "a worker that may have been declared gone starts jobs",
        "a worker frozen between claim and start starts a job that is rescued at once, or failed if it costs money",
        (Edit(RUNNER, "        if not self.leased:\n            return\n", ""),),
        (
            "tests/workers/liveness/test_dead_workers.py::test_a_worker_that_may_have_been_declared_gone_starts_no_job_before_it_has_checked",
        ),
    ),
    Break(
        "a job that a gone worker has started but not run is left to the rescue",
        "a worker that was frozen while it started a job lets the job fail although its handler never ran",
        (
            Edit(
                ATTEMPT,
                "if self._interruption is Interruption.LOST:\n            # The handler was not called",
                "if False:\n            # The handler was not called",
            ),
            Edit(
                RUNNER,
                "            if not self.leased:\n                # The handler",
                "            if False:\n                # The handler",
            ),
        ),
        (
            "tests/workers/liveness/test_dead_workers.py::test_a_worker_declared_gone_while_it_started_a_job_hands_the_job_back_unrun",
        ),
    ),
    Break(
        "a job that costs money is retried after its worker was lost",
        "a draft is paid for twice although nobody asked for a second one",
        (
            Edit(
                RESCUE,
                "job_type.backoff.after(job.attempt) if job_type.retry_when_worker_lost else None",
                "job_type.backoff.after(job.attempt)",
            ),
        ),
        ("tests/workers/liveness/test_dead_workers.py::test_jobs_of_a_killed_worker_are_retried_or_failed_as_their_type_says",),
    ),
    Break(
        "a started job whose answer was lost is never found",
        "the job stays processing for ever: its worker lives but does not know that it started the job",
        (Edit(RESCUE, "for job_id in unknown & self._unknown}", "for job_id in ()}"),),
        (
            "tests/workers/liveness/test_reconcile.py::test_a_job_that_a_worker_started_without_knowing_it_is_rescued_after_two_heartbeats",
        ),
    ),
    Break(
        "a background task of a process ends without ending the process",
        "the process looks alive, so nobody restarts it, but it does not deliver or rescue jobs any more",
        (Edit(CONCURRENCY, "    task.add_done_callback(_tell_if_broken)\n", ""),),
        ("tests/process/test_processes.py::test_a_process_ends_with_the_error_of_a_background_task_that_fails",),
    ),
)
