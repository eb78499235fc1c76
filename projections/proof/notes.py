"""Notes one after another in a file, as copies of checkpoints are kept.

An empty line separates two notes. Their texts hold no empty lines, as in every checkpoint.

The file is only appended to. So if a crash cuts off a write, the piece stays in the file, and the whole note follows it. Such a
piece is skipped, at the end of the file too.
"""

from collections.abc import Iterable, Iterator

from projections.proof.signed_note import DASH, BadNote, read_note

LONGEST_KEPT = 65_536  # bytes of a note in such a file
EMPTY_LINE = b"\n\n"
SIGNED_BY = DASH.encode()


def notes_in(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the whole notes of a file in their order, each as it was signed.

    `blocks` are the bytes of the file in pieces of any length. Nothing is verified. A note that is in the file twice in a row
    is yielded once.
    """
    held: bytes | None = None
    for note in _whole(blocks):
        # A note that was cut off within its last signature may look whole. So the next note may be the same one.
        if held is not None and not note.startswith(held.removesuffix(b"\n")):
            yield held
        held = note
    if held is not None:
        yield held


def separated(note: bytes, *, after: bytes) -> bytes:
    """Returns the bytes to append for a note.

    `after` are the last bytes of the file, if it has any.

    If a write was cut off, `after` ends within a line.
    """
    if not after:
        return note
    return (b"\n" if after.endswith(b"\n") else EMPTY_LINE) + note


def _whole(blocks: Iterable[bytes]) -> Iterator[bytes]:
    text: bytes | None = None
    for piece, is_ended in _pieces(blocks):
        signed = piece.startswith(SIGNED_BY)
        if signed and text is not None and is_ended:
            note = text + EMPTY_LINE + piece + b"\n"
            if _is_note(note):
                yield note
        text = None if signed else piece


def _pieces(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yields what stands between empty lines, and whether a line break follows it."""
    held = b""
    for block in blocks:
        # After a power cut, a file system may show zeros for what it had not written yet.
        *pieces, held = (held + block.replace(b"\0", EMPTY_LINE)).split(EMPTY_LINE)
        yield from ((piece.strip(b"\n"), True) for piece in pieces)
        if len(held) > LONGEST_KEPT:
            # The piece is too long for a note. No note has this byte, so the rest of the piece cannot look like a note.
            held = b"\x01" + held[-1:]
    yield held.strip(b"\n"), held.endswith(b"\n")


def _is_note(data: bytes) -> bool:
    try:
        return len(data) <= LONGEST_KEPT and read_note(data).to_bytes() == data
    except BadNote:
        return False
