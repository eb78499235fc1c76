"""Signs checkpoints of the log, keeps them, and begins new logs.

Tables: `log_origins` (the row with the highest number is the current log), `checkpoints`, `cosignatures`, `signing_state` (one
row: whether the last signer signed). `log_origins`, `checkpoints` and `cosignatures` are append-only.

What always holds:

1. One process signs at a time: it holds `SIGNING`, a lock of its transaction, from before it reads until it commits.
2. A process gives a note to others only after its row is committed, and exactly as the row has it. So a copy outside never
   differs from the row of its size, as long as the database was not set back to an earlier state.
3. Before a signer makes a note, it proves that the tree extends the last row of this log, and each checkpoint that the caller
   knows: the newest copy outside, and the last one that its process signed or saw. So a database that was set back signs
   nothing, until its tree extends these again, or `begin_log` names a new log.
4. Sizes of a log only grow, and each size has one root: the primary key and the trigger `checkpoints_grow` refuse others.
5. Only the current log is signed. `begin_log` takes the same lock, so no note of the old log follows.

If a commit gets no answer, nobody knows whether the row exists. The caller adds the checkpoint to those that it knows (3). The
next try finds the row, or signs a checkpoint that extends this one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from events.database import Connection, Database
from events.positions import places
from projections import tree
from projections.proof.checkpoint import Checkpoint
from projections.proof.merkle import EMPTY_ROOT, is_consistent
from projections.proof.succession import ABANDONS, FOLLOWS, extension

SIGNING = 0x7369676E  # the key of the advisory lock; in ASCII it reads "sign"
MOST_SEARCHED = 1_000  # checkpoints of an old log that are compared with the tree when a new log begins

TRY_LOCK = "select pg_try_advisory_xact_lock($1)"
WAIT_FOR_LOCK = "select pg_advisory_xact_lock($1)"

LOG = """
select number, origin, began_at, reason, old_origin, old_size, old_root, abandoned_size, abandoned_root
from log_origins order by number desc limit 1
"""

# A restore to an earlier point in time and the promotion of a replica begin a new timeline. A dump that is read into another
# cluster has another system identifier.
PLACE = """
select s.system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) from pg_control_system() s
"""

COLUMNS = "origin, size, root, note, signed_at, copied_at"
NEWEST = f"select {COLUMNS} from checkpoints where origin = $1 order by size desc limit 1"
NEWEST_ONES = f"select {COLUMNS} from checkpoints where origin = $1 order by size desc limit $2"
WITHOUT_COPY = f"""
select {COLUMNS} from checkpoints c where copied_at is null
order by (select number from log_origins o where o.origin = c.origin) desc, size
limit $1
"""
COSIGNATURES = "select line from cosignatures where origin = $1 and size = $2 order by witness"

ADD = f"insert into checkpoints (origin, size, root, note) values ($1, $2, $3, $4) returning {COLUMNS}"
ADD_COPY_TIME = """
update checkpoints set copied_at = clock_timestamp() where origin = $1 and size = $2 and copied_at is null
"""
ADD_COSIGNATURE = """
insert into cosignatures (origin, size, witness, line) values ($1, $2, $3, $4)
on conflict (origin, size, witness) do nothing
"""
ADD_LOG = """
insert into log_origins (number, origin, reason, old_origin, old_size, old_root, abandoned_size, abandoned_root)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""

SET_STATE = """
update signing_state set state = $1, detail = $2, copies = $3, since = clock_timestamp()
where (state, detail, copies) is distinct from ($1, $2, $3)
"""

# The number of sealed events without a checkpoint, the age of the newest checkpoint in seconds, and the place of the log
# (`PLACE`).
UNSIGNED = """
select c.position - coalesce(k.size, 0) as events, extract(epoch from clock_timestamp() - k.signed_at)::float8 as age,
    (select s.system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) from pg_control_system() s) as place
from job_event_log_cursor c
left join lateral (
    select size, signed_at from checkpoints
    where origin = (select origin from log_origins order by number desc limit 1)
    order by size desc limit 1
) as k on true
"""

FIRST_UNSIGNED = places(after="coalesce(k.size, 0)", until="(coalesce(k.size, 0) + 1)")

STATUS = f"""
select l.origin, l.began_at, c.position as sealed, k.size, k.root, k.signed_at, k.copied_at,
    extract(epoch from clock_timestamp() - k.signed_at)::float8 as age,
    (select min(f.signed_at) from checkpoints f where f.origin = l.origin) as first_signed_at,
    (select count(*) from cosignatures s where s.origin = l.origin and s.size = k.size) as cosignatures,
    w.uncopied, w.copy_lag, s.state, s.detail, s.copies, s.since,
    case when c.position > coalesce(k.size, 0) then (
        select extract(epoch from clock_timestamp() - e.at)::float8
        from {FIRST_UNSIGNED} as p join job_events e on e.job_id = p.job_id and e.seq = p.seq
    ) end as lag
from (select * from log_origins order by number desc limit 1) as l
cross join job_event_log_cursor c
cross join signing_state s
cross join (
    select count(*) as uncopied, extract(epoch from clock_timestamp() - min(signed_at))::float8 as copy_lag
    from checkpoints where copied_at is null
) as w
left join lateral (select * from checkpoints where origin = l.origin order by size desc limit 1) as k on true
"""


class NoLog(RuntimeError):
    """The row of `log_origins` is gone, so nobody knows the log's name."""


class Inconsistent(RuntimeError):
    """The tree does not extend a checkpoint that was signed before, so signing stops.

    `known` is that checkpoint.
    """

    def __init__(self, known: "Known", size: int) -> None:
        checkpoint = known.checkpoint
        how = "has only" if checkpoint.size > size else "differs from it, with"
        super().__init__(
            f"the log {checkpoint.origin} does not extend the checkpoint of size {checkpoint.size} that is known from"
            f" {known.source}: it {how} {size} sealed events. After a restore or a promotion, begin a new log with `rireki audit"
            " new-log --reason TEXT`. Otherwise somebody has changed the log: find out what, with `rireki audit verify`"
        )
        self.known = known


class AnotherLog(RuntimeError):
    """The key signs for another log than the current one."""

    def __init__(self, named: str, origin: str) -> None:
        super().__init__(
            f"the signing key is for the log {named}, and the log of this database is {origin}: make a key for it with `rireki"
            " audit keygen`, set AUDIT_SIGNING_KEY or AUDIT_SIGNING_KEY_FILE to it, and restart"
        )


class Moved(RuntimeError):
    """The database was restored, or failed over, since the caller read its place."""


class SigningState(StrEnum):
    UNKNOWN = "unknown"
    """No signer has run yet."""
    SIGNING = "signing"
    WAITING = "waiting"
    """Signing cannot go on now. It goes on by itself once the cause in `detail` is gone."""
    STOPPED = "stopped"
    """The tree does not extend an earlier checkpoint."""


@dataclass(frozen=True, slots=True)
class Log:
    """The current log: its number and its name.

    `extensions` are the lines that the log's first note has after the root.
    """

    number: int
    origin: str
    began_at: datetime
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A row of `checkpoints`. `note` has the log's own signatures only."""

    origin: str
    size: int
    root: bytes
    note: str
    signed_at: datetime
    copied_at: datetime | None

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.origin, self.size, self.root)


@dataclass(frozen=True, slots=True)
class Known:
    """A checkpoint that the tree must extend. `source` names the place that it was read from."""

    checkpoint: Checkpoint
    source: str


@dataclass(frozen=True, slots=True)
class Unsigned:
    """The sealed events that wait for a signature.

    `events` is the number of sealed events without a checkpoint. It is below 0 if the newest checkpoint is larger than the log.
    `age` is the age of the newest checkpoint in seconds, or None without one. `place` is the result of `place_of_log`.
    """

    events: int
    age: float | None
    place: str


@dataclass(frozen=True, slots=True)
class SigningStatus:
    """The state of signing, as operators, probes and the page see it.

    All times are in seconds. `age` is the time since the newest checkpoint was signed. `lag` is the time that the oldest sealed
    event without a checkpoint has waited for one, or 0. `copy_lag` is the time that the oldest checkpoint without a copy has
    waited for its copy, or 0. `waiting_copies` and `copy_lag` are 0 if no signer copies checkpoints.
    """

    origin: str
    sealed: int
    newest: SignedCheckpoint | None
    first_signed_at: datetime | None
    cosignatures: int
    age: float | None
    lag: float
    waiting_copies: int
    copy_lag: float
    copies: bool
    state: SigningState
    detail: str
    since: datetime


async def current_log(connection: Connection) -> Log:
    """Returns the current log. Raises `NoLog`."""
    row = await connection.fetchrow(LOG)
    if row is None:
        raise NoLog("the rows of log_origins are gone: restore them from a backup, because they name the log")
    extensions = []
    if row["old_size"] is not None:
        extensions.append(extension(FOLLOWS, Checkpoint(row["old_origin"], row["old_size"], row["old_root"])))
    if row["abandoned_size"] is not None:
        extensions.append(extension(ABANDONS, Checkpoint(row["old_origin"], row["abandoned_size"], row["abandoned_root"])))
    return Log(row["number"], row["origin"], row["began_at"], tuple(extensions))


async def current_origin(connection: Connection) -> str:
    """Returns the name of the current log. Raises `NoLog`."""
    return (await current_log(connection)).origin


async def newest_checkpoint(connection: Connection, origin: str) -> SignedCheckpoint | None:
    row = await connection.fetchrow(NEWEST, origin)
    return None if row is None else SignedCheckpoint(**row)


async def newest_of_current_log(connection: Connection) -> SignedCheckpoint | None:
    """Returns the newest checkpoint of the current log, or None if none is signed yet. Raises `NoLog`."""
    return await newest_checkpoint(connection, await current_origin(connection))


async def with_cosignatures(connection: Connection, signed: SignedCheckpoint) -> str:
    lines = [row["line"] for row in await connection.fetch(COSIGNATURES, signed.origin, signed.size)]
    return signed.note + "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


async def place_of_log(connection: Connection) -> str:
    """Returns a text that a restore or a failover changes: the cluster and its timeline.

    Works only on the primary server.
    """
    return str(await connection.fetchval(PLACE))


async def unsigned(connection: Connection) -> Unsigned:
    """Raises `NoLog`. Works only on the primary server."""
    row = await connection.fetchrow(UNSIGNED)
    if row is None:
        raise NoLog("the row of job_event_log_cursor is gone: restore it from a backup, because sealing needs it")
    return Unsigned(row["events"], row["age"], row["place"])


async def sign(
    connection: Connection,
    named: str,
    make_note: Callable[[str], str],
    known: Iterable[Known],
    *,
    place: str,
    wait: bool = False,
) -> SignedCheckpoint | None:
    """Signs all sealed events that no checkpoint covers yet. Returns the newest checkpoint.

    Returns None if nothing was ever sealed. Call it in a transaction with the isolation `read committed`. `named` is the name
    of the key. `known` are the checkpoints, besides the last row, that the tree must extend. `place` is the result of
    `place_of_log` from before the caller read them. While another process signs, returns None at once, or with `wait` waits for
    that process.

    Raises `Inconsistent`, `AnotherLog`, `Moved`, `NoLog`, `tree.TreeUnfinished`, `tree.TreeDamaged`.
    """
    if wait:
        await connection.execute(WAIT_FOR_LOCK, SIGNING)
    elif not await connection.fetchval(TRY_LOCK, SIGNING):
        return None
    log = await current_log(connection)
    if log.origin != named:
        raise AnotherLog(named, log.origin)
    if await place_of_log(connection) != place:
        raise Moved("the database has moved since the copies were read")
    newest = await newest_checkpoint(connection, log.origin)
    size = await tree.sealed_size(connection)
    root = await tree.root(connection, size)
    in_table = [] if newest is None else [Known(newest.checkpoint, "the table checkpoints")]
    await _prove(connection, log.origin, size, root, [*in_table, *known])
    if newest is not None and newest.size == size:
        return newest
    if size == 0:
        return None
    text = Checkpoint(log.origin, size, root, () if newest is not None else log.extensions).to_text()
    row = await connection.fetchrow(ADD, log.origin, size, root, make_note(text))
    assert row is not None
    return SignedCheckpoint(**row)


async def begin_log(
    connection: Connection, origin: str, reason: str, outside: Sequence[Known]
) -> tuple[Checkpoint, Checkpoint | None]:
    """Begins a new log under another name. Its first note names the old log.

    Call it in a transaction. `outside` holds checkpoints of the old log that are not in the table. Returns two checkpoints of
    the old log. The first is the last one that the tree extends, with size 0 if there is none. The second is the last one that
    the tree does not extend, or None if there is none above the first.

    Raises `NoLog`, `tree.TreeUnfinished`, `tree.TreeDamaged`.
    """
    await connection.execute(WAIT_FOR_LOCK, SIGNING)
    old = await current_log(connection)
    rows = await connection.fetch(NEWEST_ONES, old.origin, MOST_SEARCHED)
    signed = [SignedCheckpoint(**row).checkpoint for row in rows] + [known.checkpoint for known in outside]
    signed.sort(key=lambda checkpoint: checkpoint.size, reverse=True)
    size = await tree.sealed_size(connection)
    abandoned: Checkpoint | None = None
    followed = Checkpoint(old.origin, 0, EMPTY_ROOT)
    for checkpoint in signed:
        if checkpoint.size <= size and await tree.root(connection, checkpoint.size) == checkpoint.root:
            followed = checkpoint
            break
        abandoned = abandoned or checkpoint
    left = (None, None) if abandoned is None else (abandoned.size, abandoned.root)
    await connection.execute(ADD_LOG, old.number + 1, origin, reason, old.origin, followed.size, followed.root, *left)
    return followed, abandoned


async def without_copy(connection: Connection, most: int) -> Sequence[SignedCheckpoint]:
    """Returns up to `most` checkpoints that have no copy outside yet.

    The checkpoints of the current log come first. Those of one log are in the order of their sizes.
    """
    return [SignedCheckpoint(**row) for row in await connection.fetch(WITHOUT_COPY, most)]


async def add_copy_time(connection: Connection, origin: str, size: int) -> None:
    """Records the time at which the checkpoint of this size was copied.

    Does nothing if a time is recorded already.
    """
    await connection.execute(ADD_COPY_TIME, origin, size)


async def add_cosignature(connection: Connection, origin: str, size: int, witness: str, line: str) -> None:
    """Stores the signature line of a witness, unless the witness has a line for this checkpoint."""
    await connection.execute(ADD_COSIGNATURE, origin, size, witness, line)


async def set_signing_state(connection: Connection, state: SigningState, detail: str = "", *, copies: bool) -> None:
    """Stores the state of signing for all processes. Writes only if the state has changed."""
    await connection.execute(SET_STATE, state, detail, copies)


async def signing_status(database: Database) -> SigningStatus:
    """Raises `NoLog`."""
    async with database.raw() as connection:
        row = await connection.fetchrow(STATUS)
        if row is None:
            raise NoLog("the rows of log_origins, of signing_state or of the sealer's cursor are gone")
        newest = await newest_checkpoint(connection, row["origin"])
    return SigningStatus(
        origin=row["origin"],
        sealed=row["sealed"],
        newest=newest,
        first_signed_at=row["first_signed_at"],
        cosignatures=row["cosignatures"],
        age=row["age"],
        lag=max(0.0, row["lag"] or 0.0),
        waiting_copies=row["uncopied"] if row["copies"] else 0,
        copy_lag=row["copy_lag"] or 0.0 if row["copies"] else 0.0,
        copies=row["copies"],
        state=SigningState(row["state"]),
        detail=row["detail"],
        since=row["since"],
    )


async def _prove(connection: Connection, origin: str, size: int, root: bytes, known: Iterable[Known]) -> None:
    """Raises `Inconsistent` unless the tree extends each of these checkpoints of this log."""
    proven: set[tuple[int, bytes]] = set()
    for each in known:
        old = each.checkpoint
        if old.origin != origin or (old.size, old.root) in proven:
            continue
        if old.size > size:
            raise Inconsistent(each, size)
        proof = await tree.consistency(connection, old.size, size)
        if not is_consistent(old.size, old.root, size, root, proof):
            raise Inconsistent(each, size)
        proven.add((old.size, old.root))
