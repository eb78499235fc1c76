"""Compares the jobs view with the log, and checks the log and its guards.

A verification only reads, in one snapshot of the database. So a role with the right `select` is enough, and it may run on a
replica. Every fault becomes a finding, with a name from `events/audit_findings.py`. To fold a history is to compute the job
from its events.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from events.audit_findings import FindingName
from events.database import Connection, Database, Record
from events.history import job_from, recorded_from
from events.job import JSON, BrokenHistory, Completed, Failed, Job, Progress, Queued, Recorded, Started, Unreadable, evolve
from events.positions import POSITION, places
from events.statements import HISTORIES, JOB_COLUMNS
from events.stored import event_data
from events.writes import BrokenView
from projections.guards import guards, missing_guards
from projections.rebuild import UniqueKey

MOST_KEPT = 10_000  # findings in the list; further findings are only counted
LONGEST_VALUE = 200  # characters of a value that a finding quotes
LONGEST_DETAIL = 1000  # characters

VIEW = f"select {JOB_COLUMNS}, unique_key from jobs where $1::uuid[] is null or id = any($1) order by id"

ALL = places(after="0::bigint", until="9223372036854775807::bigint")

PLACES = f"""
select position, before from (
    select position, lag(position, 1, 0::bigint) over (order by position) as before from {ALL} as l
) as placed
where position <> before + 1
order by position
"""

# The newest position whose event exists. If there are later positions, the tail of the log was truncated.
LAST_EVENT = f"""
select max(l.position) from {ALL} as l join job_events e on e.job_id = l.job_id and e.seq = l.seq
"""

POINTS_NOWHERE = f"""
select l.position, l.job_id, l.seq from {ALL} as l
where l.position < $1 and not exists (select from job_events e where e.job_id = l.job_id and e.seq = l.seq)
order by l.position
"""

# Finds events without a position that the service cannot have written. Either they stand at or before the sealer's cursor,
# where the sealer has given every event a position. Or their transaction id does not exist yet in this snapshot. The check is
# left out for a log that was restored from another cluster and not yet sealed here, because its transaction ids cannot be
# compared.
WITHOUT_POSITION = f"""
select e.job_id, e.seq from job_events e, job_event_log_cursor c, pg_control_system() s
where ((e.xid, e.event_id) <= (c.xid, c.event_id) or e.event_id <= c.floor or e.xid >= pg_snapshot_xmax(pg_current_snapshot()))
and c.system_identifier = s.system_identifier
and not exists (select from {ALL} as l where l.job_id = e.job_id and l.seq = e.seq)
order by e.event_id
"""

# Every event after the cursor waits for its position. In a cluster other than the sealer's, transaction ids cannot be compared,
# so there the events with larger ids than every sealed event are counted too.
UNSEALED = """
select count(*) from (
    select from job_events e, job_event_log_cursor c
    where (e.xid, e.event_id) > (c.xid, c.event_id) and e.event_id > c.floor
    union all
    select from job_events e, job_event_log_cursor c, pg_control_system() s
    where e.event_id > c.largest and (e.xid, e.event_id) <= (c.xid, c.event_id)
    and s.system_identifier <> c.system_identifier
) as unsealed
"""

OUT_OF_ORDER = f"""
select job_id, seq, position from (
    select l.position, l.job_id, l.seq, lag(l.seq) over (partition by l.job_id order by l.position) as before
    from {ALL} as l
) as placed
where seq <= before
order by position
"""

# Finds duplicates. Run only when a guard is missing, because otherwise the unique indexes prevent duplicates.
TWICE = f"""
select min(position) as position, format('event %s of job %s has %s positions', seq, job_id, count(*)) as detail
from {ALL} as l group by job_id, seq having count(*) > 1
union all
select null, format('%s events have the id %s', count(*), event_id) from job_events group by event_id having count(*) > 1
union all
select null, format('%s jobs of the view have the id %s', count(*), id) from jobs group by id having count(*) > 1
"""

LAST_POSITION = f"select coalesce(max(position), 0) from {ALL} as l"

CURSOR = "select position from job_event_log_cursor"

POSITIONS = f"""
select a.job_id, a.seq, {POSITION} as position
from unnest($1::uuid[], $2::int[]) as a(job_id, seq) join job_events e on (e.job_id, e.seq) = (a.job_id, a.seq)
"""


class Finding(NamedTuple):
    """One fault. `job_id` is None if the fault is in the order of the log or in a guard."""

    name: FindingName
    job_id: str | None
    seq: int | None
    position: int | None
    detail: str

    def to_json(self) -> dict[str, JSON]:
        """Returns `{name, jobId, seq, position, detail}`."""
        return {
            "name": self.name, "jobId": self.job_id, "seq": self.seq, "position": self.position, "detail": self.detail,
        }  # fmt: skip

    def __str__(self) -> str:
        place = self.job_id or "the log"
        if self.seq is not None:
            place += f", event {self.seq}"
        if self.position is not None:
            place += f", position {self.position}"
        return f"{self.name}: {place}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Difference:
    """The job and the detail of a finding."""

    job_id: str | None
    detail: str


@dataclass(slots=True)
class Verified:
    """The extent of a verification, and its findings. There are none if all is well.

    `findings` lists the first `MOST_KEPT`, and at least one of each name; `counts` counts all. `unsealed` is the number of
    events without a position. These events were folded and compared like all others.
    """

    jobs: int = 0
    events: int = 0
    last_position: int = 0
    unsealed: int = 0
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[FindingName] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.counts.total()

    @property
    def differences(self) -> list[Difference]:
        return [Difference(finding.job_id, finding.detail) for finding in self.findings]

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if len(self.findings) < MOST_KEPT or not self.counts[finding.name]:
                self.findings.append(finding._replace(detail=finding.detail[:LONGEST_DETAIL]))
            self.counts[finding.name] += 1


def no_rule(job_type: str, payload: JSON, user_id: str | None) -> None:
    """Returns no key. This is the rule for a log whose events hold all unique keys."""


async def verify(database: Database, *, job_id: str | None = None, unique_key: UniqueKey = no_rule) -> Verified:
    """Folds the events of one job, or of all jobs, and compares the result with the view.

    For all jobs, also checks the positions of the log and its guards. `unique_key` is the rule of the job types. It gives the
    key of a job whose first event does not hold a key.
    """
    verified = Verified()
    only = None if job_id is None else [job_id]
    connection = await database.hold(statement_timeout="0", idle_in_transaction_session_timeout="0")
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # The lock comes before the snapshot. Otherwise a rebuild could swap the view between the two, and in the snapshot
            # the new view would be empty or old.
            await connection.execute("lock table jobs in access share mode")
            async for compared_id, history, shown in _side_by_side(connection, only):
                verified.jobs += 1
                verified.events += len(history)
                verified.add(_compare(compared_id, history, shown, unique_key))
                # Lets other tasks run, because the loop does not pause while it reads rows that are already fetched.
                await asyncio.sleep(0)
            verified.last_position = await connection.fetchval(LAST_POSITION)
            if job_id is None:
                await _check_log(connection, verified)
            verified.findings = await _placed(connection, verified.findings)
    finally:
        await connection.close()
    return verified


async def _side_by_side(
    connection: Connection, job_ids: list[str] | None
) -> AsyncIterator[tuple[str, list[Record], Record | None]]:
    """Yields each job's id, its rows in the log (maybe none), and its row in the view or None.

    Reads the log and the view in order of job id through cursors, because a log may be larger than memory.
    """
    view = aiter(connection.cursor(VIEW, job_ids, prefetch=1000))
    shown = await anext(view, None)
    async for history in _job_by_job(connection, job_ids):
        job_id = history[0]["job_id"]
        while shown is not None and shown["id"] < job_id:
            yield shown["id"], [], shown
            shown = await anext(view, None)
        if shown is not None and shown["id"] == job_id:
            yield job_id, history, shown
            shown = await anext(view, None)
        else:
            yield job_id, history, None
    while shown is not None:
        yield shown["id"], [], shown
        shown = await anext(view, None)


async def _job_by_job(connection: Connection, job_ids: list[str] | None) -> AsyncIterator[list[Record]]:
    history: list[Record] = []
    async for row in connection.cursor(HISTORIES, job_ids, prefetch=2000):
        if history and history[0]["job_id"] != row["job_id"]:
            yield history
            history = []
        history.append(row)
    if history:
        yield history


# One job ----------------------------------------------------------------------------------------------------------------------


def _compare(job_id: str, history: list[Record], shown: Record | None, unique_key: UniqueKey) -> Iterator[Finding]:
    if not history:
        yield _drift(job_id, "is in the view and not in the log")
        return
    folding = _Folding()
    for row in history:
        yield from folding.after(recorded_from(row), row["data"])
    if shown is None:
        yield _drift(job_id, "is in the log and not in the view")
        return
    try:
        view = job_from(shown)
    except BrokenView as error:
        yield _drift(job_id, str(error))
        return
    if folding.broken or folding.job is None or folding.first is None:
        return
    for column, in_view, by_log in zip(Job._fields, view, folding.job, strict=True):
        if not _same(in_view, by_log):
            yield _drift(job_id, f"{column} is {_shown(in_view)} in the view and {_shown(by_log)} by the log")
    first, key = folding.first, shown["unique_key"]
    by_rule = unique_key(folding.job.type, first.payload, first.user_id)
    if key not in ((None, by_rule) if first.unique_key is None else (first.unique_key,)):
        yield _drift(job_id, f"unique_key is {key!r} in the view and {first.unique_key!r} by the log")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _drift(job_id: str, detail: str) -> Finding:
    return Finding(FindingName.VIEW_DRIFT, job_id, None, None, detail)


class _Folding:
    """Folds one history event by event, and yields a finding for each fault."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.first: Queued | None = None
        self.broken = False
        self._before: Recorded | None = None

    def after(self, recorded: Recorded, text: str) -> Iterator[Finding]:
        event = recorded.event
        if isinstance(event, Unreadable):
            yield _at(recorded, FindingName.MODIFIED, event.why)
        else:
            for odd in _not_as_written(recorded, text):
                yield _at(recorded, FindingName.MODIFIED, odd)
        yield from self._beside_the_one_before(recorded)
        if self.broken:
            return
        worker = None if self.job is None else self.job.worker
        try:
            self.job = evolve(self.job, recorded)
        except BrokenHistory as broken:
            self.broken = True
            if broken.name is FindingName.ILLEGAL_TRANSITION:
                yield _at(recorded, broken.name, str(broken))
            return
        if self.first is None and isinstance(event, Queued):
            self.first = event
        if (wrong := _wrong_actor(recorded, worker)) is not None:
            yield _at(recorded, FindingName.ILLEGAL_TRANSITION, wrong)

    def _beside_the_one_before(self, recorded: Recorded) -> Iterator[Finding]:
        """Compares an event with the event before it, and yields a finding for each fault.

        Works even after an event that could not be folded.
        """
        before, self._before = self._before, recorded
        last = 0 if before is None else before.seq
        if recorded.seq > last + 1:
            missing = f"event {last + 1} is" if recorded.seq == last + 2 else f"events {last + 1} to {recorded.seq - 1} are"
            yield _at(recorded, FindingName.SEQ_GAP, f"{missing} not in the log")
        elif recorded.seq <= last or recorded.seq < 1:
            yield _at(recorded, FindingName.INSERTED, f"event {recorded.seq} comes after event {last}")
        if before is not None and recorded.at < before.at:
            yield _at(recorded, FindingName.BACKDATED, f"is of {recorded.at}, before event {last} of {before.at}")


def _at(recorded: Recorded, name: FindingName, detail: str) -> Finding:
    return Finding(name, recorded.job_id, recorded.seq, None, detail)


def _wrong_actor(recorded: Recorded, worker: str | None) -> str | None:
    """Returns the fault if a worker wrote for another worker's attempt, else None.

    `evolve` does not check the actor.
    """
    by_its_worker = recorded.actor == f"worker:{worker}"
    match recorded.event:
        case Started(name) if recorded.actor != f"worker:{name}":
            return f"{recorded.actor} says that {name} has started"
        case Progress() | Completed() | Queued("worker_shutdown") if not by_its_worker:
            return f"{recorded.actor} speaks for an attempt that it does not run"
        case Failed() if recorded.actor.startswith("worker:") and not by_its_worker:
            return f"{recorded.actor} speaks for an attempt that it does not run"
        case _:
            return None


def _not_as_written(recorded: Recorded, text: str) -> Iterator[str]:
    """Yields the differences between an event's stored data and what the service would write."""
    written = event_data(recorded.event, recorded.at)
    if text.encode() == orjson.dumps(written):
        return
    try:
        stored = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        yield f"data are not as they are written: {error}"
        return
    unknown, missing = sorted(stored.keys() - written.keys()), sorted(written.keys() - stored.keys())
    if unknown:
        yield f"data have unknown keys: {', '.join(map(repr, unknown))}"
    if missing:
        yield f"data lack keys: {', '.join(missing)}"
    for key in sorted(stored.keys() & written.keys()):
        # The stored value must also have the form that the service writes: a time has microseconds, for example.
        if not _same(orjson.loads(orjson.dumps(written[key])), stored[key]):
            yield f"{key} in data is not in the form in which it is written"


def _unique_keys(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"a key stands twice: {', '.join(map(repr, twice))}")
    return dict(pairs)


def _same(shown: Any, folded: Any) -> bool:
    # Values are compared as JSON text, because 1, 1.0 and True are equal in Python and different in JSON.
    if _is_json(shown) or _is_json(folded):
        try:
            return orjson.dumps(shown, option=orjson.OPT_SORT_KEYS) == orjson.dumps(folded, option=orjson.OPT_SORT_KEYS)
        except TypeError:
            return False  # a number that orjson cannot write, so the service has not written it
    return bool(shown == folded)


def _is_json(value: Any) -> bool:
    return isinstance(value, dict | list | int | float)


# The log ----------------------------------------------------------------------------------------------------------------------


async def _check_log(connection: Connection, verified: Verified) -> None:
    wrong = list(missing_guards(await guards(connection)))
    verified.add(Finding(FindingName.GUARD_MISSING, None, None, None, detail) for detail in wrong)
    if wrong:
        async for row in connection.cursor(TWICE, prefetch=1000):
            verified.add([Finding(FindingName.INSERTED, None, None, row["position"], row["detail"])])
    await _check_positions(connection, verified)
    async for row in connection.cursor(WITHOUT_POSITION, prefetch=1000):
        detail = "has no position, though the log was numbered beyond it"
        verified.add([Finding(FindingName.INSERTED, row["job_id"], row["seq"], None, detail)])
    async for row in connection.cursor(OUT_OF_ORDER, prefetch=1000):
        detail = "its position comes after that of a later event of its job"
        verified.add([Finding(FindingName.REORDERED, row["job_id"], row["seq"], row["position"], detail)])
    verified.unsealed = await connection.fetchval(UNSEALED)


async def _check_positions(connection: Connection, verified: Verified) -> None:
    """Checks that the positions are 1, 2, 3 … up to the sealer's cursor, each with its event."""
    last, last_event = verified.last_position, await connection.fetchval(LAST_EVENT) or 0
    cursors = [row["position"] for row in await connection.fetch(CURSOR)]
    if not cursors:
        detail = "the sealer's cursor, which holds the last position that was given, is gone"
        verified.add([Finding(FindingName.TRUNCATED_TAIL, None, None, None, detail)])
    given = max([last, *cursors])
    if given > last_event:
        detail = f"positions {last_event + 1} to {given} were given, and their events are not in the log"
        verified.add([Finding(FindingName.TRUNCATED_TAIL, None, None, last_event + 1, detail)])
    if cursors and last > max(cursors):
        detail = f"positions {max(cursors) + 1} to {last} are beyond the sealer's cursor"
        verified.add([Finding(FindingName.INSERTED, None, None, max(cursors) + 1, detail)])
    async for row in connection.cursor(PLACES, prefetch=1000):
        before, position = row["before"], row["position"]
        if position <= before:
            verified.add(
                [Finding(FindingName.INSERTED, None, None, position, f"position {position} is given twice or below 1")]
            )
        elif position <= last_event:
            detail = f"positions {before + 1} to {position - 1} are missing"
            verified.add([Finding(FindingName.MISSING, None, None, before + 1, detail)])
    async for row in connection.cursor(POINTS_NOWHERE, last_event, prefetch=1000):
        detail = f"position {row['position']} points to an event that is not in the log"
        verified.add([Finding(FindingName.MISSING, row["job_id"], row["seq"], row["position"], detail)])


async def _placed(connection: Connection, findings: list[Finding]) -> list[Finding]:
    """Returns the findings, and adds the position to each finding that names an event."""
    events = [(each.job_id, each.seq) for each in findings if each.seq is not None]
    rows = await connection.fetch(POSITIONS, [job_id for job_id, _ in events], [seq for _, seq in events])
    positions = {(row["job_id"], row["seq"]): row["position"] for row in rows}
    return [
        each if each.position is not None else each._replace(position=positions.get((each.job_id or "", each.seq)))
        for each in findings
    ]
