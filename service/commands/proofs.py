"""The commands `rireki audit proof` and `rireki audit verify-proof`. They return the exit status."""

import base64
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer

from events.database import Database
from projections import tree
from projections.checkpoints import NoLog
from projections.proof.entry import EntryText, LongText
from projections.proof.log_proof import MOST_BYTES, BadProof
from projections.proof.signed_note import BadKey, Verifier, read_verifier
from projections.proving import NoSuchEvent, NotCovered, prove_event
from projections.verify_proof import FalseProof, ProvedEvent, verify_proof
from service.accounts.access_records import Action
from service.commands.plain_text import print_json, visible
from service.commands.recording import record


def read_keys(texts: Sequence[str]) -> list[Verifier]:
    """Returns the keys given by --key. Raises `typer.BadParameter`."""
    try:
        return [read_verifier(text) for text in texts]
    except BadKey as error:
        raise typer.BadParameter(f"--key must be a verifier's key, as `rireki audit key` prints it. {error}") from error


async def print_proof(database: Database, job_id: str, seq: int, *, as_json: bool) -> int:
    """Prints the proof of an event, with its salt and data. Returns 1 if there is none."""
    try:
        async with database.raw() as connection:
            proof = await prove_event(connection, job_id, seq, may_see=lambda _: True)
    except (NoSuchEvent, NotCovered, NoLog, tree.TreeUnfinished, tree.TreeDamaged) as error:
        print(f"rireki: {visible(str(error))}", file=sys.stderr)
        return 1
    await record(database, Action.EXPORT_JOB, f"proof:{job_id}/{seq}")
    if as_json:
        print_json({"jobId": job_id, "seq": seq, "position": proof.index + 1, "proof": proof.to_bytes().decode()})
    else:
        sys.stdout.buffer.write(proof.to_bytes())
        sys.stdout.buffer.flush()
    return 0


def print_verified_proof(path: Path, keys: Sequence[Verifier], *, as_json: bool) -> int:
    """Verifies a proof in a file, and prints what it proves.

    Returns 0 if the proof is good, 1 if it is false, 2 if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            proved = verify_proof(file.read(MOST_BYTES + 1), keys)
    except (OSError, BadProof) as error:
        why = error.strerror if isinstance(error, OSError) else error
        print(f"rireki: {visible(str(path))} cannot be verified: {visible(str(why))}", file=sys.stderr)
        return 2
    except FalseProof as false:
        if as_json:
            print_json({"findings": [{"name": false.name, "detail": str(false)}], "event": None})
        else:
            print(f"{false.name}: {visible(str(false))}")
        return 1
    if as_json:
        print_json({"findings": [], "event": _event_json(proved), "covers": _covers_json(proved)})
    else:
        for line in _lines(proved):
            print(visible(line))
    return 0


def _event_json(proved: ProvedEvent) -> dict[str, Any]:
    entry = proved.entry
    return {
        "jobId": str(entry.job_id),
        "seq": entry.seq,
        "position": proved.position,
        "type": _text(entry.type),
        "attempt": entry.attempt,
        "actor": _text(entry.actor),
        "requestId": _text(entry.request_id),
        "cause": _text(entry.cause),
        "at": _time(entry.at),
        "dataHash": entry.data_hash.hex(),
        "data": None if proved.data is None else proved.data.decode("utf-8", "replace"),
    }


def _covers_json(proved: ProvedEvent) -> dict[str, Any]:
    checkpoint = proved.checkpoint
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": base64.b64encode(checkpoint.root).decode()}


def _lines(proved: ProvedEvent) -> list[str]:
    event, covers = _event_json(proved), _covers_json(proved)
    data = f"not shown; the hash of salt and data is {event['dataHash']}" if proved.data is None else event["data"]
    fields = {
        "log": covers["origin"], "position": f"{event['position']} of {covers['size']}", "job": event["jobId"], "seq": event["seq"],
        "attempt": event["attempt"], "type": event["type"], "actor": event["actor"], "request id": event["requestId"],
        "cause": event["cause"], "time": event["at"], "data": data,
    }  # fmt: skip
    return [
        "the signed log holds this event",
        *(f"{name:<11}{'none' if value is None else value}" for name, value in fields.items()),
    ]


def _text(text: EntryText) -> str | None:
    if isinstance(text, LongText):
        return f"a text of {text.length} bytes with the SHA-256 {text.digest.hex()}"
    return text


def _time(microseconds: int) -> str:
    try:
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} microseconds since 1970"
    return time.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
