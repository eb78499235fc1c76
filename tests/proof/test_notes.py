"""Notes one after another in a file."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from projections.proof.notes import LONGEST_KEPT, notes_in, separated
from tests.checkpoints.logs import Log

NOTES = [Log().note(size).encode() for size in (0, 1, 5, 300)]


def written(notes: list[bytes], cut: dict[int, int]) -> bytes:
    """Returns a file with notes and cut-off writes.

    The write before note N stopped after `cut[N]` bytes of that note.
    """
    file = b""
    for number, note in enumerate(notes):
        if number in cut:
            file += separated(note, after=file)[: cut[number]]
        file += separated(note, after=file)
    return file


@given(
    st.lists(st.sampled_from(NOTES), max_size=6),
    st.dictionaries(st.integers(0, 5), st.integers(0, 150)),
    st.integers(1, 400),
)
def test_notes_are_read_whatever_write_was_cut_off(notes: list[bytes], cut: dict[int, int], block: int) -> None:
    file = written(notes, cut)

    read = list(notes_in(file[at : at + block] for at in range(0, len(file), block)))

    assert [note for note, _ in groupby(read)] == [note for note, _ in groupby(notes)]


@given(st.binary(max_size=300), st.integers(1, 50))
def test_what_is_no_note_is_skipped(junk: bytes, block: int) -> None:
    file = junk + separated(NOTES[2], after=junk)

    read = list(notes_in(file[at : at + block] for at in range(0, len(file), block)))

    assert read[-1:] == [NOTES[2]]


def test_a_piece_of_any_length_takes_little_memory_and_hides_nothing() -> None:
    blocks = [NOTES[1], b"\n", *[b"x" * 1_000] * (LONGEST_KEPT // 100), b"\n\n", NOTES[2]]

    assert list(notes_in(blocks)) == [NOTES[1], NOTES[2]]
