"""Companies, the Chatwork rooms linked to them, and summary drafts of their messages."""

from typing import Any

from pydantic import ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from events.job import rfc3339
from service.accounts.access_records import Action
from service.api.documents import ROOM_ID, ROOM_ID_SCHEMA, Id, RoomId, Time
from service.api.queue_request import Queued, about_the_job, enqueue_for
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import bad_field
from service.http.request import Fields, Nothing, read_id
from workers.summaries import companies, drafts
from workers.summaries.summary_draft import SUMMARY_DRAFT, DraftPeriod, SummaryDraftPayload


class NewCompany(Fields):
    name: str = Field(min_length=1, max_length=companies.MAX_NAME)


class CompanyPatch(Fields):
    name: str | None = Field(default=None, min_length=1, max_length=companies.MAX_NAME)
    archived: bool | None = Field(
        default=None, description="An archived company keeps its rooms and drafts, and gets no new draft until it is restored."
    )


class NewLink(Fields):
    room_id: RoomId


class DraftRequest(DraftPeriod):
    model_config = ConfigDict(populate_by_name=False)


class CompanyDocument(TypedDict):
    id: Id
    name: str
    createdAt: Time
    archivedAt: Time | None


class Companies(TypedDict):
    companies: list[CompanyDocument]


class OneCompany(TypedDict):
    company: CompanyDocument


class LinkedRoomDocument(TypedDict):
    roomId: RoomId
    name: str
    linkedAt: Time
    messageCount: int


class LinkedRooms(TypedDict):
    rooms: list[LinkedRoomDocument]


class OneLinkedRoom(TypedDict):
    room: LinkedRoomDocument


class DraftDocument(TypedDict):
    id: Id
    companyId: Id
    periodStart: Time
    periodEnd: Time
    content: str
    sourceLinks: list[str]
    model: str
    promptVersion: str
    sourceMessageCount: int
    """All messages of the period."""
    usedMessageCount: int | None
    """Those that were read for the draft. Null for a draft of an older version."""
    tokenUsage: dict[str, Any] | None
    expiresAt: Time


class Drafts(TypedDict):
    drafts: list[DraftDocument]


class SourceDocument(TypedDict):
    messageId: str
    roomId: RoomId
    room: Id
    """Our id of the room, as in `GET /api/chatwork/rooms`."""
    roomName: str
    sender: str | None
    sentAt: Time
    body: str


class Sources(TypedDict):
    sources: list[SourceDocument]


class CachedDraft(TypedDict):
    cached: bool
    draft: DraftDocument


async def list_companies(call: Call[Nothing, Nothing]) -> Response:
    return json_answer({"companies": [company.to_json() for company in await companies.list_companies(call.context.database)]})


async def create_company(call: Call[Nothing, NewCompany]) -> Response:
    company = await companies.create_company(call.context.database, call.body.name)
    await call.record(Action.ADD_COMPANY, f"company:{company.id}")
    return json_answer({"company": company.to_json()}, 201)


async def change_company(call: Call[Nothing, CompanyPatch]) -> Response:
    company_id, body = _company_id(call), call.body
    company = await companies.change_company(call.context.database, company_id, name=body.name, archived=body.archived)
    # The record of access holds no names.
    renamed = "" if body.name is None else " name"
    archived = "" if body.archived is None else f" archived={str(body.archived).lower()}"
    await call.record(Action.CHANGE_COMPANY, f"company:{company_id}{renamed}{archived}")
    return json_answer({"company": company.to_json()})


async def list_linked_rooms(call: Call[Nothing, Nothing]) -> Response:
    linked = await companies.linked_rooms(call.context.database, _company_id(call))
    return json_answer({"rooms": [room.to_json() for room in linked]})


async def link_room(call: Call[Nothing, NewLink]) -> Response:
    company_id = _company_id(call)
    room = await companies.link_room(call.context.database, company_id, call.body.room_id)
    await call.record(Action.LINK_ROOM, f"company:{company_id} room:{room.room_id}")
    return json_answer({"room": room.to_json()}, 201)


async def unlink_room(call: Call[Nothing, Nothing]) -> Response:
    company_id, room_id = _company_id(call), call.path("roomId")
    if not ROOM_ID.fullmatch(room_id):
        raise bad_field("roomId", "must be a Chatwork room id: a string of digits", 400)
    await companies.unlink_room(call.context.database, company_id, room_id)
    await call.record(Action.UNLINK_ROOM, f"company:{company_id} room:{room_id}")
    return Response(status_code=204)


async def draft_summary(call: Call[Nothing, DraftRequest]) -> Response:
    company_id, period = _company_id(call), call.body

    async def payload_or_current_draft() -> SummaryDraftPayload | Response:
        company = await companies.get_company(call.context.database, company_id)
        if company.archived_at is not None:
            raise companies.CompanyArchived(company.id)
        draft = await drafts.current_draft(call.context.database, company.id, period.period)
        if draft is not None:
            return json_answer({"cached": True, "draft": draft.to_json()})
        return SummaryDraftPayload(company_id=company.id, period_start=period.period_start, period_end=period.period_end)

    return await enqueue_for(call, SUMMARY_DRAFT.name, payload_or_current_draft)


async def list_drafts(call: Call[Nothing, Nothing]) -> Response:
    company = await companies.get_company(call.context.database, _company_id(call))
    found = await drafts.list_drafts(call.context.database, company.id)
    return json_answer({"drafts": [draft.to_json() for draft in found]})


async def delete_draft(call: Call[Nothing, Nothing]) -> Response:
    company_id, draft_id = _company_id(call), read_id(call.path("draftId"), "draftId")
    await drafts.delete_draft(call.context.database, company_id, draft_id)
    await call.record(Action.DELETE_DRAFT, f"company:{company_id} draft:{draft_id}")
    return Response(status_code=204)


async def list_sources(call: Call[Nothing, Nothing]) -> Response:
    draft_id = read_id(call.path("draftId"), "draftId")
    answer: Sources = {
        "sources": [
            {
                "messageId": source.message_id,
                "roomId": source.room_id,
                "room": source.room,
                "roomName": source.room_name,
                "sender": source.sender,
                "sentAt": rfc3339(source.sent_at),
                "body": source.body,
            }
            for source in await drafts.sources_of(call.context.database, _company_id(call), draft_id)
        ]
    }
    return json_answer(answer)


def _company_id(call: Call[Any, Any]) -> str:
    return read_id(call.path("id"))


def _about_the_company(pointer: str) -> dict[str, dict[str, str]]:
    """Returns OpenAPI links from a response to the endpoints that take a company id.

    The company's id is in the body of the response, at the JSON pointer `pointer`.
    """
    names = ("change_company", "list_linked_rooms", "link_room", "draft_summary", "list_drafts")
    return {name: {"id": f"$response.body#{pointer}"} for name in names}


ABOUT_THE_LINK = {"unlink_room": {"id": "$request.path.id", "roomId": "$response.body#/room/roomId"}}
ABOUT_THE_FIRST_DRAFT = {
    name: {"id": "$request.path.id", "draftId": "$response.body#/drafts/0/id"} for name in ("delete_draft", "list_sources")
}
ROOM_IN_PATH = {"roomId": lambda: ROOM_ID_SCHEMA}

ENDPOINTS = (
    Endpoint(
        "GET", "/api/companies", list_companies, Who.SIGNED_IN, "The companies.",
        {200: Answer(Companies, "The companies by name.", links=_about_the_company("/companies/0/id"))},
    ),
    Endpoint(
        "POST", "/api/companies", create_company, Who.CHANGERS, "Add a company.",
        {201: Answer(OneCompany, "The new company.", links=_about_the_company("/company/id"))},
        body=NewCompany, problems=(409,),
    ),
    Endpoint(
        "PATCH", "/api/companies/{id}", change_company, Who.ADMIN, "Rename, archive or restore a company.",
        {200: Answer(OneCompany, "The company.", links=_about_the_company("/company/id"))}, body=CompanyPatch,
        problems=(404, 409),
    ),
    Endpoint(
        "GET", "/api/companies/{id}/chatwork-rooms", list_linked_rooms, Who.SIGNED_IN, "The rooms linked to a company.",
        {200: Answer(LinkedRooms, "The rooms by name.")}, problems=(404,),
    ),
    Endpoint(
        "POST", "/api/companies/{id}/chatwork-rooms", link_room, Who.ADMIN,
        "Link a room to a company. The company gets the stored messages of a room that has no other link.",
        {201: Answer(OneLinkedRoom, "The linked room.", links=ABOUT_THE_LINK)}, body=NewLink, problems=(404,),
    ),
    Endpoint(
        "DELETE", "/api/companies/{id}/chatwork-rooms/{roomId}", unlink_room, Who.ADMIN, "Unlink a room from a company.",
        {204: Answer(None, "The room is unlinked.")}, problems=(404,), path_schemas=ROOM_IN_PATH,
    ),
    Endpoint(
        "POST", "/api/companies/{id}/summaries/draft", draft_summary, Who.CHANGERS,
        "Queue a summary draft of a period, unless a current one exists.",
        {200: Answer(CachedDraft, "An unexpired draft of the same period and the same number of messages."),
         202: Answer(Queued, "The new job, or the caller's active one for the same period.", links=about_the_job("/jobId"))},
        body=DraftRequest, problems=(404, 409), queues=True,
    ),
    Endpoint(
        "GET", "/api/companies/{id}/summaries/drafts", list_drafts, Who.SIGNED_IN, "A company's drafts.",
        {200: Answer(Drafts, "The drafts, newest first, expired ones included.", links=ABOUT_THE_FIRST_DRAFT)},
        problems=(404,),
    ),
    Endpoint(
        "DELETE", "/api/companies/{id}/summaries/drafts/{draftId}", delete_draft, Who.CHANGERS, "Delete a draft.",
        {204: Answer(None, "The draft is gone.")}, problems=(404,),
    ),
    Endpoint(
        "GET", "/api/companies/{id}/summaries/drafts/{draftId}/sources", list_sources, Who.SIGNED_IN,
        "The messages that a draft rests on, oldest first, as long as they belong to the company.",
        {200: Answer(Sources, "The messages.")}, problems=(404,),
    ),
)  # fmt: skip
