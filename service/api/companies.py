"""Companies, the Chatwork rooms linked to them, and summary drafts of their messages."""

from typing import Any

from pydantic import ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

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


class NewLink(Fields):
    room_id: RoomId


class DraftRequest(DraftPeriod):
    model_config = ConfigDict(populate_by_name=False)


class CompanyDocument(TypedDict):
    id: Id
    name: str
    createdAt: Time


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
    tokenUsage: dict[str, Any] | None
    expiresAt: Time


class Drafts(TypedDict):
    drafts: list[DraftDocument]


class CachedDraft(TypedDict):
    cached: bool
    draft: DraftDocument


async def list_companies(call: Call[Nothing, Nothing]) -> Response:
    return json_answer({"companies": [company.to_json() for company in await companies.list_companies(call.context.database)]})


async def create_company(call: Call[Nothing, NewCompany]) -> Response:
    company = await companies.create_company(call.context.database, call.body.name)
    await call.record(Action.ADD_COMPANY, f"company:{company.id}")
    return json_answer({"company": company.to_json()}, 201)


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
        draft = await drafts.current_draft(call.context.database, company.id, period.period)
        if draft is not None:
            return json_answer({"cached": True, "draft": draft.to_json()})
        return SummaryDraftPayload(company_id=company.id, period_start=period.period_start, period_end=period.period_end)

    return await enqueue_for(call, SUMMARY_DRAFT.name, payload_or_current_draft)


async def list_drafts(call: Call[Nothing, Nothing]) -> Response:
    company = await companies.get_company(call.context.database, _company_id(call))
    found = await drafts.list_drafts(call.context.database, company.id)
    return json_answer({"drafts": [draft.to_json() for draft in found]})


def _company_id(call: Call[Any, Any]) -> str:
    return read_id(call.path("id"))


def _about_the_company(pointer: str) -> dict[str, dict[str, str]]:
    """Returns OpenAPI links from a response to the endpoints that take a company id.

    The company's id is in the body of the response, at the JSON pointer `pointer`.
    """
    names = ("list_linked_rooms", "link_room", "draft_summary", "list_drafts")
    return {name: {"id": f"$response.body#{pointer}"} for name in names}


ABOUT_THE_LINK = {"unlink_room": {"id": "$request.path.id", "roomId": "$response.body#/room/roomId"}}
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
        body=DraftRequest, problems=(404,), queues=True,
    ),
    Endpoint(
        "GET", "/api/companies/{id}/summaries/drafts", list_drafts, Who.SIGNED_IN, "A company's drafts.",
        {200: Answer(Drafts, "The drafts, newest first, expired ones included.")}, problems=(404,),
    ),
)  # fmt: skip
