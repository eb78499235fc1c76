"""The command `rireki audit verify`. It returns the exit status."""

import sys
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from events.database import Database
from projections.checkpoints import current_origin
from projections.proof.cosignature import read_witness
from projections.proof.signed_note import BadKey, read_verifier
from projections.verify import Verified, verify
from projections.verifying.state import UnreadableState, VerifiedTo, read_state, write_state
from service.accounts.access_records import Action
from service.checkpoints.trust import NOTHING_MORE, Evidence, trust_of
from service.commands.plain_text import print_json, visible
from service.commands.recording import record
from service.config import ConfigError, Settings
from workers.registry import unique_key

CLEAN, FOUND, UNABLE = 0, 1, 2
"""Exit statuses."""


def read_evidence(keys: Sequence[str], witnesses: Sequence[str], places: Sequence[str]) -> Evidence:
    """Returns the keys, witnesses and copies of the command line. Raises `typer.BadParameter`."""
    try:
        trusted = [read_verifier(key) for key in keys]
    except BadKey as error:
        raise typer.BadParameter(
            f"--key must be a verifier key of the log, as `rireki audit key` prints it: {error}"
        ) from error
    try:
        return Evidence(trusted, [read_witness(key) for key in witnesses], places)
    except BadKey as error:
        raise typer.BadParameter(f"--witness must be the verifier key of a witness: {error}") from error


async def print_verification(
    database: Database,
    settings: Settings,
    *,
    job_id: str | None = None,
    evidence: Evidence = NOTHING_MORE,
    only_new: bool = False,
    as_json: bool = False,
) -> int:
    """Verifies the log, or one job, and prints the findings.

    With `only_new`, verifies only the events after the last verification on this machine.

    Returns 0 if there are no faults, 1 if there are any, 2 if the job is unknown or signatures could not be checked.
    """
    await record(database, Action.VERIFY_LOG, "log" if job_id is None else f"job:{job_id}")
    trust = await trust_of(settings, database, evidence)
    since = await _verified_before(settings, database) if only_new else None
    verified = await verify(
        database,
        job_id=job_id,
        unique_key=unique_key,
        trust=trust,
        clock_tolerance=settings.audit_clock_tolerance.total_seconds(),
        since=since,
    )
    if job_id is not None and verified.jobs == 0:
        print(f"rireki: there is no job {job_id}", file=sys.stderr)
        return UNABLE
    if verified.state is not None:
        _keep(settings, verified.state)
    if as_json:
        print_json(as_document(verified))
    else:
        _print_findings(verified)
    if verified.unsigned:
        print(
            f"rireki: the signatures of {verified.unsigned} checkpoints could not be checked, because no key is known: give the"
            " log's verifier key with --key, or set AUDIT_VERIFIER_KEYS",
            file=sys.stderr,
        )
    return FOUND if verified.count else UNABLE if verified.unsigned else CLEAN


async def _verified_before(settings: Settings, database: Database) -> VerifiedTo | None:
    """Returns the state of this machine's last verification. Raises `ConfigError`."""
    async with database.raw() as connection:
        origin = await current_origin(connection)
    try:
        state = read_state(settings.rireki_home, origin)
    except UnreadableState as error:
        raise ConfigError(f"RIREKI_HOME: {error}") from error
    if state is None:
        print("rireki: this machine has not verified this log before, so everything is verified", file=sys.stderr)
    return state


def _keep(settings: Settings, state: VerifiedTo) -> None:
    """Stores the state of a verification without a fault. If that fails, prints a line."""
    try:
        write_state(settings.rireki_home, state)
    except OSError as error:
        print(f"rireki: RIREKI_HOME: cannot keep how far the log was verified: {error.strerror}", file=sys.stderr)


def as_document(verified: Verified) -> dict[str, object]:
    """Returns the document that --json prints."""
    document: dict[str, object] = {
        "jobs": verified.jobs,
        "events": verified.events,
        "lastPosition": verified.last_position,
        "unsealed": verified.unsealed,
        "covers": None if verified.covers is None else verified.covers.to_json(),
        "findings": [finding.to_json() for finding in verified.findings],
        "findingCounts": {name.value: count for name, count in verified.counts.items()},
        "differences": [{"jobId": each.job_id, "detail": each.detail} for each in verified.differences],
    }
    if verified.since:
        document["since"] = verified.since
    if verified.leaves:
        document["leaves"] = [leaf.to_json() for leaf in verified.leaves]
    return document


def _print_findings(verified: Verified) -> None:
    for finding in verified.findings:
        print(visible(str(finding)))
    if (left_out := verified.counts.total() - len(verified.findings)) > 0:
        print(f"{left_out} more findings are not listed")
    Console(highlight=False, soft_wrap=True).print(
        Text(visible(_summary(verified)), style="red" if verified.count else "green")
    )


def _summary(verified: Verified) -> str:
    by_name = ", ".join(f"{name} {count}" for name, count in sorted(verified.counts.items()))
    found = f"{verified.count} findings ({by_name})" if verified.count else "no findings"
    extent = f"{verified.jobs} jobs, {verified.events} events, the last position is {verified.last_position}"
    if verified.since:
        extent += f", only what came after position {verified.since}"
    waiting = f", {verified.unsealed} events have no position yet" if verified.unsealed else ""
    return f"{found}: {extent}{waiting}; {_covered(verified)}"


def _covered(verified: Verified) -> str:
    if verified.covers is None:
        return "no signed checkpoint covers the log"
    against = f" of {verified.covers.against}" if verified.covers.against else ""
    return f"the signed checkpoint{against} covers the first {verified.covers.size} events"
