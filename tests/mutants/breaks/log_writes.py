"""Breaks of writes to the log, and of writes whose outcome is unknown."""

from tests.mutants.breaks.edit import CLOCK, COMMIT, STATEMENTS, STORE, WRITER, Break, Edit

BREAKS = (
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
)
