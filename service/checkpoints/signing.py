"""Signs checkpoints of the log while the process runs, and copies them outside.

`projections/checkpoints.py` lists the invariants. This file adds the memory of one process: the largest checkpoint that the
process has signed or seen, and the newest copy outside. After a restore to an earlier time, the log must extend both before
anything is signed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import structlog

from events.concurrency import end, lasting
from events.database import DATABASE_ERRORS, Database
from events.database_faults import log_trouble
from projections import checkpoints
from projections.checkpoints import AnotherLog, Inconsistent, Known, Moved, NoLog, SignedCheckpoint, SigningState
from projections.proof.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint
from projections.proof.signed_note import BadNote, Signer, UntrustedNote, Verifier, read_note, verified_by
from projections.proof.signed_note import sign as sign_note
from projections.tree import TreeDamaged, TreeUnfinished
from service.checkpoints.copies import CheckpointCopies, CopyDiffers, CopyFailed, CopyUntrusted

log = structlog.get_logger(__name__)

SIGN_EVERY = 60.0  # seconds between two checkpoints, if something was sealed
SIGN_AFTER = 10_000  # waiting events that get a checkpoint at once, before `SIGN_EVERY` has passed
LOOK_EVERY = 1.0  # seconds
TRY_AGAIN = 10.0  # seconds until the next try, while nothing can be signed
COPY_AGAIN = 5.0  # seconds between two checks for checkpoints without a copy
COPIED_AT_ONCE = 100  # checkpoints read by one query

OUTSIDE = "the copies at AUDIT_CHECKPOINT_URL"
THIS_PROCESS = "this process, which has signed or seen it"


class CopiesUnread(Exception):
    """The copies outside cannot be read, and this process must read them once before it signs."""


class Signing:
    """Signs and copies the checkpoints of one log, in one process.

    `keys` are the private keys, the newest first, all of the log `origin`. `copies` is None if nothing is copied outside. A
    copy counts only if one of the keys or one of `trusted` has signed it.
    """

    def __init__(
        self,
        database: Database,
        keys: Sequence[Signer],
        copies: CheckpointCopies | None = None,
        trusted: Sequence[Verifier] = (),
    ) -> None:
        self._database = database
        self._keys = keys
        self._trusted = [*trusted, *(key.verifier for key in keys)]
        self._copies = copies
        self._origin = keys[0].name
        self._known: dict[str, Known] = {}  # by source: the largest checkpoint
        self._read_at: str | None = None  # the place of the log when the copies were last read
        self._proven_at: str | None = None  # the place of the log when the tree last extended all checkpoints in `_known`
        self._trouble: str | None = None
        self._signed = asyncio.Event()

    @property
    def trouble(self) -> str | None:
        """The reason why this process signs nothing now, as one sentence for an operator, or None."""
        return self._trouble

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Signs and copies while the block lasts. Several processes may do this at once."""
        tasks = [lasting(self._keep_signing(), "signer")]
        if self._copies is not None:
            tasks.append(lasting(self._keep_copying(self._copies), "copies of checkpoints"))
        try:
            yield
        finally:
            await end(*tasks)

    async def sign(self, *, wait: bool = False) -> SignedCheckpoint | None:
        """Signs all sealed events now, and returns the newest checkpoint.

        While another process signs, returns None at once, or with `wait` waits for it.

        Raises `Inconsistent`, `AnotherLog`, `CopiesUnread`, `Moved`, `NoLog`, `TreeUnfinished`, `TreeDamaged`.
        """
        async with self._database.raw() as connection:
            place = await checkpoints.place_of_log(connection)
        await self._read_copies(place)
        async with self._database.transaction(isolation="read_committed"), self._database.raw() as connection:
            known = list(self._known.values())
            signed = await checkpoints.sign(connection, self._origin, self._note, known, place=place, wait=wait)
            if signed is not None:
                await checkpoints.set_signing_state(connection, SigningState.SIGNING, copies=self._copies is not None)
        self._proven_at = place
        if signed is not None:
            self._remember(signed.checkpoint)
            self._signed.set()
        return signed

    async def copy(self) -> int:
        """Copies the checkpoints that have no copy yet. Returns their number.

        If the outside has another note of the same size, the checkpoints after that size are copied all the same.

        Raises `CopyFailed`. Checkpoints that were copied before the failure count as copied.
        """
        copied, differing = 0, dict[tuple[str, int], CopyFailed]()
        if self._copies is None:
            return copied
        while waiting := [each for each in await self._without_copy() if (each.origin, each.size) not in differing]:
            for each in waiting:
                try:
                    await self._copy_one(self._copies, each)
                    copied += 1
                except (CopyDiffers, CopyUntrusted) as error:
                    differing[each.origin, each.size] = error
        if differing:
            raise next(iter(differing.values()))
        return copied

    def _note(self, text: str) -> str:
        # Remembered before the row is committed, because the outcome of the commit may stay unknown.
        self._remember(read_checkpoint(text))
        return sign_note(text, self._keys).to_bytes().decode()

    def _remember(self, checkpoint: Checkpoint, source: str = THIS_PROCESS) -> None:
        held = self._known.get(source)
        if held is None or held.checkpoint.size <= checkpoint.size:
            self._known[source] = Known(Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root), source)

    async def _read_copies(self, place: str) -> None:
        """Reads the newest copy outside. Once it was read, a later failure is only logged.

        A copy that no trusted key has signed counts as unread: it proves nothing about this log, and may hide one that does.

        After a restore or a failover, the newest copy must be read again, or nothing is signed.
        """
        if self._copies is None:
            return
        try:
            note = await self._copies.newest(self._origin)
            if note is not None:
                self._remember(self._trusted_checkpoint(note), OUTSIDE)
            self._read_at = place
        except (CopyFailed, BadNote, BadCheckpoint) as error:
            if self._read_at != place:
                raise CopiesUnread(
                    f"nothing is signed until {OUTSIDE} were read, because only they show whether the database was set back:"
                    f" {error}"
                ) from error
            log.warning("the copies of checkpoints cannot be read", error=str(error))

    def _trusted_checkpoint(self, note: str) -> Checkpoint:
        """Raises `CopyUntrusted`, `BadNote`, `BadCheckpoint`."""
        read = read_note(note.encode())
        checkpoint = read_checkpoint(read.text)
        try:
            verified_by(read, self._trusted)
        except UntrustedNote as error:
            raise CopyUntrusted(checkpoint.size) from error
        return checkpoint

    async def _without_copy(self) -> Sequence[SignedCheckpoint]:
        async with self._database.raw() as connection:
            return await checkpoints.without_copy(connection, COPIED_AT_ONCE)

    async def _copy_one(self, copies: CheckpointCopies, signed: SignedCheckpoint) -> None:
        try:
            await copies.add(signed.origin, signed.size, signed.note)
        except CopyDiffers as error:
            # Another trusted key may have signed the same checkpoint, after a change of keys. Then that copy is good enough.
            if not self._is_same(error.found, signed):
                raise
        async with self._database.raw() as connection:
            await checkpoints.add_copy_time(connection, signed.origin, signed.size)

    def _is_same(self, note: str, signed: SignedCheckpoint) -> bool:
        """Returns whether a note is of the same checkpoint, by whichever trusted key. Raises `CopyUntrusted`."""
        try:
            found = read_checkpoint(read_note(note.encode()).text)
            if (found.origin, found.size, found.root) != (signed.origin, signed.size, signed.root):
                return False
            self._trusted_checkpoint(note)
        except (BadNote, BadCheckpoint):
            return False
        return True

    async def _keep_signing(self) -> None:
        while True:
            try:
                if await self._is_due():
                    await self.sign()
                    self._trouble = None
            except Inconsistent as error:
                await self._tell(SigningState.STOPPED, f"INCONSISTENT: {error}")
            except (CopiesUnread, TreeUnfinished) as error:
                await self._tell(SigningState.WAITING, str(error))
            except (AnotherLog, Moved, NoLog, TreeDamaged) as error:
                self._log(str(error))
            except DATABASE_ERRORS as error:
                log_trouble(log, "no checkpoint was signed", error)
            await asyncio.sleep(LOOK_EVERY if self._trouble is None else TRY_AGAIN)

    async def _is_due(self) -> bool:
        async with self._database.raw() as connection:
            waiting = await checkpoints.unsigned(connection)
        if self._trouble is not None or waiting.place != self._proven_at:
            return True
        # An age below 0 says that the clock of the server was ahead. Waiting for that time could take for ever.
        is_late = waiting.age is None or not 0 <= waiting.age < SIGN_EVERY
        return waiting.events < 0 or waiting.events >= SIGN_AFTER or (waiting.events > 0 and is_late)

    async def _tell(self, state: SigningState, detail: str) -> None:
        """Logs why nothing is signed, and stores the reason for all processes."""
        self._log(detail)
        with contextlib.suppress(*DATABASE_ERRORS):
            async with self._database.raw() as connection:
                await checkpoints.set_signing_state(connection, state, detail, copies=self._copies is not None)

    def _log(self, detail: str) -> None:
        if detail != self._trouble:
            log.error("no checkpoint is signed", reason=detail)
        self._trouble = detail

    async def _keep_copying(self, copies: CheckpointCopies) -> None:
        told: str | None = None
        while True:
            self._signed.clear()
            try:
                await self.copy()
                told = None
            except CopyFailed as error:
                if str(error) != told:
                    log.error("a checkpoint was not copied outside", reason=str(error))
                told = str(error)
            except DATABASE_ERRORS as error:
                log_trouble(log, "no checkpoint was copied", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._signed.wait(), COPY_AGAIN)
