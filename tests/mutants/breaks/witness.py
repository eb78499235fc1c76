"""Breaks of copies outside and of witnesses."""

from tests.mutants.breaks.edit import Break, Edit

WITNESS = "service/checkpoints/witness.py"
STATE = "service/checkpoints/witness_state.py"
COSIGNATURE = "projections/proof/cosignature.py"
NOTES = "projections/proof/notes.py"
STORE = "service/checkpoints/copies_in_store.py"

DECIDES = "tests/checkpoints/test_witness.py::test_"

BREAKS = (
    Break(
        "a witness cosigns without a proof",
        "a log with two histories gets both cosigned",
        (Edit(WITNESS, "        if not is_consistent(", "        if False and not is_consistent("),),
        (f"{DECIDES}a_fork_is_refused_whatever_proof_it_brings",),
    ),
    Break(
        "a witness keeps its memory only in the process",
        "after a restart, it cosigns another history",
        (Edit(STATE, "        _write_durably(self._folder / origin_hash(seen.origin), seen.note)\n", ""),),
        (f"{DECIDES}a_restarted_witness_remembers",),
    ),
    Break(
        "a witness does not compare the old size",
        "two requests at once get two histories cosigned",
        (Edit(WITNESS, "        if request.old_size != old_size:", "        if False:"),),
        (f"{DECIDES}a_wrong_old_size_is_answered_with_the_right_one",),
    ),
    Break(
        "a witness starts without its memory",
        "a disk that is not mounted makes it forget what it has cosigned",
        (Edit(STATE, "os.open(folder / OWNER, os.O_RDONLY | os.O_CLOEXEC)", "os.open(folder, os.O_RDONLY | os.O_CLOEXEC)"),),
        (f"{DECIDES}a_state_that_is_missing_or_anothers_is_refused",),
    ),
    Break(
        "a cosignature counts without a check of its signature",
        "a log invents the cosignatures that its readers demand",
        (Edit(COSIGNATURE, "    if not 0 < at <= LATEST or not", "    if not 0 < at <= LATEST or False and not"),),
        ("tests/proof/test_cosignature.py::test_a_cosignature_with_a_changed_byte_is_refused",),
    ),
    Break(
        "a torn copy is taken for a copy",
        "after a crash, the newest copy has a wrong signature, and nothing is signed any more",
        (Edit(NOTES, 'not note.startswith(held.removesuffix(b"\\n"))', "held"),),
        ("tests/proof/test_notes.py::test_notes_are_read_whatever_write_was_cut_off",),
    ),
    Break(
        "a copy replaces another one of its size",
        "a forked log removes the copy that would show it",
        (Edit(STORE, "    if found is not None and found != body:", "    if False:"),),
        ("tests/checkpoints/test_copies_http.py::test_another_note_of_the_same_size_is_never_replaced",),
    ),
)
