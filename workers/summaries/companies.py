"""Companies and the Chatwork rooms linked to them. All SQL on these two tables is here.

A stored message belongs to a company if its room is linked to that company and to no other. So
linking and unlinking re-assign the room's messages in the same transaction (`assign_company`).
Every transaction that re-assigns or stores messages first locks the room's row and then reads the
links in a later statement. So of two such transactions the second sees the links that the first
committed.
"""

import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from events.database import ConstraintViolated, Database, Row
from events.job import JSON, rfc3339
from workers.chatwork.messages import assign_company
from workers.outcomes import Final

MAX_NAME = 200

COMPANIES = "select id, name, created_at, archived_at from companies order by name, id"
COMPANY = "select id, name, created_at, archived_at from companies where id = :company_id"
NAMES = "select id, name from companies where id = any(cast(:ids as uuid[]))"
CREATE = """
insert into companies (name) select cast(:name as text)
where not exists (select from companies where normalize(name, NFKC) = normalize(cast(:name as text), NFKC))
returning id, name, created_at, archived_at
"""
RENAME = """
update companies set name = :name where id = :company_id and not exists (
    select from companies where id <> :company_id and normalize(name, NFKC) = normalize(cast(:name as text), NFKC)
)
returning id
"""
# An archived company keeps the time at which it was archived first.
ARCHIVE = "update companies set archived_at = coalesce(archived_at, now()) where id = :company_id"
RESTORE = "update companies set archived_at = null where id = :company_id"
# The unique constraint compares names as written, so it misses two names that differ only in width.
# This lock makes creations take turns, so the second creation sees the name of the first.
ONE_NAME_AT_A_TIME = "select pg_advisory_xact_lock(hashtext('companies.name'))"

LINKED_ROOMS = """
select link.room_id, room.name, link.created_at,
    (select count(*) from chatwork_messages message where message.room_id = link.room_id) as messages
from company_chatwork_rooms link join chatwork_rooms room using (room_id)
where link.company_id = :company_id
order by room.name, link.room_id
"""
LINK = """
insert into company_chatwork_rooms (company_id, room_id) values (:company_id, :room_id) on conflict do nothing
"""
UNLINK = "delete from company_chatwork_rooms where company_id = :company_id and room_id = :room_id returning room_id"


@dataclass(frozen=True, slots=True)
class Company:
    id: str
    name: str
    created_at: datetime
    archived_at: datetime | None = None

    def to_json(self) -> dict[str, JSON]:
        archived_at = None if self.archived_at is None else rfc3339(self.archived_at)
        return {"id": self.id, "name": self.name, "createdAt": rfc3339(self.created_at), "archivedAt": archived_at}


@dataclass(frozen=True, slots=True)
class LinkedRoom:
    """A room linked to a company.

    `room_id` is Chatwork's id; `messages` counts its stored messages.
    """

    room_id: str
    name: str
    linked_at: datetime
    messages: int

    def to_json(self) -> dict[str, JSON]:
        linked_at = rfc3339(self.linked_at)
        return {"roomId": self.room_id, "name": self.name, "linkedAt": linked_at, "messageCount": self.messages}


class UnknownCompany(Final):
    """There is no such company.

    A job that needs the company fails without a retry, because a retry would not find it either.
    """

    def __init__(self, company_id: str) -> None:
        super().__init__(f"there is no company {company_id}")
        self.company_id = company_id


class UnknownRoom(Exception):
    """No sync has found a Chatwork room with this id."""

    def __init__(self, room_id: str) -> None:
        super().__init__(f"there is no Chatwork room {room_id}")
        self.room_id = room_id


class RoomNotLinked(Exception):
    def __init__(self, company_id: str, room_id: str) -> None:
        super().__init__(f"Chatwork room {room_id} is not linked to company {company_id}")
        self.company_id = company_id
        self.room_id = room_id


class CompanyArchived(Exception):
    """The company is archived, so no draft is made of its messages."""

    def __init__(self, company_id: str) -> None:
        super().__init__("this company is archived: restore it first")
        self.company_id = company_id


class NameTaken(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"`name`: there is already a company named {name!r}. Choose another name.")
        self.name = name


class NameNotValid(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"`name` must have 1 to {MAX_NAME} characters, at least one of them visible")
        self.name = name


async def list_companies(database: Database) -> list[Company]:
    """Returns all companies, ordered by name."""
    return [_company(row) for row in await database.fetch_all(COMPANIES)]


async def names_of_companies(database: Database, company_ids: Sequence[str]) -> dict[str, str]:
    """Returns the names of the companies that exist, by their ids."""
    return {row["id"]: row["name"] for row in await database.fetch_all(NAMES, {"ids": company_ids})}


async def get_company(database: Database, company_id: str) -> Company:
    """Returns the company with this id. Raises `UnknownCompany`."""
    row = await database.fetch_one(COMPANY, {"company_id": company_id})
    if row is None:
        raise UnknownCompany(company_id)
    return _company(row)


async def create_company(database: Database, name: str) -> Company:
    """Adds a company. White space around its name is dropped.

    Two names are the same if their NFKC forms are equal: width and composition make no difference.

    Raises: `NameTaken`; `NameNotValid` for a name that is too long, empty, or has no visible
    character.
    """
    _must_be_visible(name)
    async with _translated(name=name.strip()), database.transaction():
        await database.execute(ONE_NAME_AT_A_TIME)
        row = await database.fetch_one(CREATE, {"name": name.strip()})
    if row is None:
        raise NameTaken(name.strip())
    return _company(row)


async def change_company(database: Database, company_id: str, *, name: str | None, archived: bool | None) -> Company:
    """Renames, archives or restores a company. None changes nothing.

    Raises: `UnknownCompany`; `NameTaken` and `NameNotValid` as `create_company`.
    """
    async with _translated(name=(name or "").strip()), database.transaction():
        await get_company(database, company_id)
        if name is not None:
            _must_be_visible(name)
            await database.execute(ONE_NAME_AT_A_TIME)
            if await database.fetch_one(RENAME, {"company_id": company_id, "name": name.strip()}) is None:
                raise NameTaken(name.strip())
        if archived is not None:
            await database.execute(ARCHIVE if archived else RESTORE, {"company_id": company_id})
        return await get_company(database, company_id)


async def linked_rooms(database: Database, company_id: str) -> list[LinkedRoom]:
    """Returns the rooms linked to a company, ordered by name. Raises `UnknownCompany`."""
    await get_company(database, company_id)
    rows = await database.fetch_all(LINKED_ROOMS, {"company_id": company_id})
    return [LinkedRoom(row["room_id"], row["name"], row["created_at"], row["messages"]) for row in rows]


async def link_room(database: Database, company_id: str, room_id: str) -> LinkedRoom:
    """Links a room to a company. Linking it again changes nothing.

    Raises `UnknownCompany`, `UnknownRoom`.
    """
    async with _translated(company_id=company_id, room_id=room_id), database.transaction():
        await database.execute(LINK, {"company_id": company_id, "room_id": room_id})
        await assign_company(database, room_id)
        rooms = await linked_rooms(database, company_id)
    return next(room for room in rooms if room.room_id == room_id)


async def unlink_room(database: Database, company_id: str, room_id: str) -> None:
    """Removes the link of a room. Raises `UnknownCompany`, `RoomNotLinked`."""
    await get_company(database, company_id)
    async with database.transaction():
        if await database.fetch_one(UNLINK, {"company_id": company_id, "room_id": room_id}) is None:
            raise RoomNotLinked(company_id, room_id)
        await assign_company(database, room_id)


@asynccontextmanager
async def _translated(*, name: str = "", company_id: str = "", room_id: str = "") -> AsyncIterator[None]:
    """Translates the violation of a named constraint into an exception of this module."""
    refusals: dict[str, Exception] = {
        "no_two_companies_have_the_same_name": NameTaken(name),
        "a_company_name_has_1_to_200_characters": NameNotValid(name),
        "a_link_belongs_to_a_company": UnknownCompany(company_id),
        "a_link_leads_to_a_chatwork_room": UnknownRoom(room_id),
    }
    try:
        yield
    except ConstraintViolated as error:
        refusal = refusals.get(error.constraint_name or "")
        if refusal is None:
            raise
        raise refusal from error


def _must_be_visible(name: str) -> None:
    """Raises `NameNotValid` for a name without a visible character."""
    if all(unicodedata.category(character)[0] in "CMZ" for character in name):
        raise NameNotValid(name)


def _company(row: Row) -> Company:
    return Company(row["id"], row["name"], row["created_at"], row["archived_at"])
