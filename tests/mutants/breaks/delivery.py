"""Breaks of delivery and of slots."""

from tests.mutants.breaks.edit import ATTEMPT, DELIVER, RUNNER, SLOTS, STATEMENTS, STORE, WIRE, WORKER, WRITER, Break, Edit

BREAKS = (
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
)
