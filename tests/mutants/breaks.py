"""The list of breaks. An old text is found in its file exactly once, or the list no longer follows the code, which is an error
(`tests/mutants/test_caught.py` looks for that in every run of the tests). Short texts last longest.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Break:
    """`why` says what would happen; `tests` are pytest's ids, of which at least one must fail."""

    name: str
    why: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


JOB = "events/job.py"
STORE = "events/store.py"
COMMIT = "events/group_commit.py"
CONCURRENCY = "events/concurrency.py"
SEAL = "projections/seal.py"
ATTEMPT = "workers/attempt/attempt.py"
RUNNER = "workers/attempt/runner.py"
SLOTS = "workers/attempt/slots.py"
RESCUE = "workers/liveness/heartbeat.py"
DELIVER = "workers/delivery/tick.py"
WIRE = "workers/delivery/redis_wire.py"
WORKER = "workers/worker.py"
STATEMENTS = "events/statements.py"
WRITER = "events/batch_writer.py"
CLOCK = "events/database_clock.py"
CONTEXT = "workers/attempt/context.py"
WORKER_TABLE = "workers/liveness/worker_table.py"

BREAKS = (
    # The one write ------------------------------------------------------------------------------------------------------------
    Break(
        "no seq guard",
        "a decision made on an old state is written all the same: late workers overwrite, two workers start one attempt",
        (Edit(STATEMENTS, "where j.id = a.id and j.seq = a.expected_seq", "where j.id = a.id"),),
        ("tests/store/test_decided_again.py::test_of_many_starts_of_one_attempt_in_two_processes_one_counts",),
    ),
    Break(
        "any attempt is started",
        "a hint that is late starts the attempt after its own, which has a hint too",
        (
            Edit(
                STATEMENTS,
                "(j.status, j.attempt, j.type) is not distinct from (a.status, a.attempt, a.type)",
                "(j.status, j.type) is not distinct from (a.status, a.type)",
            ),
        ),
        ("tests/store/test_decided_again.py::test_a_start_does_to_a_job_what_the_rules_say",),
    ),
    Break(
        "what runs is started",
        "two workers with one hint run it both",
        (
            Edit(
                STATEMENTS,
                "(j.status, j.attempt, j.type) is not distinct from (a.status, a.attempt, a.type)",
                "(j.attempt, j.type) is not distinct from (a.attempt, a.type)",
            ),
        ),
        ("tests/store/test_decided_again.py::test_a_start_does_to_a_job_what_the_rules_say",),
    ),
    Break(
        "the view moves where no event is written",
        "view and log differ from the first refused event on",
        (
            Edit(
                STATEMENTS,
                "where e.job_id in (select id from moved)",
                "where e.job_id in (select id from moved) and e.type <> 'progress'",
            ),
        ),
        ("tests/store/test_append.py::test_every_append_answers_with_what_view_and_log_show",),
    ),
    Break(
        "rows are moved in no order",
        "two batches that hold the same jobs wait for each other in a ring",
        (Edit(STATEMENTS, "unnest($1::job_move_row[]) order by id", "unnest($1::job_move_row[])"),),
        ("tests/store/test_races.py::test_batches_in_crossing_order_that_meet_a_locked_job_do_not_deadlock",),
    ),
    Break(
        "attempts are started in no order",
        "two workers that have claimed the same jobs wait for each other in a ring",
        (Edit(STATEMENTS, "    order by a.id\n), moved", "), moved"),),
        ("tests/store/test_races.py::test_starts_in_crossing_order_that_meet_a_locked_job_do_not_deadlock",),
    ),
    Break(
        "new jobs and moves in one batch",
        "a batch is sent as what its first write is: the others are lost, or end in an error",
        (Edit(COMMIT, "setdefault(write.kind, deque())", "setdefault(None, deque())"),),
        ("tests/mutants/test_caught.py::test_a_batch_holds_writes_of_one_kind",),
    ),
    Break(
        "a few writes wait for those of their kind however long these take",
        "while somebody holds one job's row, nobody else's job is canceled for five seconds",
        (Edit(COMMIT, " and few and asyncio.get_running_loop().time() < until", " and few"),),
        ("tests/mutants/test_caught.py::test_nobody_waits_longer_than_a_moment_for_writes_of_his_kind_that_take_long",),
    ),
    Break(
        "nobody looks again after a moment",
        "while somebody holds one job's row, another job's cancel waits until anything else is written",
        (Edit(COMMIT, "call_at(self._under_way[kind], ", "call_later(1e6, "),),
        ("tests/mutants/test_caught.py::test_nobody_waits_longer_than_a_moment_for_writes_of_his_kind_that_take_long",),
    ),
    Break(
        "the backlog of one kind goes before all others",
        "while more jobs are queued than can be written, no attempt starts, ends or is canceled",
        (
            Edit(
                COMMIT,
                "            self._waiting[kind] = waiting\n",
                "            self._waiting = {kind: waiting, **self._waiting}\n",
            ),
        ),
        ("tests/mutants/test_caught.py::test_no_kind_waits_for_the_backlog_of_another",),
    ),
    Break(
        "answered before the commit",
        "a request is told 2xx for a job that a killed database has never seen",
        (
            Edit(
                WRITER,
                "        done = {row[",
                "        for write in writes:\n            if not write.reply.done():\n"
                "                write.reply.set_result(write.after)\n        done = {row[",
            ),
        ),
        ("tests/mutants/test_caught.py::test_a_job_is_answered_only_when_it_is_durable",),
    ),
    Break(
        "a bad write takes its batch along",
        "one job that a constraint refuses makes hundreds of requests fail",
        (
            Edit(
                COMMIT,
                "        return [write for write in batch if not await self._send_alone(connection, write, again)]",
                "            _refuse(batch, error)\n        return []",
            ),
        ),
        ("tests/store/test_group_commit.py::test_one_bad_write_among_many_hurts_only_itself",),
    ),
    Break(
        "a row that somebody holds is given up",
        "a finished job is run again, or fails, because its row was held for long, perhaps by the first try of the same write",
        (
            Edit(COMMIT, "            if isinstance(error, TRANSIENT):\n                return False\n", ""),
            Edit(COMMIT, "if isinstance(error, LockNotAvailable)", "if False"),
        ),
        ("tests/store/test_locked_rows.py::test_a_write_whose_first_try_still_holds_the_row_is_not_given_up",),
    ),
    Break(
        "a full disk refuses what is written",
        "a finished job is run again, or fails, because the disk was full for a moment when its end was to be recorded",
        (Edit("events/database.py", "    asyncpg.InsufficientResourcesError,", "    # asyncpg.InsufficientResourcesError,"),),
        ("tests/store/test_locked_rows.py::test_a_write_to_a_full_disk_is_written_when_there_is_space_again",),
    ),
    Break(
        "the local clock is believed",
        "a machine whose clock is wrong writes times that never were",
        (Edit(CLOCK, "return self._theirs + timedelta(seconds=elapsed() - self._measured)", "return datetime.now(UTC)"),),
        ("tests/store/test_time.py::test_events_bear_the_time_of_the_database_although_the_local_clock_is_wrong",),
    ),
    Break(
        "time runs backwards within a job",
        "the job as it was at a time cannot be said any more",
        (Edit(WRITER, "at = now if job is None else max(now, job.updated_at)", "at = now"),),
        (
            "tests/store/test_time.py::test_an_event_is_never_earlier_than_the_one_before_although_the_clock_of_the_database_was_set_back",
        ),
    ),
    Break(
        "a retry in two transactions",
        "somebody sees a failure that is being retried as the end; a crash between the two leaves it so for ever",
        (
            Edit(
                STORE,
                "            if not write.events:\n                return job\n",
                "            if len(events := write.events) > 1:\n"
                "                job = await self.append(job, lambda job: events[:1], actor=actor, request_id=request_id)\n"
                "                return await self.append(job, lambda job: events[1:], actor=actor, request_id=request_id)\n"
                "            if not write.events:\n                return job\n",
            ),
        ),
        ("tests/store/test_append.py::test_a_failure_and_its_retry_are_of_one_transaction",),
    ),
    Break(
        "an idempotency key bound after its job",
        "a request that is repeated at the same moment makes a second job",
        (
            Edit(STATEMENTS, "    where a.idempotency_key is not null and", "    where false and"),
            Edit(
                STORE,
                "            if created is not None:\n",
                "            if created is not None and new.idempotency is not None and new.user_id is not None:\n"
                "                await self.bind_key(new.user_id, new.idempotency, created.id)\n"
                "            if created is not None:\n",
            ),
        ),
        ("tests/store/test_idempotency.py::test_many_keys_at_once_in_two_processes_are_one_job_each",),
    ),
    Break(
        "a retry forgets its key",
        "a retry whose answer was lost, sent again with its key, is refused, or is a second retry where the job has failed again",
        (Edit(STORE, "request_id, job, decide(job), user_key=user_key)", "request_id, job, decide(job))"),),
        ("tests/api/test_jobs.py::test_a_retry_that_breaks_at_its_key_is_one_retry_when_it_is_sent_again",),
    ),
    Break(
        "nobody is woken for what waited for a row",
        "a cancel that came while another write waited for the same job's row is answered at the next write of anything, or never",
        (Edit(COMMIT, "if self._waiting:  # some of these", "if False:  # some of these"),),
        ("tests/store/test_locked_rows.py::test_a_write_that_waits_for_a_locked_row_is_written_when_it_is_free",),
    ),
    Break(
        "a lane that ends wakes no other",
        "a process that is asked to end waits five seconds for connections that have nothing to do",
        (Edit(COMMIT, "if ended or (batch and self._waiting):", "if batch and self._waiting:"),),
        ("tests/store/test_group_commit.py::test_a_store_with_nothing_to_write_stops_at_once",),
    ),
    # Unknown outcomes ---------------------------------------------------------------------------------------------------------
    Break(
        "what is sent again is decided again",
        "a client whose cancel was carried out, but whose answer was lost on its way from PostgreSQL, is told that it was refused",
        (Edit(WRITER, "if write.before is None and write.new is None]", "if write.decide is not None]"),),
        ("tests/store/test_broken_connections.py::test_an_append_whose_connection_breaks_is_written_once_and_answered",),
    ),
    Break(
        "one's own event is not recognised",
        "a worker whose answer was lost is told that somebody else has completed its job",
        (Edit(WRITER, "if again and len(done) < len(writes):", "if False:"),),
        ("tests/store/test_broken_connections.py::test_an_append_whose_connection_breaks_is_written_once_and_answered",),
    ),
    Break(
        "one's own start is not recognised",
        "a worker whose answer was lost leaves the job that it has started to the rescue",
        (Edit(WRITER, "if again and len(rows) < len(starts):", "if False:"),),
        ("tests/store/test_broken_connections.py::test_a_start_whose_connection_breaks_is_written_once_and_answered",),
    ),
    Break(
        "a start that is being committed is passed over when its type is paused meanwhile",
        "the worker has the job by the log and not in hand: it is rescued, and ended for good where it costs money",
        (Edit(WRITER, "            await connection.fetch(UNTIL_FREE, ids)\n", ""),),
        ("tests/store/test_broken_connections.py::test_a_start_that_the_lost_backend_still_commits_is_not_written_again",),
    ),
    Break(
        "somebody else's start taken for one's own",
        "of a job that was delivered twice both are run, as soon as a connection breaks",
        (Edit(STATEMENTS, " and e.type = 'started' and e.salt = a.salt", " and e.type = 'started'"),),
        ("tests/store/test_broken_connections.py::test_a_start_that_is_sent_again_does_not_take_another_s_for_its_own",),
    ),
    Break(
        "a start that was canceled meanwhile is answered as one that goes on",
        "the handler is entered though the job has ended",
        (Edit(STATEMENTS, "on j.id = e.job_id and j.status = 'processing' and j.attempt", "on j.id = e.job_id and j.attempt"),),
        ("tests/store/test_broken_connections.py::test_a_start_that_is_sent_again_when_the_job_was_canceled_is_refused",),
    ),
    Break(
        "'not there' taken for 'not written'",
        "the old backend commits after we have looked, and the decision is made and written a second time",
        (Edit(WRITER, "        done = {row[", "        done: set[str] = set() if again else {row["),),
        ("tests/store/test_locked_rows.py::test_a_write_that_the_lost_backend_still_commits_is_not_written_again",),
    ),
    Break(
        "a broken connection is an error to the caller",
        "a worker gives up a result that may be in the log, or may never come there",
        (
            Edit(
                COMMIT,
                "                if self._stopping:\n                    _refuse(batch, error)",
                "                _refuse(batch, error)",
            ),
        ),
        ("tests/store/test_broken_connections.py::test_a_new_job_whose_connection_breaks_is_made_once_and_answered",),
    ),
    # The fence ----------------------------------------------------------------------------------------------------------------
    Break(
        "no attempt check in the fence",
        "a late worker completes a job that another attempt has taken over",
        (
            Edit(
                JOB,
                "job.status is not Status.PROCESSING or job.attempt != attempt or job.worker != worker",
                "job.status is not Status.PROCESSING or job.worker != worker",
            ),
        ),
        ("tests/rules/test_fence.py::test_a_worker_may_not_speak_for_its_own_earlier_attempt",),
    ),
    Break(
        "no worker check in the fence",
        "a worker speaks for an attempt that another has started",
        (
            Edit(
                JOB,
                "job.status is not Status.PROCESSING or job.attempt != attempt or job.worker != worker",
                "job.status is not Status.PROCESSING or job.attempt != attempt",
            ),
        ),
        (
            "tests/rules/test_fence.py::test_a_worker_may_not_speak_for_another_in_the_same_attempt",
            "tests/race/test_race.py::test_view_and_log_agree_in_every_snapshot_while_writers_race_and_their_connections_break",
        ),
    ),
    Break(
        "start takes any attempt",
        "an old hint starts a later attempt, before its backoff is over",
        (Edit(JOB, "if job.status is not Status.QUEUED or job.attempt != attempt:", "if job.status is not Status.QUEUED:"),),
        ("tests/rules/test_fence.py::test_only_the_attempt_that_is_queued_may_be_started",),
    ),
    Break(
        "no fence for effects",
        "a canceled or rescued attempt still stores its messages and drafts",
        (Edit(CONTEXT, "if await self.database.fetch_val(STILL_MINE, values) is None:", "if False:"),),
        (
            "tests/workers/attempt/test_effects.py::test_effects_of_an_attempt_that_is_over_are_rolled_back_and_its_reports_refused",
        ),
    ),
    Break(
        "effects are not fenced by attempt",
        "after a cancel and a retry, the old attempt's effects are stored beside the new one's",
        (Edit(CONTEXT, "and attempt = :attempt and worker", "and (attempt = :attempt or true) and worker"),),
        (
            "tests/workers/attempt/test_effects.py::test_effects_of_an_attempt_that_is_over_are_rolled_back_and_its_reports_refused",
        ),
    ),
    # Liveness -----------------------------------------------------------------------------------------------------------------
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
    # Delivery -----------------------------------------------------------------------------------------------------------------
    Break(
        "pushed before the commit",
        "a worker is told of a job that is not there yet, forgets the hint, and the job waits for the tick",
        (
            Edit(
                STORE,
                "                created = await self._write(creation(new, actor, request_id))\n",
                "                write = creation(new, actor, request_id)\n"
                "                _stamp(write, datetime.now(UTC), new_salts(1))\n"
                "                asyncio.get_running_loop().create_task(self._write(write))\n"
                "                created = write.after\n",
            ),
        ),
        ("tests/mutants/test_caught.py::test_a_hint_is_pushed_only_when_its_job_is_durable",),
    ),
    Break(
        "the handler runs before 'started' is durable",
        "an attempt that is refused, or given to another worker, has had its effects already",
        (
            Edit(
                WRITER,
                "            done = await self._start_jobs(connection, starts, again)\n",
                "            for job in map(job_from, await connection.fetch(JOBS, [each.job_id for each in starts])):\n"
                "                next(each for each in starts if each.job_id == job.id).reply.set_result(job)\n"
                "            done = await self._start_jobs(connection, starts, again)\n",
            ),
        ),
        ("tests/workers/attempt/test_outcomes.py::test_nothing_runs_before_its_started_is_durable",),
    ),
    Break(
        "settled before 'started' is durable",
        "a worker that dies in between has taken the hint along: the job waits for the next delivery",
        (
            Edit(
                RUNNER,
                "        attempt = self._starting[claim.id] = self.attempt_of(claim)\n",
                "        attempt = self._starting[claim.id] = self.attempt_of(claim)\n        started()\n",
            ),
        ),
        ("tests/workers/delivery/test_redis_keys.py::test_an_entry_stays_in_redis_until_started_is_durable",),
    ),
    Break(
        "never delivered again",
        "what was in Redis when it was emptied waits for ever",
        (Edit(DELIVER, "id in waiting and now - at < DELIVER_AGAIN}", "id in waiting}"),),
        ("tests/workers/delivery/test_redis_keys.py::test_an_empty_redis_gets_its_entries_back_from_the_tick",),
    ),
    Break(
        "a claim that lasts an hour",
        "what a worker had claimed when it died is hidden for an hour, as with arq's own in-progress key",
        (Edit(WIRE, "CLAIM_LASTS = 10_000 ", "CLAIM_LASTS = 3_600_000 "),),
        ("tests/workers/delivery/test_redis_keys.py::test_an_entry_stays_in_redis_until_started_is_durable",),
    ),
    Break(
        "a claim excludes nobody",
        "every worker takes the same hints, and all but one of them in vain",
        (Edit(WIRE, "'1', 'nx', 'px'", "'1', 'px'"),),
        ("tests/workers/delivery/test_redis_keys.py::test_what_was_claimed_is_claimed_again_only_when_the_claim_has_lapsed",),
    ),
    Break(
        "a second delivery is run a second time",
        "the second delivery stops the first: the handler is never entered, and the attempt is spent",
        (Edit(RUNNER, "if self.slots.holds(claim.id):", "if False:"),),
        (
            "tests/mutants/test_caught.py::test_a_hint_that_comes_again_while_its_attempt_is_being_started_is_settled_and_disturbs_nothing",
        ),
    ),
    Break(
        "a late hint of an attempt that still stops takes a slot of its own",
        "the slot is released twice, and the second release ends the record of the attempt in a KeyError",
        (
            Edit(
                RUNNER,
                "if self.slots.holds(claim.id):",
                "if (held := self.in_hand.get(claim.id.job_id)) is not None and held.id == claim.id:",
            ),
        ),
        (
            "tests/workers/attempt/test_slots.py::test_a_late_hint_of_an_attempt_whose_handler_is_still_stopping_releases_no_slot",
        ),
    ),
    Break(
        "a stuck handler ends its attempt a second time",
        "its slot is released twice, and its result is sent again when it ends at last",
        (
            Edit(
                ATTEMPT,
                "            return False\n        if self._phase is Phase.HANDLING and",
                "            pass\n        if self._phase is Phase.HANDLING and",
            ),
        ),
        (
            "tests/workers/attempt/test_end_of_attempt.py::test_an_attempt_that_is_stopped_ends_once_whether_or_not_its_handler_listens",
        ),
    ),
    Break(
        "an attempt that was lost before it began is left to the rescue",
        "a job of which nothing has run spends an attempt, and fails where it costs money",
        (Edit(ATTEMPT, "            self._interruption = Interruption.STOPPING\n", "            pass\n"),),
        (
            "tests/workers/attempt/test_end_of_attempt.py::test_an_attempt_that_is_stopped_before_it_begins_is_handed_back_and_its_handler_never_called",
        ),
    ),
    Break(
        "an attempt whose end cannot be written keeps its slot",
        "each outage of the log costs the worker a slot, until it takes no more jobs",
        (Edit(ATTEMPT, "        finally:\n            if self._asking", "        else:\n            if self._asking"),),
        (
            "tests/workers/attempt/test_end_of_attempt.py::test_an_attempt_whose_end_cannot_be_written_ends_once_and_frees_its_slot",
        ),
    ),
    Break(
        "a start that fails keeps its slot",
        "each hint of a job that was canceled while queued costs the worker a slot",
        (
            Edit(
                RUNNER,
                "            attempt.begin(job)\n            return\n        self.slots.release(attempt.id)",
                "            attempt.begin(job)\n            return",
            ),
        ),
        ("tests/workers/attempt/test_slots.py::test_a_start_that_fails_frees_its_slot_and_settles_its_hint_once",),
    ),
    Break(
        "a paused type is started",
        "what an operator has stopped goes on, as far as it is on the wire already",
        (
            Edit(
                STATEMENTS,
                "from pauses p where p.until is null",
                "from pauses p where false",
            ),
        ),
        ("tests/api/test_operations.py::test_nothing_of_a_paused_type_is_started_until_it_is_resumed",),
    ),
    Break(
        "ends that wait to be written are not counted",
        "while PostgreSQL hangs a worker takes more and more, and is killed for its memory with all of it",
        (Edit(SLOTS, ", 2 * self.size - taken)", ", self.size)"),),
        ("tests/workers/attempt/test_slots.py::test_while_the_end_of_one_is_being_written_the_next_runs_and_no_third",),
    ),
    Break(
        "a slot is held while the end is being written",
        "a worker of one slot waits for the disk after each job",
        (Edit(SLOTS, "        return min(self.size - taken + len(self._recording),", "        return min(self.size - taken,"),),
        ("tests/workers/attempt/test_slots.py::test_while_the_end_of_one_is_being_written_the_next_runs_and_no_third",),
    ),
    Break(
        "what is only being written counts as running",
        "a type waits behind the next job of another while the end of its last one is on its way to the disk",
        (Edit(SLOTS, " if attempt_id not in self._recording}", "}"),),
        ("tests/workers/delivery/test_pick_up.py::test_a_type_whose_last_attempt_is_still_being_written_keeps_its_turn",),
    ),
    Break(
        "a backlog is delivered once",
        "what was late behind the place where delivery stands waits until the backlog is gone",
        (Edit(DELIVER, "time.monotonic() - self._backlogs[job_type].since >= DELIVER_AGAIN", "False"),),
        (
            "tests/workers/delivery/test_pick_up.py::test_what_comes_to_be_due_behind_a_backlog_s_place_is_found_when_all_is_delivered_again",
        ),
    ),
    Break(
        "no slot is kept for another type",
        "the long jobs of one type hold every slot, and all others wait until one of them ends",
        (Edit(WORKER, "self.runner.free, self.runner.slots.size // 4,", "self.runner.free, 0,"),),
        ("tests/workers/delivery/test_pick_up.py::test_long_jobs_of_one_type_leave_a_slot_to_another",),
    ),
    # Stopping, canceling, deadlines -------------------------------------------------------------------------------------------
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
    # The order of the log, the budget -----------------------------------------------------------------------------------------
    Break(
        "sealing past a running transaction",
        "an event that commits late gets a position that every reader has passed already",
        (Edit(SEAL, " and e.xid < pg_snapshot_xmin(pg_current_snapshot())", ""),),
        ("tests/projections/test_seal.py::test_an_event_that_commits_late_is_never_skipped",),
    ),
    Break(
        "a permit counts for the window alone",
        "permits that are used at the last moment come too many to Chatwork within five minutes",
        (Edit("workers/chatwork/rate_limit.py", "timedelta(seconds=window + lapse + slack)", "timedelta(seconds=window)"),),
        ("tests/workers/chatwork/test_rate_limit.py::test_permits_that_are_used_at_the_last_moment_do_not_exceed_it_either",),
    ),
    Break(
        "a permit is good while its connection is made",
        "requests whose connections were slow come to Chatwork together with those of the next window",
        (Edit("workers/chatwork/client.py", '.started") and permit.has_lapsed:', '.started") and False:'),),
        ("tests/workers/chatwork/test_client.py::test_a_permit_that_lapsed_while_the_connection_was_made_is_not_used",),
    ),
    # What Chatwork answers ---------------------------------------------------------------------------------------------------
    Break(
        "what cannot be read is left out in silence",
        "a message is lost, and the next good sync leaves no trace of it",
        (Edit("workers/chatwork/messages.py", "    await store_unreadable(database, {room_id: answer.unreadable})\n", ""),),
        ("tests/workers/chatwork/test_odd_messages.py::test_the_error_outlives_good_syncs_and_goes_when_a_person_has_seen_it",),
    ),
    Break(
        "a full answer is taken for all that there is",
        "of 170 new messages 70 are missing, and nothing says so",
        (
            Edit(
                "workers/chatwork/gaps.py", "nothing_to_tell = not answer.is_full or stored.overlaps", "nothing_to_tell = True"
            ),
        ),
        ("tests/workers/chatwork/test_gaps.py::test_170_messages_since_the_last_sync_leave_a_gap",),
    ),
    Break(
        "a draft knows only the gaps of the moment it was made in",
        "an older draft is answered again as if it were complete",
        (Edit("workers/summaries/drafts.py", "with_gap_note(self.content, self.incomplete_rooms)", "self.content"),),
        ("tests/workers/summaries/test_incomplete_drafts.py::test_a_draft_made_before_its_gap_was_found_says_so_from_then_on",),
    ),
)
