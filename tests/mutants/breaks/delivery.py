"""Breaks of the code that delivers hints and counts the slots of a worker."""

from tests.mutants.breaks.edit import ATTEMPT, DELIVER, RUNNER, SLOTS, STATEMENTS, STORE, WIRE, WORKER, WRITER, Break, Edit

BREAKS = (
    Break(
        "a hint is pushed before the job is committed",
        "a worker gets the hint of a job that does not exist yet and drops it; the job waits for the tick",
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
        ("tests/mutants/test_caught.py::test_a_hint_is_pushed_only_after_its_job_is_committed",),
    ),
    Break(
        "the handler runs before 'started' is durable",
        "the handler has stored effects of an attempt that is then refused, or was started by another worker",
        (
            Edit(
                WRITER,
                "            done = await self._start_jobs(connection, starts, again)\n",
                "            for job in map(job_from, await connection.fetch(JOBS, [each.job_id for each in starts])):\n"
                "                next(each for each in starts if each.job_id == job.id).reply.set_result(job)\n"
                "            done = await self._start_jobs(connection, starts, again)\n",
            ),
        ),
        ("tests/workers/attempt/test_outcomes.py::test_a_handler_is_called_only_after_started_is_committed",),
    ),
    Break(
        "a hint is deleted before 'started' is durable",
        "if the worker dies in between, the hint is gone and the job waits until the tick delivers it again",
        (
            Edit(
                RUNNER,
                "        attempt = self._starting[claim.id] = self.attempt_of(claim)\n",
                "        attempt = self._starting[claim.id] = self.attempt_of(claim)\n        started()\n",
            ),
        ),
        ("tests/workers/delivery/test_redis_keys.py::test_an_entry_stays_in_redis_until_started_is_committed",),
    ),
    Break(
        "due jobs are never delivered again",
        "jobs whose hints were in Redis when it was emptied wait for ever",
        (Edit(DELIVER, "id in waiting and now - at < DELIVER_AGAIN}", "id in waiting}"),),
        ("tests/workers/delivery/test_redis_keys.py::test_the_tick_writes_the_entries_again_after_redis_was_emptied",),
    ),
    Break(
        "a claim lasts an hour",
        "hints that a worker had claimed when it died are hidden for an hour, as by arq's in-progress key",
        (Edit(WIRE, "CLAIM_LASTS = 10_000 ", "CLAIM_LASTS = 3_600_000 "),),
        ("tests/workers/delivery/test_redis_keys.py::test_an_entry_stays_in_redis_until_started_is_committed",),
    ),
    Break(
        "a claim does not exclude other workers",
        "every worker claims the same hints, and only one of them can start the attempts",
        (Edit(WIRE, "'1', 'nx', 'px'", "'1', 'px'"),),
        ("tests/workers/delivery/test_redis_keys.py::test_a_claimed_hint_is_claimed_again_only_after_the_claim_has_lapsed",),
    ),
    Break(
        "an attempt that is delivered twice is run twice",
        "the second delivery stops the first one: the handler is never called, and the attempt is used up",
        (Edit(RUNNER, "if self.slots.holds(claim.id):", "if False:"),),
        (
            "tests/mutants/test_caught.py::test_a_hint_that_comes_twice_while_its_attempt_is_being_started_is_settled_and_starts_nothing",
        ),
    ),
    Break(
        "a late hint of an attempt that is still stopping takes a second slot",
        "the slot is released twice, and the second release raises a KeyError while the attempt's end is recorded",
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
        "a handler that ignores its stop ends its attempt a second time",
        "the attempt's slot is released twice, and its result is written again when the handler returns",
        (
            Edit(
                ATTEMPT,
                "            return False\n        if self._phase is Phase.HANDLING and",
                "            pass\n        if self._phase is Phase.HANDLING and",
            ),
        ),
        (
            "tests/workers/attempt/test_end_of_attempt.py::test_a_stopped_attempt_reports_its_end_once_whether_or_not_its_handler_stops",
        ),
    ),
    Break(
        "an attempt that was lost before its handler was called is left to the rescue",
        "a job that never ran uses up an attempt, and fails if its type costs money",
        (Edit(ATTEMPT, "            self._interruption = Interruption.STOPPING\n", "            pass\n"),),
        ("tests/workers/attempt/test_end_of_attempt.py::test_an_attempt_stopped_before_its_handler_is_called_is_handed_back",),
    ),
    Break(
        "an attempt whose end cannot be written keeps its slot",
        "each outage of PostgreSQL costs the worker a slot, until it takes no more jobs",
        (Edit(ATTEMPT, "        finally:\n            if self._asking", "        else:\n            if self._asking"),),
        (
            "tests/workers/attempt/test_end_of_attempt.py::test_an_attempt_whose_end_cannot_be_written_reports_its_end_once_and_frees_its_slot",
        ),
    ),
    Break(
        "a start that fails keeps its slot",
        "each hint of a job that was canceled before its start costs the worker a slot",
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
        "a job of a paused type is started",
        "jobs of a type that an operator has paused still start if their hints are already in Redis",
        (
            Edit(
                STATEMENTS,
                "from pauses p where p.until is null",
                "from pauses p where false",
            ),
        ),
        ("tests/api/test_operations.py::test_no_job_of_a_paused_type_is_started_until_it_is_resumed",),
    ),
    Break(
        "attempts whose end waits to be written are not counted",
        "while PostgreSQL hangs, a worker takes more and more jobs, until it is killed for using too much memory",
        (Edit(SLOTS, ", 2 * self.size - taken)", ", self.size)"),),
        ("tests/workers/attempt/test_slots.py::test_while_an_end_is_being_written_one_more_attempt_runs_but_not_two",),
    ),
    Break(
        "an attempt holds its slot while its end is being written",
        "a worker with one slot waits for PostgreSQL's disk after each job",
        (Edit(SLOTS, "        return min(self.size - taken + len(self._recording),", "        return min(self.size - taken,"),),
        ("tests/workers/attempt/test_slots.py::test_while_an_end_is_being_written_one_more_attempt_runs_but_not_two",),
    ),
    Break(
        "an attempt whose end is being written counts as running",
        "a job type loses its turn to another type while the end of its last job is being written",
        (Edit(SLOTS, " if attempt_id not in self._recording}", "}"),),
        (
            "tests/workers/delivery/test_pick_up.py::test_a_type_keeps_its_turn_while_the_end_of_its_last_attempt_is_being_written",
        ),
    ),
    Break(
        "a backlog is delivered only once",
        "a job that becomes due before the place that delivery has reached waits until the backlog is empty",
        (Edit(DELIVER, "time.monotonic() - self._backlogs[job_type].since >= DELIVER_AGAIN", "False"),),
        (
            "tests/workers/delivery/test_pick_up.py::test_a_job_that_becomes_due_before_the_reached_place_is_found_by_the_next_pass",
        ),
    ),
    Break(
        "no slot is kept free for other job types",
        "long jobs of one type hold every slot, and jobs of all other types wait until one ends",
        (Edit(WORKER, "self.runner.free, self.runner.slots.size // 4,", "self.runner.free, 0,"),),
        ("tests/workers/delivery/test_pick_up.py::test_long_jobs_of_one_type_leave_a_slot_to_another",),
    ),
)
