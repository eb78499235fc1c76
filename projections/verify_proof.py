"""Verifies the proof of one event offline, with nothing but the keys of the log."""

from collections.abc import Sequence
from dataclasses import dataclass

from projections.proof.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint
from projections.proof.entry import Entry
from projections.proof.log_proof import BadProof, Shown, read_log_proof, read_shown
from projections.proof.merkle import is_included, leaf_hash
from projections.proof.signed_note import BadNote, UntrustedNote, Verifier, read_note, verified_by


class FalseProof(ValueError):
    """The proof is readable and false. `name` is the name of the finding."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


@dataclass(frozen=True, slots=True)
class ProvedEvent:
    """An event that a log provably holds. `data` is None if the proof does not show the data."""

    position: int
    checkpoint: Checkpoint
    entry: Entry
    data: bytes | None


def verify_proof(proof: bytes, trusted: Sequence[Verifier]) -> ProvedEvent:
    """Verifies a proof of an event. `trusted` are the keys of the log.

    Raises `BadProof` if the bytes are not a proof of an event, and `FalseProof` if the proof is false.
    """
    read = read_log_proof(proof)
    if read.extra is None:
        raise BadProof("The proof does not show its entry: its second line must begin with `extra`.")
    shown, checkpoint = read_shown(read.extra), open_checkpoint(read.checkpoint, trusted)
    if not is_included(leaf_hash(shown.entry), read.index, checkpoint.size, read.hashes, checkpoint.root):
        raise FalseProof(
            "MODIFIED", f"the signed tree of {checkpoint.size} events does not hold this entry at index {read.index}"
        )
    return ProvedEvent(read.index + 1, checkpoint, shown.read(), _data(shown))


def open_checkpoint(note: bytes, trusted: Sequence[Verifier]) -> Checkpoint:
    """Returns the checkpoint in a note. A key whose name is the checkpoint's origin must have signed it.

    Raises `BadProof` if the bytes are no checkpoint, and `FalseProof` if no trusted key has signed it.
    """
    try:
        read = read_note(note)
        checkpoint = read_checkpoint(read.text)
        signers = verified_by(read, trusted)
    except UntrustedNote as error:
        raise FalseProof("BAD_SIGNATURE", f"the checkpoint is not signed by a given key: {error}") from error
    except (BadNote, BadCheckpoint) as error:
        raise BadProof(f"The checkpoint cannot be read. {error}") from error
    if checkpoint.origin not in {signer.name for signer in signers}:
        raise FalseProof("BAD_SIGNATURE", f"no key of the log {checkpoint.origin} has signed this checkpoint of it")
    return checkpoint


def _data(shown: Shown) -> bytes | None:
    if shown.data is not None and not shown.has_its_data:
        raise FalseProof("MODIFIED", "the shown salt and data do not have the hash that is in the entry")
    return shown.data
