"""The commands `rireki audit export` and `rireki audit verify-export`. They return the exit status."""

import base64
import sys
from collections.abc import Sequence
from pathlib import Path

from events.database import MAY_ONLY_READ, Database
from projections import tree
from projections.changes import last_position
from projections.checkpoints import NoLog
from projections.export import line_in, rows_of
from projections.export_directory import NothingSigned, UnfitDirectory, export_directory
from projections.exported_events import ExportFinding
from projections.proof.signed_note import Verifier
from projections.seal import seal_everything
from projections.verify import UNSEALED
from projections.verify_export import CannotVerify, VerifiedExport, verify_export
from service.accounts.access_records import Action
from service.commands.plain_text import print_json, print_json_lines, visible
from service.commands.recording import record


async def print_log(database: Database, after: int) -> None:
    """Prints the whole log in order of position, one event on each line.

    A role that may not seal cannot give positions to new events, so it exports only the events that
    have a position.
    """
    try:
        await seal_everything(database)
    except MAY_ONLY_READ:
        if waiting := await database.fetch_val(UNSEALED):
            print(
                f"rireki: {waiting} events have no position yet and are left out, because this role may not seal",
                file=sys.stderr,
            )
    await record(database, Action.EXPORT_LOG, f"events?after={after}")
    async for rows in rows_of(database, after, await last_position(database), with_proof=False):
        print_json_lines([line_in(row, with_proof=False) for row in rows])


async def write_export(database: Database, directory: Path, after: int, *, as_json: bool) -> int:
    """Writes the log up to its newest checkpoint into a directory. Returns 1 if it cannot be written."""
    await record(database, Action.EXPORT_LOG, f"directory?after={after}")
    try:
        written = await export_directory(database, directory, after=after)
    except (UnfitDirectory, OSError) as error:
        print(f"rireki: nothing was exported into {visible(str(directory))}: {visible(str(error))}", file=sys.stderr)
        return 1
    except (NothingSigned, NoLog, tree.TreeUnfinished, tree.TreeDamaged) as error:
        print(f"rireki: nothing was exported: {visible(str(error))}", file=sys.stderr)
        return 1
    if as_json:
        print_json({"origin": written.origin, "size": written.size, "root": base64.b64encode(written.root).decode()})
    else:
        print(visible(f"{written.size} events of the log {written.origin} were exported into {directory}"))
    return 0


def print_verified_export(directory: Path, keys: Sequence[Verifier], after: int, *, as_json: bool) -> int:
    """Verifies an exported directory, and prints the findings.

    Returns 0 if nothing is wrong, 1 if there are findings, 2 if it cannot be verified.
    """
    try:
        verified = verify_export(directory, keys, after=after)
    except CannotVerify as error:
        print(f"rireki: {visible(str(directory))} cannot be verified: {visible(str(error))}", file=sys.stderr)
        return 2
    if as_json:
        print_json(_verified_json(verified))
    else:
        for finding in verified.findings:
            print(visible(_line(finding)))
        if verified.counts.total() > len(verified.findings):
            print(f"{verified.counts.total() - len(verified.findings)} more findings are not listed")
        print(visible(_summary(verified)))
    return 1 if verified.faults else 0


def _verified_json(verified: VerifiedExport) -> dict[str, object]:
    checkpoint = verified.checkpoint
    return {
        "events": verified.events,
        "covers": None
        if checkpoint is None
        else {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": base64.b64encode(checkpoint.root).decode(),
        },
        "findings": [
            {"name": each.name, "jobId": each.job_id, "seq": each.seq, "position": each.position, "detail": each.detail}
            for each in verified.findings
        ],
        "findingCounts": dict(verified.counts),
    }


def _line(finding: ExportFinding) -> str:
    places = {"position": finding.position, "job": finding.job_id, "seq": finding.seq}
    where = ", ".join(f"{name} {value}" for name, value in places.items() if value is not None)
    return f"{finding.name} {where}: {finding.detail}" if where else f"{finding.name}: {finding.detail}"


def _summary(verified: VerifiedExport) -> str:
    by_name = ", ".join(f"{name} {count}" for name, count in sorted(verified.counts.items()))
    found = f"{verified.counts.total()} findings ({by_name})" if verified.counts else "no findings"
    if verified.checkpoint is None:
        return found
    covered = f"the checkpoint of {verified.checkpoint.origin} covers {verified.checkpoint.size} events"
    return f"{found}: {covered}, {verified.events} of them are in events.ndjson"
