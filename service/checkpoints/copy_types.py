"""The interface of copies of checkpoints, and their errors."""

from typing import Protocol

from projections.proof.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint
from projections.proof.signed_note import BadNote, read_note


class CopyFailed(Exception):
    """A copy was not written, or copies could not be read. A later try may succeed.

    The message is one sentence, without passwords.
    """


class CopyDiffers(CopyFailed):
    """A copy of the same size has another checkpoint already, so the log has two histories.

    `found` is the note of that copy.
    """

    def __init__(self, size: int, found: str) -> None:
        super().__init__(f"There is another checkpoint of size {size} among the copies already.")
        self.found = found


class CopyUntrusted(CopyFailed):
    """A copy of this log is signed by no trusted key: somebody has forged it, or a key of the log is not known here."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The checkpoint of size {size} among the copies is signed by no key that this process trusts: list the earlier key of"
            " the log in AUDIT_VERIFIER_KEYS, or remove the forged copy."
        )


class CheckpointCopies(Protocol):
    """The copies at one place. All calls end within two minutes, most of them within seconds."""

    async def add(self, origin: str, size: int, note: str) -> None:
        """Writes a copy durably. Writing the same note again changes nothing that a reader sees.

        Copies are added in the order of their sizes. After a failure it is unknown whether the note was written: add it again.

        Raises `CopyDiffers`, `CopyFailed`.
        """

    async def newest(self, origin: str) -> str | None:
        """Returns the note with the largest size of this log, or None if there is none.

        The note is a checkpoint of this origin. Its signatures are not verified. Raises `CopyFailed`.
        """

    async def close(self) -> None:
        """Closes files and connections."""


def checkpoint_in(note: bytes, origin: str) -> Checkpoint:
    """Returns the checkpoint of a copy. Its signatures are not verified.

    Raises `CopyFailed` if this is no checkpoint of this origin.
    """
    try:
        checkpoint = read_checkpoint(read_note(note).text)
    except (BadNote, BadCheckpoint) as error:
        raise CopyFailed(f"A copy is not a checkpoint: {error}") from None
    if checkpoint.origin != origin:
        raise CopyFailed("A copy is a checkpoint of another log.")
    return checkpoint
