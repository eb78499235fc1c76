"""Describes jobs for people: the job documents with names of companies and rooms."""

from collections.abc import Iterable, Sequence
from typing import Literal

from typing_extensions import TypedDict

from events.database import Database
from events.job import Job, rfc3339
from service.api.documents import Id, JobDocument, RoomId, Time, job_json
from workers.chatwork.rooms import names_of_rooms
from workers.description import Part, TheCompany, ThePeriod, TheRoom
from workers.registry import described
from workers.summaries.companies import names_of_companies


class TextPart(TypedDict):
    kind: Literal["text"]
    text: str


class CompanyPart(TypedDict):
    kind: Literal["company"]
    id: Id
    name: str | None
    """Null if there is no such company."""


class RoomPart(TypedDict):
    kind: Literal["room"]
    roomId: RoomId
    name: str | None
    """Null if no sync has found the room."""


class PeriodPart(TypedDict):
    kind: Literal["period"]
    start: Time
    end: Time
    """The end is not part of the period."""


DescriptionPart = TextPart | CompanyPart | RoomPart | PeriodPart


class DescribedJobDocument(JobDocument):
    description: list[DescriptionPart]
    """What the job is about, in the words of its type. Empty if the type has no words for it."""


async def described_jobs(database: Database, jobs: Sequence[Job], *, with_stack: bool) -> list[DescribedJobDocument]:
    """Returns the documents of these jobs in their order, with at most two queries for names."""
    parts = [described(job.type, job.payload) for job in jobs]
    companies, rooms = await _names(database, [part for of_job in parts for part in of_job])
    return [
        {**job_json(job, with_stack=with_stack), "description": [_part_json(part, companies, rooms) for part in of_job]}
        for job, of_job in zip(jobs, parts, strict=True)
    ]


async def _names(database: Database, parts: Iterable[Part]) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the names of all companies and rooms in these parts, by their ids."""
    companies: set[str] = set()
    rooms: set[str] = set()
    for part in parts:
        match part:
            case TheCompany(company_id):
                companies.add(company_id)
            case TheRoom(room_id):
                rooms.add(room_id)
    return (
        await names_of_companies(database, sorted(companies)) if companies else {},
        await names_of_rooms(database, sorted(rooms)) if rooms else {},
    )


def _part_json(part: Part, companies: dict[str, str], rooms: dict[str, str]) -> DescriptionPart:
    match part:
        case TheCompany(company_id):
            return {"kind": "company", "id": company_id, "name": companies.get(company_id)}
        case TheRoom(room_id):
            return {"kind": "room", "roomId": room_id, "name": rooms.get(room_id)}
        case ThePeriod(start, end):
            return {"kind": "period", "start": rfc3339(start), "end": rfc3339(end)}
        case text:
            return {"kind": "text", "text": text}
