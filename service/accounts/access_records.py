"""The record of access: who read, exported, verified, operated or changed what.

Reads are recorded only of other people's jobs. Changes are those of accounts, companies and rooms.
A change of a job is an event of the log and is not repeated here.

The table `access_records` is append-only. Reads are recorded by what was asked for, not by each row
of the answer. The page asks again every few seconds, so the same read by the same person is recorded
once in `QUIET_FOR` seconds by each process; everything else is recorded each time.

A process that cannot write a record logs the same facts and goes on: a database that refuses the
record must not keep an admin from stopping a harmful job.
"""

import asyncio
import base64
import binascii
import time
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

from events.database import DATABASE_ERRORS, Database, Row

log = structlog.get_logger("rireki.access")

WRITTEN_WITHIN = 2.0  # seconds in which the database must write a record
QUIET_FOR = 60.0  # seconds in which the same read is recorded once
MOST_REMEMBERED = 10_000  # how many reads a process remembers, so that it does not record them again
LONGEST_TARGET = 4_000  # characters

WRITE = """
insert into access_records (actor, action, target, request_id, address)
values (:actor, :action, :target, :request_id, :address)
"""

PAGE = """
select id, at, actor, action, target, request_id, address from access_records
where (at, id) < (cast(:before_at as timestamptz), cast(:before_id as bigint))
    and at >= :from and at < :to {filters}
order by at desc, id desc
limit :limit
"""

EARLIEST = datetime.fromisoformat("0001-01-02T00:00:00+00:00")
LATEST = datetime.fromisoformat("9999-12-30T00:00:00+00:00")
GREATEST_ID = 2**63 - 1

OPERATOR = "system:operator"
"""The actor of a command line, which does not know its user's name."""

IDENTITY_PROVIDER = "system:oidc"
"""The actor of a change that the identity provider decides when a person signs in through it."""


class Action(StrEnum):
    """The kind of an access. A stored word keeps its meaning."""

    READ_JOB = "read_job"
    READ_JOBS = "read_jobs"
    WATCH_JOBS = "watch_jobs"
    READ_LOG = "read_log"
    READ_STATE = "read_state"
    EXPORT_JOB = "export_job"
    EXPORT_LOG = "export_log"
    VERIFY_LOG = "verify_log"
    REBUILD_VIEW = "rebuild_view"
    PAUSE_TYPE = "pause_type"
    RESUME_TYPE = "resume_type"
    FORCE_FAIL_JOB = "force_fail_job"
    CHANGE_JOBS = "change_jobs"
    ADD_USER = "add_user"
    CHANGE_USER = "change_user"
    SIGN_USER_OUT = "sign_user_out"
    INVITE_USER = "invite_user"
    ACCEPT_INVITATION = "accept_invitation"
    CHANGE_OWN = "change_own_password"
    LINK_IDENTITY = "link_identity"
    ADD_COMPANY = "add_company"
    CHANGE_COMPANY = "change_company"
    DELETE_DRAFT = "delete_draft"
    LINK_ROOM = "link_room"
    UNLINK_ROOM = "unlink_room"
    SWITCH_ROOM = "switch_room"
    CONFIRM_ROOM_ERROR = "confirm_room_error"


READS = frozenset({Action.READ_JOB, Action.READ_JOBS, Action.WATCH_JOBS, Action.READ_LOG})


@dataclass(frozen=True, slots=True)
class Access:
    """One access. `target` names the object, such as `job:<id>` or `user:<id> role=auditor`."""

    actor: str
    action: Action
    target: str | None = None
    request_id: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class AccessRecord:
    id: int
    at: datetime
    access: Access


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """The conditions on the records of a page. None means any value; `to` is exclusive."""

    actor: str | None = None
    action: Action | None = None
    start: datetime | None = None
    end: datetime | None = None


class BadCursor(ValueError):
    """The text is not a cursor that `page` has returned."""


class AccessRecords:
    """Writes and reads the record of who has read or changed what (`access_records`)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recorded: dict[tuple[str, str, str | None], float] = {}

    async def write(self, access: Access) -> None:
        """Records an access, unless it is a read that was recorded a moment ago. Never raises."""
        if access.action in READS and not self._is_news(access):
            return
        if (fault := await self.try_to_write(access)) is not None:
            log.error("an access could not be recorded in access_records", **_values(access), fault=fault)

    async def try_to_write(self, access: Access) -> str | None:
        """Records an access. Returns None, or the name of the error that prevented it."""
        try:
            async with asyncio.timeout(WRITTEN_WITHIN):
                await self._database.execute(WRITE, _values(access))
        except DATABASE_ERRORS as error:
            return type(error).__name__
        return None

    def _is_news(self, access: Access) -> bool:
        now, key = time.monotonic(), (access.actor, access.action.value, access.target)
        if now - self._recorded.get(key, float("-inf")) < QUIET_FOR:
            return False
        if len(self._recorded) >= MOST_REMEMBERED:
            self._recorded.clear()
        self._recorded[key] = now
        return True

    async def page(
        self, wanted: AccessFilter, *, limit: int, cursor: str | None = None
    ) -> tuple[list[AccessRecord], str | None]:
        """Returns records, newest first, and the cursor of the next page. Raises `BadCursor`."""
        before_at, before_id = (LATEST, GREATEST_ID) if cursor is None else _read_cursor(cursor)
        filters = {"actor": wanted.actor, "action": wanted.action}
        given = {name: value for name, value in filters.items() if value is not None}
        query = PAGE.format(filters="".join(f"and {name} = :{name} " for name in given))
        values = given | {
            "before_at": before_at,
            "before_id": before_id,
            "from": wanted.start or EARLIEST,
            "to": wanted.end or LATEST,
            "limit": limit + 1,
        }
        found = [_record(row) for row in await self._database.fetch_all(query, values)]
        return found[:limit], _cursor(found[limit - 1]) if len(found) > limit else None


def _values(access: Access) -> dict[str, str | None]:
    return {
        "actor": access.actor,
        "action": access.action,
        "target": None if access.target is None else _cut(access.target),
        "request_id": access.request_id,
        "address": access.address,
    }


def _record(row: Row) -> AccessRecord:
    access = Access(row["actor"], row["action"], row["target"], row["request_id"], row["address"])
    return AccessRecord(row["id"], row["at"], access)


def _cut(target: str) -> str:
    return target if len(target) <= LONGEST_TARGET else target[: LONGEST_TARGET - 1] + "…"


def _cursor(record: AccessRecord) -> str:
    return base64.urlsafe_b64encode(f"{record.at.isoformat()} {record.id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        at, _, record_id = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode().partition(" ")
        place = datetime.fromisoformat(at), int(record_id)
    except (binascii.Error, ValueError) as error:
        raise BadCursor(cursor) from error
    if place[0].tzinfo is None or not EARLIEST <= place[0] <= LATEST or not 0 <= place[1] <= GREATEST_ID:
        raise BadCursor(cursor)
    return place
