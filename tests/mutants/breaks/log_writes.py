"""Breaks of writes to the log, also of writes whose outcome is unknown."""

from tests.mutants.breaks.edit import CLOCK, COMMIT, CONTEXT, JOB, STATEMENTS, STORE, WRITER, Break, Edit

BREAKS = (
    Break(
        "a write does not check the job's seq",
        "a decision on an old state is written: late workers overwrite, and two workers start one attempt",
        (Edit(STATEMENTS, "where j.id = a.id and j.seq = a.expected_seq", "where j.id = a.id"),),
        ("tests/store/test_decided_again.py::test_one_of_many_starts_of_one_attempt_in_two_processes_succeeds",),
    ),
    Break(
        "START_JOBS does not check the attempt",
        "a late hint starts the next attempt, which has a hint of its own",
        (
            Edit(
                STATEMENTS,
                "(j.status, j.attempt, j.type) is not distinct from (a.status, a.attempt, a.type)",
                "(j.status, j.type) is not distinct from (a.status, a.type)",
            ),
        ),
        ("tests/store/test_decided_again.py::test_start_jobs_does_to_a_job_what_the_rules_say",),
    ),
    Break(
        "START_JOBS starts a job that is already processing",
        "two workers that got the same hint both run the attempt",
        (
            Edit(
                STATEMENTS,
                "(j.status, j.attempt, j.type) is not distinct from (a.status, a.attempt, a.type)",
                "(j.attempt, j.type) is not distinct from (a.attempt, a.type)",
            ),
        ),
        ("tests/store/test_decided_again.py::test_start_jobs_does_to_a_job_what_the_rules_say",),
    ),
    Break(
        "the view changes although no event is written",
        "view and log differ after the first refused event",
        (
            Edit(
                STATEMENTS,
                "where e.job_id in (select id from moved)",
                "where e.job_id in (select id from moved) and e.type <> 'progress'",
            ),
        ),
        ("tests/store/test_append.py::test_every_append_returns_the_job_as_view_and_log_have_it",),
    ),
    Break(
        "MOVE_JOBS locks rows in no fixed order",
        "two batches with the same jobs wait for each other: a deadlock",
        (Edit(STATEMENTS, "unnest($1::job_move_row[]) order by id", "unnest($1::job_move_row[])"),),
        ("tests/store/test_races.py::test_batches_with_jobs_in_opposite_orders_that_meet_a_locked_job_do_not_deadlock",),
    ),
    Break(
        "START_JOBS locks rows in no fixed order",
        "two workers that have claimed the same jobs wait for each other: a deadlock",
        (Edit(STATEMENTS, "    order by a.id\n), moved", "), moved"),),
        ("tests/store/test_races.py::test_starts_in_opposite_orders_that_meet_a_locked_job_do_not_deadlock",),
    ),
    Break(
        "a batch holds writes of several kinds",
        "a batch is sent as the kind of its first write: the other writes are lost, or end in an error",
        (Edit(COMMIT, "setdefault(write.kind, deque())", "setdefault(None, deque())"),),
        ("tests/mutants/test_caught.py::test_a_batch_holds_writes_of_one_kind",),
    ),
    Break(
        "a few writes wait without limit for a statement of their kind that is in flight",
        "while one job's row is locked, no other job can be canceled for five seconds",
        (Edit(COMMIT, " and few and asyncio.get_running_loop().time() < until", " and few"),),
        ("tests/mutants/test_caught.py::test_a_few_writes_wait_at_most_20_ms_for_a_slow_statement_of_their_kind",),
    ),
    Break(
        "writes that wait for a statement of their kind are not looked at again after 20 ms",
        "while one job's row is locked, a cancel of another job waits until some other write arrives",
        (Edit(COMMIT, "call_at(self._under_way[kind], ", "call_later(1e6, "),),
        ("tests/mutants/test_caught.py::test_a_few_writes_wait_at_most_20_ms_for_a_slow_statement_of_their_kind",),
    ),
    Break(
        "a backlog of one kind of write goes before all other kinds",
        "while jobs are queued faster than they can be written, no attempt starts, ends or is canceled",
        (
            Edit(
                COMMIT,
                "            self._waiting[kind] = waiting\n",
                "            self._waiting = {kind: waiting, **self._waiting}\n",
            ),
        ),
        ("tests/mutants/test_caught.py::test_no_kind_of_write_waits_for_the_backlog_of_another_kind",),
    ),
    Break(
        "a write is answered before its commit",
        "a request is answered 2xx, and the job is missing after PostgreSQL was killed",
        (
            Edit(
                WRITER,
                "        done = {row[",
                "        for write in writes:\n            if not write.reply.done():\n"
                "                write.reply.set_result(write.after)\n        done = {row[",
            ),
        ),
        ("tests/mutants/test_caught.py::test_a_new_job_is_returned_only_after_it_is_committed",),
    ),
    Break(
        "one bad write fails its whole batch",
        "hundreds of requests fail because a constraint refuses one job",
        (
            Edit(
                COMMIT,
                "        return [write for write in batch if not await self._send_alone(connection, write, again)]",
                "            _refuse(batch, error)\n        return []",
            ),
        ),
        ("tests/store/test_group_commit.py::test_one_bad_write_among_many_fails_alone",),
    ),
    Break(
        "a write to a locked row is given up",
        "a finished job is run again, or fails, because the row was locked while its last event was written",
        (
            Edit(COMMIT, "            if isinstance(error, TRANSIENT):\n                return False\n", ""),
            Edit(COMMIT, "if isinstance(error, LockNotAvailable)", "if False"),
        ),
        ("tests/store/test_locked_rows.py::test_a_write_is_not_given_up_while_its_first_try_still_locks_the_row",),
    ),
    Break(
        "a write to a full disk is refused",
        "a finished job is run again, or fails, because the disk was full while its last event was written",
        (Edit("events/database.py", "    asyncpg.InsufficientResourcesError,", "    # asyncpg.InsufficientResourcesError,"),),
        ("tests/store/test_locked_rows.py::test_a_write_to_a_full_disk_is_written_when_there_is_space_again",),
    ),
    Break(
        "events get the time of the local clock",
        "a machine whose clock is wrong writes wrong times into the log",
        (Edit(CLOCK, "return self._theirs + timedelta(seconds=elapsed() - self._measured)", "return datetime.now(UTC)"),),
        ("tests/store/test_time.py::test_events_have_the_time_of_the_database_although_the_local_clock_is_wrong",),
    ),
    Break(
        "an event may be earlier than the one before it",
        "the state of a job at a past time is ambiguous",
        (Edit(WRITER, "at = now if job is None else max(now, job.updated_at)", "at = now"),),
        (
            "tests/store/test_time.py::test_an_event_is_never_earlier_than_the_one_before_although_the_clock_of_the_database_was_set_back",
        ),
    ),
    Break(
        "a failure and its retry are written in two transactions",
        "readers take a failure that is being retried for the end; a crash between the two makes it the end",
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
        ("tests/store/test_append.py::test_a_failure_and_its_retry_are_written_in_one_transaction",),
    ),
    Break(
        "an idempotency key is stored after its job",
        "a request that is sent twice at once makes two jobs",
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
        ("tests/store/test_idempotency.py::test_many_keys_at_once_in_two_processes_make_one_job_each",),
    ),
    Break(
        "a retry does not store its idempotency key",
        "a client that repeats a retry with its key, because the answer was lost, is refused or retries twice",
        (Edit(STORE, "request_id, job, decide(job), user_key=user_key)", "request_id, job, decide(job))"),),
        ("tests/api/test_jobs.py::test_a_retry_whose_connection_breaks_is_one_retry_when_it_is_sent_again",),
    ),
    Break(
        "a batch is not woken when a job in flight on the other lane is free again",
        "a cancel that waited for another write of the same job is answered at the next write of any job, or never",
        (Edit(COMMIT, "if self._waiting:  # some of these", "if False:  # some of these"),),
        ("tests/store/test_locked_rows.py::test_a_write_that_waits_for_a_locked_row_is_written_when_it_is_free",),
    ),
    Break(
        "a lane that ends does not wake the others",
        "a process that is stopping waits five seconds for idle connections",
        (Edit(COMMIT, "if ended or (batch and self._waiting):", "if batch and self._waiting:"),),
        ("tests/store/test_group_commit.py::test_a_store_with_nothing_to_write_stops_at_once",),
    ),
    Break(
        "a write that is sent again is decided again",
        "a client's cancel was written, but PostgreSQL's answer was lost, and the client is told that it was refused",
        (Edit(WRITER, "if write.before is None and write.new is None]", "if write.decide is not None]"),),
        ("tests/store/test_broken_connections.py::test_an_append_whose_connection_breaks_is_written_once_and_answered",),
    ),
    Break(
        "a repeated write does not recognise its own event",
        "a worker that lost PostgreSQL's answer is told that another worker has completed its job",
        (Edit(WRITER, "if again and len(done) < len(writes):", "if False:"),),
        ("tests/store/test_broken_connections.py::test_an_append_whose_connection_breaks_is_written_once_and_answered",),
    ),
    Break(
        "a repeated start does not recognise its own event",
        "a worker that lost PostgreSQL's answer leaves the job that it has started to the rescue",
        (Edit(WRITER, "if again and len(rows) < len(starts):", "if False:"),),
        ("tests/store/test_broken_connections.py::test_a_start_whose_connection_breaks_is_written_once_and_answered",),
    ),
    Break(
        "a start that is being committed is ignored if its type is paused meanwhile",
        "the log says that the worker runs the job, but the worker does not: the job is rescued, or failed if it costs money",
        (Edit(WRITER, "            await connection.fetch(UNTIL_FREE, ids)\n", ""),),
        ("tests/store/test_broken_connections.py::test_a_start_that_the_lost_backend_still_commits_is_not_written_again",),
    ),
    Break(
        "a repeated start takes another worker's start for its own",
        "a job that was delivered twice is run twice when a connection breaks",
        (Edit(STATEMENTS, " and e.type = 'started' and e.salt = a.salt", " and e.type = 'started'"),),
        ("tests/store/test_broken_connections.py::test_a_start_that_is_sent_again_does_not_take_another_start_for_its_own",),
    ),
    Break(
        "a repeated start is accepted although the job was canceled meanwhile",
        "the handler is called although the job has ended",
        (Edit(STATEMENTS, "on j.id = e.job_id and j.status = 'processing' and j.attempt", "on j.id = e.job_id and j.attempt"),),
        ("tests/store/test_broken_connections.py::test_a_start_that_is_sent_again_when_the_job_was_canceled_is_refused",),
    ),
    Break(
        "a write that is not visible is taken for one that never commits",
        "the old backend commits the write after the check, and the decision is made and written a second time",
        (Edit(WRITER, "        done = {row[", "        done: set[str] = set() if again else {row["),),
        ("tests/store/test_locked_rows.py::test_a_write_that_the_lost_backend_still_commits_is_not_written_again",),
    ),
    Break(
        "a broken connection raises an error in the caller",
        "a worker gives up a result without knowing whether it is in the log",
        (
            Edit(
                COMMIT,
                "                if self._stopping:\n                    _refuse(batch, error)",
                "                _refuse(batch, error)",
            ),
        ),
        ("tests/store/test_broken_connections.py::test_a_new_job_whose_connection_breaks_is_made_once_and_answered",),
    ),
    Break(
        "a rescue does not name the failure that it follows",
        "an auditor cannot tell why an attempt was queued again",
        (Edit(JOB, 'HAS_A_CAUSE = frozenset({"retry", "worker_lost",', 'HAS_A_CAUSE = frozenset({"retry",'),),
        ("tests/store/test_cause.py::test_a_rescue_names_the_failure_and_a_hand_back_has_no_cause",),
    ),
    Break(
        "the causes of a batch are not in the order of its events",
        "an event names a cause of another job",
        (
            Edit(
                WRITER,
                "for write in batch for event in write.recorded]",
                "for write in reversed(batch) for event in write.recorded]",
            ),
        ),
        ("tests/store/test_cause.py::test_each_event_of_a_batch_keeps_its_own_cause",),
    ),
    Break(
        "a job that a handler queues names the newest event of the handler's job before its start",
        "the cause names an event of an earlier attempt",
        (Edit(CONTEXT, "event_name(job.id, job.seq)", "event_name(job.id, job.seq - 1)"),),
        (
            "tests/workers/attempt/test_started_event.py"
            "::test_a_job_queued_by_a_handler_names_the_start_of_the_attempt_that_queued_it",
        ),
    ),
)
