"""Logs in memory, and their signed checkpoints."""

from collections.abc import Sequence

from projections.proof.checkpoint import Checkpoint
from projections.proof.merkle import Subtree, consistency_proof, leaf_hash, root_of
from projections.proof.signed_note import Signer, sign

ORIGIN = "rireki/0123456789abcdef"
SIGNER = Signer(ORIGIN, bytes(range(32)))


class Log:
    """A log of `most` entries. A log with another `face` has other entries from index `same` on."""

    def __init__(self, most: int = 2_000, *, face: str = "", same: int = 0, signer: Signer = SIGNER) -> None:
        self.signer = signer
        self._leaves = [leaf_hash(f"{face if n >= same else ''}/{n}".encode()) for n in range(most)]

    def root(self, size: int) -> bytes:
        return root_of(self._leaves[:size])

    def note(self, size: int, *, signers: Sequence[Signer] = ()) -> str:
        """Returns the signed checkpoint of this size."""
        checkpoint = Checkpoint(self.signer.name, size, self.root(size))
        return sign(checkpoint.to_text(), signers or [self.signer]).to_bytes().decode()

    def consistency(self, old_size: int, size: int) -> list[bytes]:
        def hash_of(subtree: Subtree) -> bytes:
            first = subtree.number << subtree.height
            return root_of(self._leaves[first : first + (1 << subtree.height)])

        return consistency_proof(old_size, size, hash_of)
