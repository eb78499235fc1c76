"""The commands `rireki audit keygen`, `key`, `checkpoint` and `new-log`.

All but the first need the address of a database that seals, as `rireki seal` does. They return the exit status.
"""

import base64
import secrets
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from events.database import Database
from events.job import rfc3339
from projections import checkpoints
from projections.checkpoints import AnotherLog, Inconsistent, Known, Moved, NoLog, SignedCheckpoint, SigningState
from projections.proof.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint
from projections.proof.signed_note import BadKey, BadNote, new_signer, read_note
from projections.seal import NoCursor, seal_everything
from projections.tree import TreeDamaged, TreeUnfinished
from service.audit_values import read_origin
from service.checkpoints.copies import CopyFailed, copies_of
from service.checkpoints.keys import given_keys, signing_keys, verifier_keys
from service.checkpoints.signing import OUTSIDE, CopiesUnread, Signing
from service.commands.plain_text import print_json, visible
from service.commands.running import fail, misuse, run_work
from service.config import SealerSettings, Settings, load_settings
from service.process.assembly import sealer_url, sealers_database, signing_over
from service.readiness import NO_KEY

R = TypeVar("R")

LONGEST_REASON = 1_000  # characters
TRIES = 3  # tries to sign, because a failover may come between two of them

REFUSED = (Inconsistent, CopiesUnread, Moved, NoLog, NoCursor, TreeDamaged, TreeUnfinished)


def print_new_key(name: str | None, *, as_json: bool) -> int:
    """Prints a new private key for the log `name`, or for the log of the database if `name` is None."""
    settings = load_settings(SealerSettings)
    origin = name or _with_sealer(settings, _origin_of)
    try:
        key = new_signer(origin)
    except BadKey as error:
        misuse(str(error))
    if as_json:
        print_json({"origin": origin, "privateKey": key.to_text(), "verifierKey": str(key.verifier)})
        return 0
    # Only the key goes to standard output, so that it can go straight into a file.
    print(f"rireki: the verifier key of this private key is {key.verifier}", file=sys.stderr)
    print(key.to_text())
    return 0


def print_keys(*, as_json: bool) -> int:
    """Prints the verifier keys of the log, the newest last."""
    settings = load_settings(SealerSettings)
    _, keys = given_keys(settings)
    if not keys and settings.app_env == "development":
        keys = signing_keys(settings, _with_sealer(settings, _origin_of))
    found = verifier_keys(settings, keys)
    if not found:
        misuse(
            "no key is set, so there is no verifier key: set AUDIT_VERIFIER_KEYS, AUDIT_SIGNING_KEY or AUDIT_SIGNING_KEY_FILE"
        )
    if as_json:
        print_json({"verifierKeys": [str(verifier) for verifier in found]})
        return 0
    for verifier in found:
        print(verifier)
    return 0


def print_checkpoint(*, as_json: bool) -> int:
    """Seals and signs all events now, copies the checkpoint outside, and prints its note."""
    settings = load_settings(SealerSettings)

    async def run(database: Database) -> int:
        async with signing_over(settings, database) as signing:
            if signing is None:
                misuse(NO_KEY)
            await seal_everything(database)
            signed = await _signed(signing)
            if signed is None:
                fail("the log has no sealed events, so there is nothing to sign")
            try:
                await signing.copy()
            except CopyFailed as error:
                print(f"rireki: the checkpoint has no copy outside yet: {visible(str(error))}", file=sys.stderr)
            async with database.raw() as connection:
                newest = await checkpoints.newest_checkpoint(connection, signed.origin) or signed
                note = await checkpoints.with_cosignatures(connection, newest)
        if as_json:
            print_json(_document(newest) | {"note": note})
        else:
            print(note, end="")
        return 0

    return _with_sealer(settings, run)


def begin_log(reason: str, origin: str | None, *, as_json: bool) -> int:
    """Begins a new log under another name, and prints what the operator must do next."""
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON or not reason.isprintable():
        misuse(f"--reason must have 1 to {LONGEST_REASON} visible characters on one line")
    try:
        name = f"rireki/{secrets.token_hex(8)}" if origin is None else read_origin(origin)
    except ValueError as error:
        misuse(f"--origin {error}")
    settings = load_settings(SealerSettings)

    async def run(database: Database) -> int:
        old = await _origin_of(database)
        if name == old:
            misuse(f"--origin must be a new name: the log already has the name {old}")
        outside = await _newest_outside(settings, old)
        async with database.transaction(isolation="read_committed"), database.raw() as connection:
            followed, abandoned = await checkpoints.begin_log(connection, name, reason, outside)
            await checkpoints.set_signing_state(
                connection, SigningState.WAITING, f"the log {name} has begun, and nothing of it is signed yet", copies=False
            )
        _print_new_log(name, followed, abandoned, as_json=as_json)
        return 0

    return _with_sealer(settings, run)


def _print_new_log(name: str, followed: Checkpoint, abandoned: Checkpoint | None, *, as_json: bool) -> None:
    if as_json:
        left = None if abandoned is None else _named(abandoned)
        print_json({"origin": name, "follows": _named(followed), "abandons": left})
        return
    print(f"the log has a new name: {name}")
    print(f"it follows the log {followed.origin} from its checkpoint of size {followed.size} on")
    if abandoned is not None:
        print(f"it does not extend the checkpoint of size {abandoned.size} of that log")
    print("now make its key with `rireki audit keygen`, give it to the process that seals, and restart that process")


async def _signed(signing: Signing) -> SignedCheckpoint | None:
    for left in reversed(range(TRIES)):
        try:
            return await signing.sign(wait=True)
        except Moved:
            if not left:
                raise
    raise AssertionError


async def _origin_of(database: Database) -> str:
    async with database.raw() as connection:
        return await checkpoints.current_origin(connection)


async def _newest_outside(settings: Settings, origin: str) -> Sequence[Known]:
    copies = copies_of(settings)
    if copies is None:
        return []
    try:
        note = await copies.newest(origin)
        if note is None:
            return []
        return [Known(read_checkpoint(read_note(note.encode()).text), OUTSIDE)]
    except (CopyFailed, BadNote, BadCheckpoint) as error:
        fail(
            f"{OUTSIDE} cannot be read, and the new log must name the newest one: {error} If they are lost for ever, unset"
            " AUDIT_CHECKPOINT_URL for this command"
        )
    finally:
        await copies.close()


def _with_sealer(settings: Settings, work: Callable[[Database], Coroutine[Any, Any, R]]) -> R:
    """Runs `work` with the database connection of a sealer."""

    async def run(url: str) -> R:
        async with sealers_database(settings, url) as database:
            return await work(database)

    try:
        with sealer_url(settings) as url:
            return run_work(run(url))
    except AnotherLog as error:
        misuse(str(error))
    except REFUSED as error:
        fail(str(error))


def _named(checkpoint: Checkpoint) -> dict[str, str | int]:
    root = base64.b64encode(checkpoint.root).decode()
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": root}


def _document(signed: SignedCheckpoint) -> dict[str, Any]:
    copied_at = None if signed.copied_at is None else rfc3339(signed.copied_at)
    return _named(signed.checkpoint) | {"signedAt": rfc3339(signed.signed_at), "copiedAt": copied_at}
