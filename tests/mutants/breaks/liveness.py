"""Breaks of heartbeats and rescue."""

from tests.mutants.breaks.edit import ATTEMPT, CONCURRENCY, RESCUE, RUNNER, WORKER_TABLE, Break, Edit

BREAKS = (
    Break(
        "rescue by age",
        "a long job is run twice, and a short one of a dead worker waits for ever",
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
        "rescued without being declared gone",
        "a worker that comes back goes on under the name from which its jobs were taken",
        (
            Edit(WORKER_TABLE, "where gone_at is null and last_seen < now()", "where false and last_seen < now()"),
            Edit(
                RESCUE,
                "w.id = j.worker and w.gone_at is null)",
                "w.id = j.worker and w.last_seen > now() - interval '1 second')",
            ),
        ),
        ("tests/workers/liveness/test_living_workers.py::test_a_silent_worker_is_gone_after_a_lease_and_not_before",),
    ),
    Break(
        "no patience after PostgreSQL's start",
        "a restart of the database makes every worker look dead",
        (Edit(WORKER_TABLE, "and pg_postmaster_start_time() < now() - make_interval(secs => :lease)\n", ""),),
        ("tests/workers/liveness/test_living_workers.py::test_nobody_is_gone_before_postgresql_has_run_for_a_lease",),
    ),
    Break(
        "a rescuer that was cut off itself does not wait",
        "the first worker that reaches the database again takes everybody else for dead",
        (Edit(RESCUE, "if self._beats_regularly():", "if True:"),),
        ("tests/workers/liveness/test_living_workers.py::test_nobody_is_gone_because_the_database_was_away",),
    ),
    Break(
        "a rescuer that was frozen itself does not wait",
        "stopped between its beat and its look at the others, it takes for dead all who stood still with it",
        (
            Edit(
                WORKER_TABLE,
                "me.last_seen = :seen and me.last_seen >= now() - make_interval(secs => :beat)",
                "(cast(:seen as timestamptz), cast(:beat as float8)) is not null",
            ),
        ),
        (
            "tests/workers/liveness/test_living_workers.py::test_a_worker_that_wakes_from_a_sleep_of_its_machine_takes_nobody_for_gone_before_all_have_had_a_lease",
        ),
    ),
    Break(
        "a rescuer measures its own silence by its own clock",
        "after a machine's sleep the first worker that wakes takes the others for dead: its clock stood still with them",
        (Edit(RESCUE, 'max(now - self._last_beat, beat["silent_for"])', "now - self._last_beat"),),
        (
            "tests/workers/liveness/test_living_workers.py::test_a_worker_that_wakes_from_a_sleep_of_its_machine_takes_nobody_for_gone_before_all_have_had_a_lease",
        ),
    ),
    Break(
        "a beat waits for the rescue of others",
        "where the log hangs, a worker that lives is declared gone, and what it runs is run again",
        (
            Edit(RESCUE, "            both.create_task(self._rescue_on())\n", ""),
            Edit(RESCUE, "await self.beat()\n", "await self.beat()\n                await self.rescue()\n"),
        ),
        ("tests/workers/liveness/test_living_workers.py::test_a_worker_beats_on_while_its_rescue_of_others_gets_no_answer",),
    ),
    Break(
        "a beat waits for its answer as long as any statement",
        "one connection that hangs without closing makes a worker that lives look dead",
        (
            Edit(
                RESCUE,
                "timeout(BEAT_TIMEOUT):\n                    await self.beat()",
                "timeout(None):\n                    await self.beat()",
            ),
        ),
        (
            "tests/workers/liveness/test_living_workers.py::test_a_beat_that_gets_no_answer_is_given_up_and_its_connection_with_it",
        ),
    ),
    Break(
        "a cancelled statement's connection is given back",
        "the pool waits for a server that never answers, and with it the heart",
        (Edit("events/database.py", "                    connection.raw_connection.terminate()\n", ""),),
        (
            "tests/workers/liveness/test_living_workers.py::test_a_beat_that_gets_no_answer_is_given_up_and_its_connection_with_it",
        ),
    ),
    Break(
        "a worker that returns keeps its id",
        "it goes on beside those who have taken over its jobs, and is never seen as new",
        (Edit(WORKER_TABLE, "before.id = w.id and w.gone_at is null", "before.id = w.id"),),
        (
            "tests/workers/liveness/test_reconcile.py::test_a_worker_that_finds_itself_declared_gone_stops_what_it_runs_and_goes_on_under_a_new_name",
        ),
    ),
    Break(
        "a worker that returns stops nothing",
        "its handlers go on with effects that nobody will count",
        (Edit(RESCUE, "            self._runner.lose()\n", ""),),
        (
            "tests/workers/liveness/test_reconcile.py::test_a_worker_that_was_declared_gone_stops_though_nobody_has_rescued_its_jobs_yet",
        ),
    ),
    Break(
        "a worker that may be gone starts jobs",
        "frozen between claim and start, it starts a job that is rescued at once, and ended where it costs money: nothing has run",
        (Edit(RUNNER, "        if not self.leased:\n            return\n", ""),),
        (
            "tests/workers/liveness/test_dead_workers.py::test_a_worker_that_may_have_been_declared_gone_starts_nothing_before_it_knows_better",
        ),
    ),
    Break(
        "what a gone worker has started and not run is left to the rescue",
        "frozen while it started a job, it comes back and lets a job fail of which nothing has run",
        (
            Edit(
                ATTEMPT,
                "if self._interruption is Interruption.LOST:\n            # Nothing was done yet",
                "if False:\n            # Nothing was done yet",
            ),
            Edit(
                RUNNER,
                "            if not self.leased:\n                # Nothing",
                "            if False:\n                # Nothing",
            ),
        ),
        (
            "tests/workers/liveness/test_dead_workers.py::test_a_worker_that_was_frozen_while_it_started_a_job_and_declared_gone_hands_it_back_without_having_run_it",
        ),
    ),
    Break(
        "a lost worker's costly work is retried",
        "a draft is paid for twice and nobody has asked for it",
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
        "a start whose answer was lost is never found",
        "the job is processing for ever, by a worker that lives and does not know of it",
        (Edit(RESCUE, "for job_id in unknown & self._unknown}", "for job_id in ()}"),),
        (
            "tests/workers/liveness/test_reconcile.py::test_what_a_worker_started_without_knowing_it_is_rescued_after_two_heartbeats",
        ),
    ),
    Break(
        "a part of a process ends in silence",
        "jobs are neither delivered nor rescued any more by a process that looks alive, and nobody starts another",
        (Edit(CONCURRENCY, "    task.add_done_callback(_tell_if_broken)\n", ""),),
        ("tests/process/test_processes.py::test_a_process_ends_by_the_error_of_a_part_that_was_to_last",),
    ),
)
