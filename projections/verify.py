"""Verifies the log: every event and position, the tree and its signed checkpoints, the jobs view, and the guards.

A verification only reads, in one snapshot of the database. So a role with the right `select` is enough, and it may run on a
replica. Every fault becomes a finding, with a name from `events/audit_findings.py`. The parts are in `projections/verifying/`.
"""

from collections.abc import Sequence
from dataclasses import replace

from events.audit_findings import FindingName
from events.database import Connection, Database
from events.job import JSON
from events.positions import POSITION
from projections.guards import guards, missing_guards
from projections.proof.tiles import WIDTH
from projections.rebuild import UniqueKey
from projections.verifying.checkpoints import (
    HasRoots,
    Origins,
    Trust,
    compare_copies,
    compare_cosignatures,
    compare_stored,
    read_marks,
    read_origins,
)
from projections.verifying.cursor import (
    UNSEALED,
    Counts,
    Cursor,
    count,
    cursor_findings,
    doubled_findings,
    read_cursors,
    reordered_findings,
    unplaced_findings,
)
from projections.verifying.findings import Difference, Finding, Verified
from projections.verifying.one_job import verify_job
from projections.verifying.order import Checked, Order, Rules, check_old_rows, check_tail
from projections.verifying.positions import boundary_findings, order_findings, tree_of, truncation, upper_findings
from projections.verifying.processes import Folding, JobsPart, Runner, Snapshot, TilesPart, runner
from projections.verifying.ranges import TILES_IN_A_RANGE, job_ranges
from projections.verifying.redactions import redactions, refused_findings
from projections.verifying.since import (
    StoredTree,
    as_result,
    beginning_findings,
    can_go_on,
    changed_jobs,
    new_upper_findings,
    state_after,
)
from projections.verifying.state import VerifiedTo

__all__ = ["UNSEALED", "Difference", "Finding", "Trust", "Verified", "no_rule", "verify"]

SECOND = 1_000_000  # microseconds
CLOCK_TOLERANCE = 3600.0  # seconds
NOBODY = Trust()
JOBS_IN_A_PART = 5_000

TILE_NUMBERS = "select tile from log_tiles where tile >= $1 order by tile"

POSITIONS = f"""
select a.job_id, a.seq, {POSITION} as position
from unnest($1::uuid[], $2::int[]) as a(job_id, seq) join job_events e on (e.job_id, e.seq) = (a.job_id, a.seq)
"""

ERASED = """
select p.job_id, array_agg(p.seq) as seqs from (
    select t.job_ids[(a.position - 1) % 256 + 1] as job_id, t.seqs[(a.position - 1) % 256 + 1] as seq
    from unnest($1::bigint[]) as a(position) join log_tiles t on t.tile = (a.position - 1) / 256
    union all
    select l.job_id, l.seq from log_tail l where l.position = any($1)
) as p
group by p.job_id
"""


def no_rule(job_type: str, payload: JSON, user_id: str | None) -> None:
    """Returns no key. This is the rule for a log whose events hold all unique keys."""


async def verify(
    database: Database,
    *,
    job_id: str | None = None,
    unique_key: UniqueKey = no_rule,
    trust: Trust = NOBODY,
    clock_tolerance: float = CLOCK_TOLERANCE,
    since: VerifiedTo | None = None,
    processes: int | None = None,
) -> Verified:
    """Verifies one job, or everything.

    `unique_key` is the rule of the job types. It gives the key of a job whose first event does not hold a key. An event may be
    `clock_tolerance` seconds earlier than an event at an earlier position. `processes` is None for the number that fits the log
    and the machine. With `since`, only the events after that verification are checked, if their order can be compared with the
    order then. The result has `since` = 0 if everything was verified.
    """
    connection = await database.hold(statement_timeout="0", idle_in_transaction_session_timeout="0")
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # The lock comes before the snapshot. Otherwise a rebuild could swap the view between the two, and in the snapshot
            # the new view would be empty or old.
            await connection.execute("lock table jobs in access share mode")
            if job_id is not None:
                verified = await verify_job(connection, job_id, unique_key, trust)
            else:
                snapshot = Snapshot(database, await connection.fetchval("select pg_export_snapshot()"))
                log = _Log(connection, snapshot, trust, int(clock_tolerance * SECOND), processes)
                verified = await log.verify(unique_key, since)
            verified.findings = await _placed(connection, verified.findings)
    finally:
        await connection.close()
    return verified


class _Log:
    """One verification of all events, or of the events after an earlier verification."""

    def __init__(self, connection: Connection, snapshot: Snapshot, trust: Trust, tolerance: int, processes: int | None) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self._trust = trust
        self._tolerance = tolerance
        self._processes = processes
        self._verified = Verified()

    async def verify(self, unique_key: UniqueKey, since: VerifiedTo | None) -> Verified:
        connection, verified = self._connection, self._verified
        wrong = list(missing_guards(await guards(connection)))
        verified.add(Finding(FindingName.GUARD_MISSING, None, None, None, detail) for detail in wrong)
        cursors = await read_cursors(connection)
        cursor = cursors[0] if cursors else None
        origins = await read_origins(connection, self._trust.keys)
        origin = next(reversed(list(origins.holds_to)), "")
        since = since if since is not None and can_go_on(since, origin, cursor) else None
        folding, rules = await self._prepare(unique_key, origins)
        counts = await count(connection, cursor, None if since is None else (since.xid, since.event_id))
        async with runner(self._snapshot, folding, events=counts.events, processes=self._processes) as run:
            if since is None or cursor is None:
                results = await self._run(run, rules, cursor)
            else:
                results = await self._run_since(run, rules, since, cursor)
        await self._check_positions(results, cursors, counts, guarded=not wrong, since=since)
        await self._check_tree(results, origins, cursor, since)
        if not verified.count and not verified.unsigned:
            verified.state = await state_after(connection, origin, results, verified.last_position, since)
        return verified

    async def _prepare(self, unique_key: UniqueKey, origins: Origins) -> tuple[Folding, Rules]:
        connection = self._connection
        valid, refused = await redactions(connection, self._trust.keys, origins.holds_to)
        self._verified.add(refused_findings(refused))
        rows = await connection.fetch(ERASED, list(valid)) if valid else []
        erased = {row["job_id"]: row["seqs"] for row in rows}
        return Folding(unique_key, erased), Rules(self._tolerance, await read_marks(connection), valid)

    async def _run(self, run: Runner, rules: Rules, cursor: Cursor | None) -> list[Checked]:
        """Verifies all parts. Returns the results for positions, in their order."""
        numbers = [row["tile"] for row in await self._connection.fetch(TILE_NUMBERS, 0)]
        async with self._snapshot.raw() as raw:
            jobs = [JobsPart(each) for each in await job_ranges(raw)]
            below, above, old_rows = _divided(numbers, cursor)
            parts, later = _parts(below, 0, rules), _parts(above, old_rows[1], rules)
            done = await self._joined(run, [*jobs, *parts, *later])
            results = await self._timed(run, done[: len(parts)], parts, None)
            old = Order(_end_of(below, 0), rules, greatest=_greatest(results))
            await check_old_rows(raw, old, *old_rows)
            results.append(old.checked)
            results += await self._timed(run, done[len(parts) :], later, _greatest(results))
            tail = Order(_end_of(above, max(_end_of(below, 0), old_rows[1])), rules, greatest=_greatest(results))
            await check_tail(raw, tail)
        return [*results, tail.checked]

    async def _run_since(self, run: Runner, rules: Rules, since: VerifiedTo, cursor: Cursor) -> list[Checked]:
        """Verifies the events after an earlier verification."""
        self._verified.since = since.size
        beginning = await beginning_findings(self._connection, since, cursor)
        self._verified.add(beginning)
        numbers = [row["tile"] for row in await self._connection.fetch(TILE_NUMBERS, since.size // WIDTH)]
        async with self._snapshot.raw() as raw:
            changed = await changed_jobs(raw, since)
            jobs = [JobsPart(changed[at : at + JOBS_IN_A_PART]) for at in range(0, len(changed), JOBS_IN_A_PART)]
            parts = _parts(numbers, since.size, rules)
            done = await self._joined(run, [*jobs, *(replace(part, checked_to=since.size) for part in parts)])
            results = [as_result(since), *await self._timed(run, done, parts, since.greatest)]
            tail = Order(_end_of(numbers, since.size), rules, greatest=_greatest(results))
            await check_tail(raw, tail, after=since.size)
        self._verified.add(await new_upper_findings(self._connection, since))
        return [*results, tail.checked]

    async def _joined(self, run: Runner, parts: Sequence[JobsPart | TilesPart]) -> list[Checked]:
        """Runs parts, adds the results for jobs, and returns those for positions."""
        done = await run.run(parts)
        for each in done:
            if isinstance(each, Verified):
                self._verified.join(each)
        return [each for each in done if isinstance(each, Checked)]

    async def _timed(
        self, run: Runner, results: Sequence[Checked], parts: Sequence[TilesPart], greatest: int | None
    ) -> list[Checked]:
        """Checks a range again if it may have an event whose time is too early after the earlier ranges.

        `results` were computed without these times. `greatest` is the greatest time before the first range.
        """
        timed: list[Checked] = []
        for checked, part in zip(results, parts, strict=True):
            if greatest is not None and checked.earliest is not None and checked.earliest < greatest - self._tolerance:
                [repeated] = await self._joined(run, [replace(part, greatest=greatest)])
                timed.append(repeated)
            else:
                timed.append(checked)
            greatest = max((time for time in (greatest, timed[-1].greatest) if time is not None), default=None)
        return timed

    async def _check_positions(
        self,
        results: Sequence[Checked],
        cursors: Sequence[Cursor],
        counts: Counts,
        *,
        guarded: bool,
        since: VerifiedTo | None,
    ) -> None:
        connection, verified = self._connection, self._verified
        last = max((checked.highest for checked in results), default=0)
        last_present = max((checked.last_present for checked in results), default=0)
        verified.last_position = last
        verified.add(truncation(max([last, *(cursor.position for cursor in cursors)]), last_present))
        verified.add(order_findings(results, last_present))
        verified.add(boundary_findings(results))
        verified.add(cursor_findings(cursors, results, last, whole=since is None))
        present = sum(checked.present for checked in results)
        if present != counts.sealed or counts.future:
            verified.add(await unplaced_findings(connection))
        odd = any(checked.without_epoch or checked.misplaced for checked in results)
        epochs = {each[0] for checked in results for each in (checked.first, checked.last) if each is not None}
        if not guarded or odd or len(epochs) > 1:
            verified.add(await doubled_findings(connection))
            verified.add(await reordered_findings(connection))
        verified.unsealed = await connection.fetchval(UNSEALED)

    async def _check_tree(
        self, results: Sequence[Checked], origins: Origins, cursor: Cursor | None, since: VerifiedTo | None
    ) -> None:
        connection, verified = self._connection, self._verified
        tree: HasRoots | None
        if since is None:
            tree = computed = tree_of(connection, results)
            if computed is not None and (cursor is None or cursor.tiled >= cursor.rows_to):
                verified.add(await upper_findings(connection, computed))
        else:
            tree = StoredTree(connection, verified.last_position)
        stored = await compare_stored(connection, tree, origins, self._trust, after=-1 if since is None else since.size)
        copied = await compare_copies(connection, tree, origins, self._trust)
        verified.add(stored.findings)
        verified.add(copied.findings)
        verified.add(await compare_cosignatures(connection, self._trust))
        verified.covers = copied.covers if self._trust.copies else stored.covers
        verified.unsigned = stored.unsigned


def _greatest(results: Sequence[Checked]) -> int | None:
    return max((checked.greatest for checked in results if checked.greatest is not None), default=None)


def _divided(numbers: Sequence[int], cursor: Cursor | None) -> tuple[list[int], list[int], tuple[int, int]]:
    """Returns the tiles below and above the positions that are not in tiles yet, and these positions' bounds."""
    if cursor is None or cursor.tiled >= cursor.rows_to:
        return list(numbers), [], (0, 0)
    below = [number for number in numbers if number * WIDTH < cursor.tiled]
    return below, list(numbers[len(below) :]), (cursor.tiled, cursor.rows_to)


def _parts(numbers: Sequence[int], after: int, rules: Rules) -> list[TilesPart]:
    parts = []
    for at in range(0, len(numbers), TILES_IN_A_RANGE):
        own = numbers[at : at + TILES_IN_A_RANGE]
        parts.append(TilesPart(own, after, rules.of(after, (own[-1] + 1) * WIDTH)))
        after = _end_of(own, after)
    return parts


def _end_of(numbers: Sequence[int], otherwise: int) -> int:
    return (numbers[-1] + 1) * WIDTH if numbers else otherwise


async def _placed(connection: Connection, findings: list[Finding]) -> list[Finding]:
    """Returns the findings, and adds the position to each finding that names an event."""
    events = [(each.job_id, each.seq) for each in findings if each.seq is not None and each.position is None]
    rows = await connection.fetch(POSITIONS, [job_id for job_id, _ in events], [seq for _, seq in events])
    positions = {(row["job_id"], row["seq"]): row["position"] for row in rows}
    return [
        each if each.position is not None else each._replace(position=positions.get((each.job_id or "", each.seq)))
        for each in findings
    ]
