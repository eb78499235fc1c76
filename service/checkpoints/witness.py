"""A witness: cosigns the checkpoints of another log, as long as that log only grows.

It answers `add-checkpoint` of C2SP tlog-witness. What always holds:

1. Of each log, it cosigns only checkpoints whose tree begins with the tree of the checkpoint before.
2. A cosignature is sent only after its checkpoint is durable in the state. So the witness remembers each cosigned checkpoint
   after a kill or a power cut. If the answer was lost, the log asks again.
3. The witness handles one request at a time. One process at a time holds the state.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import structlog

from projections.proof.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint
from projections.proof.cosignature import Cosigner
from projections.proof.merkle import EMPTY_ROOT, is_consistent
from projections.proof.signed_note import Note, UntrustedNote, Verifier, verified_by
from projections.proof.witness_request import BadRequest, CosignRequest, read_cosign_request
from service.checkpoints.witness_state import Seen, WitnessState

log = structlog.get_logger("rireki.witness")

PLAIN = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """The answer to a request, as HTTP sends it."""

    status: int
    body: str
    media_type: str = PLAIN


class Refused(Exception):
    """The request is answered with an error. `answer` says why."""

    def __init__(self, status: int, reason: str, media_type: str = PLAIN) -> None:
        super().__init__(reason)
        self.answer = WitnessAnswer(status, f"{reason}\n", media_type)


class Witness:
    """Cosigns the checkpoints of some logs.

    `logs` are the keys of these logs; a log may have several. The name of a key is the origin of its log.
    """

    def __init__(
        self, cosigner: Cosigner, logs: Sequence[Verifier], state: WitnessState, clock: Callable[[], float] = time.time
    ) -> None:
        self._cosigner = cosigner
        self._logs = {log.name: [other for other in logs if other.name == log.name] for log in logs}
        self._state = state
        self._clock = clock
        self._lock = Lock()

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Answers a request. It blocks for the time of a write to the disk.

        Raises `OSError` if the state cannot be written. Then nothing was cosigned.
        """
        try:
            request, checkpoint = _read(body)
            note = self._signed_by_the_log(request.note, checkpoint.origin)
            if request.old_size > checkpoint.size:
                raise Refused(400, "The old size must not be above the size of the checkpoint.")
            with self._lock:
                return self._cosign(request, checkpoint, note)
        except Refused as refused:
            return refused.answer

    def newest(self, origin_hash: str) -> str | None:
        """Returns the newest note of a log with the cosignature; None if there is none.

        `origin_hash` is the SHA-256 of the origin in hexadecimal.
        """
        # Without the lock, which is held while a disk is written to. The state changes only after that.
        seen = self._state.seen_by_hash(origin_hash)
        return None if seen is None else seen.note

    def _signed_by_the_log(self, note: Note, origin: str) -> Note:
        """Returns the note with only the signatures of the log."""
        keys = self._logs.get(origin)
        if keys is None:
            raise Refused(404, "This witness does not know the log with this origin.")
        try:
            known = {(key.name, key.id) for key in verified_by(note, keys)}
        except UntrustedNote as error:
            raise Refused(403, str(error)) from None
        return Note(note.text, [each for each in note.signatures if (each.name, each.key_id) in known])

    def _cosign(self, request: CosignRequest, checkpoint: Checkpoint, note: Note) -> WitnessAnswer:
        seen = self._state.seen(checkpoint.origin)
        old_size, old_root = (0, EMPTY_ROOT) if seen is None else (seen.size, seen.root)
        if request.old_size != old_size:
            raise Refused(409, str(old_size), SIZE)
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise Refused(422, "The root of an empty tree must be the hash of nothing.")
        if not is_consistent(old_size, old_root, checkpoint.size, checkpoint.root, request.proof):
            self._tell(checkpoint, seen, note)
            raise Refused(422, f"The checkpoint does not extend the one of size {old_size}, or the proof is wrong.")
        # No cosignature is older than one that was given before, even if the clock was set back.
        at = max(int(self._clock()), 0 if seen is None else seen.at, 1)
        line = self._cosigner.cosign(note.text, at)
        if seen is None or (seen.size, seen.at) != (checkpoint.size, at):
            whole = Note(note.text, [*note.signatures, line]).to_bytes().decode()
            self._state.remember(Seen(checkpoint.origin, checkpoint.size, checkpoint.root, at, whole))
        return WitnessAnswer(200, line.to_line())

    def _tell(self, checkpoint: Checkpoint, seen: Seen | None, note: Note) -> None:
        """Logs a refusal, and keeps the proof if the log has signed two trees of one size.

        Other refusals prove nothing: anybody may send a log's checkpoint with a wrong proof.
        """
        if seen is None or seen.size != checkpoint.size:
            log.warning("a checkpoint was refused", origin=checkpoint.origin, size=checkpoint.size)
            return
        path = self._state.keep_evidence(checkpoint.origin, note.to_bytes().decode())
        log.error(
            "the log has signed two different trees of one size", origin=checkpoint.origin, size=checkpoint.size, kept=str(path)
        )


def _read(body: bytes) -> tuple[CosignRequest, Checkpoint]:
    try:
        request = read_cosign_request(body)
        return request, read_checkpoint(request.note.text)
    except (BadRequest, BadCheckpoint) as error:
        raise Refused(400, str(error)) from None
