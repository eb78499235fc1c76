"""Breaks of signed checkpoints: the proof before a signature, the copies outside, the key."""

from tests.mutants.breaks.edit import Break, Edit

CHECKPOINTS = "projections/checkpoints.py"
SIGNING = "service/checkpoints/signing.py"
CONFIG = "service/config.py"
CLI = "service/cli.py"
MIGRATION = "migrations/versions/0016_checkpoints.py"

SIGNS = "tests/checkpoints/test_signing.py::test_"
WORKER = "tests/checkpoints/test_processes.py::test_a_worker_holds_no_key_that_a_handler_could_find"
OUTSIDE = f"{SIGNS}a_copy_outside_that_the_log_does_not_extend_stops_the_signing"

BREAKS = (
    Break(
        "nothing is proved before a signature",
        "a restored database signs another history under the same name",
        (Edit(CHECKPOINTS, "        if old.origin != origin or (old.size, old.root) in proven:", "        if True:"),),
        (OUTSIDE,),
    ),
    Break(
        "a larger copy outside does not stop the signing",
        "a promoted replica that lags signs over the events that it lacks",
        (
            Edit(
                CHECKPOINTS,
                "        if old.size > size:\n            raise Inconsistent(each, size)",
                "        if old.size > size:\n            continue",
            ),
        ),
        (OUTSIDE,),
    ),
    Break(
        "the copies outside are not read",
        "only the table is asked, which was set back with the rest of the database",
        (Edit(SIGNING, "                self._remember(self._trusted_checkpoint(note), OUTSIDE)", "                pass"),),
        (OUTSIDE,),
    ),
    Break(
        "a copy counts without a check of its signature",
        "a forged copy that agrees with a rewritten log hides the real one",
        (Edit(SIGNING, "            verified_by(read, self._trusted)", "            pass"),),
        (f"{SIGNS}a_copy_by_a_strangers_key_that_agrees_hides_no_copy_that_does_not",),
    ),
    Break(
        "a signer forgets a checkpoint whose commit got no answer",
        "after a failover, a process signs another root for a size that it has signed",
        (Edit(SIGNING, "        self._remember(read_checkpoint(text))\n", ""),),
        (f"{SIGNS}what_a_lost_commit_has_signed_stops_a_log_that_does_not_extend_it",),
    ),
    Break(
        "a process signs before it has read the copies",
        "a restored database is signed while the copies are out of reach",
        (Edit(SIGNING, "            if self._read_at != place:", "            if False:"),),
        (f"{SIGNS}a_process_signs_nothing_before_it_has_read_the_copies_once",),
    ),
    Break(
        "the place of the log is not compared",
        "a database that was exchanged since the copies were read is signed",
        (Edit(CHECKPOINTS, "    if await place_of_log(connection) != place:", "    if False:"),),
        (f"{SIGNS}a_database_that_moves_while_the_copies_are_read_is_not_signed",),
    ),
    Break(
        "a key signs another log",
        "after `new-log`, the old key goes on signing",
        (Edit(CHECKPOINTS, "    if log.origin != named:", "    if False:"),),
        (f"{SIGNS}a_new_log_names_the_old_one_in_its_first_note_only",),
    ),
    Break(
        "each note names the old log",
        "a reader takes every checkpoint for the first one of its log",
        (Edit(CHECKPOINTS, "() if newest is not None else log.extensions", "log.extensions"),),
        (f"{SIGNS}a_new_log_names_the_old_one_in_its_first_note_only",),
    ),
    Break(
        "a copy counts before it is made",
        "a checkpoint whose copy failed is never copied again",
        (
            Edit(
                SIGNING,
                "        try:\n            await copies.add(signed.origin, signed.size, signed.note)",
                "        async with self._database.raw() as connection:\n"
                "            await checkpoints.add_copy_time(connection, signed.origin, signed.size)\n"
                "        try:\n            await copies.add(signed.origin, signed.size, signed.note)",
            ),
        ),
        (f"{SIGNS}another_checkpoint_of_the_same_size_outside_is_never_taken_for_the_copy",),
    ),
    Break(
        "another checkpoint outside is taken for the copy",
        "a fork that the copies show goes unnoticed",
        (Edit(SIGNING, "            if not self._is_same(error.found, signed):\n                raise", "            pass"),),
        (f"{SIGNS}another_checkpoint_of_the_same_size_outside_is_never_taken_for_the_copy",),
    ),
    Break(
        "two processes sign at once",
        "one of them signs a tree that the other has already passed",
        (Edit(CHECKPOINTS, "    elif not await connection.fetchval(TRY_LOCK, SIGNING):", "    elif False:"),),
        (f"{SIGNS}a_signer_waits_for_one_that_holds_the_turn",),
    ),
    Break(
        "a checkpoint may be smaller than the last one",
        "a process that slept signs an old size after a new one",
        (Edit(MIGRATION, "and c.size >= new.size", "and c.size > new.size + 1000000"),),
        ("tests/store/test_checkpoint_guard.py::test_what_was_signed_is_never_changed",),
    ),
    Break(
        "a worker reads the log's key",
        "the code of a job type signs whatever it likes",
        (Edit(CLI, '"audit_signing_key", "audit_signing_key_file", ', ""),),
        (WORKER,),
    ),
    Break(
        "the key stays in the memory of the process",
        "a handler reads it in /proc/self/environ",
        (Edit(CONFIG, "    if address:\n        ctypes.memset", "    if False:\n        ctypes.memset"),),
        (WORKER,),
    ),
)
