"""The Chatwork endpoints queue syncs, with and without keys, and read rooms and messages."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from events.database import Database
from events.job import complete, start
from tests.http_client import http_client
from tests.job_types import capacity_for
from tests.service_fixture import Service, make_context, service, serving, user_of
from workers.chatwork.answers import Unreadable
from workers.chatwork.unreadable import store_unreadable

__all__ = ["service"]

ROOMS_SYNC, MESSAGES_SYNC = "/api/chatwork/rooms/sync", "/api/chatwork/messages/sync"
SENT_AT = datetime(2026, 11, 23, 9, tzinfo=UTC)


async def test_a_sync_belongs_to_the_admin_who_queued_it(service: Service) -> None:
    answer = await service.as_admin.post(f"{MESSAGES_SYNC}?roomId=7&roomLimit=3", headers={"X-Request-Id": "r-1"})

    assert answer.status_code == 202
    assert answer.json() == {"jobId": answer.json()["jobId"], "status": "queued"}
    assert answer.headers["location"] == f"/api/jobs/{answer.json()['jobId']}"
    job = await service.context.jobs.get(answer.json()["jobId"])
    assert job is not None
    assert (job.type, job.payload, job.user_id, job.max_attempts) == (
        "chatwork_messages_sync", {"roomId": "7", "roomLimit": 3}, service.admin.id, 5,
    )  # fmt: skip
    assert [claim.id.job_id for claim in await service.context.wire.claim(capacity_for(9, job.type))] == [job.id]
    assert await service.context.database.fetch_val("select request_id from job_events") == "r-1"


async def test_only_admins_may_use_the_chatwork_endpoints(service: Service) -> None:
    room = "/api/chatwork/rooms/0190b1a0-0000-7000-8000-000000000000"
    refused = [
        await service.as_employee.post(ROOMS_SYNC),
        await service.as_employee.post(MESSAGES_SYNC),
        await service.as_employee.get("/api/chatwork/rooms"),
        await service.as_employee.get(f"{room}/messages"),
        await service.as_employee.patch(room, json={"isActive": False}),
    ]

    assert [answer.status_code for answer in refused] == [403] * 5
    assert await jobs(service) == 0


async def test_a_sync_without_a_chatwork_token_gets_400(service: Service) -> None:
    context = make_context(service.context.database, service.context.bus, service.context.store)

    async with serving(context) as url, http_client(url, headers=service.as_admin.headers) as client:
        answers = [await client.post(address) for address in (ROOMS_SYNC, MESSAGES_SYNC)]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert "CHATWORK_API_TOKEN" in answers[0].json()["detail"]
    assert await jobs(service) == 0


async def test_a_second_sync_request_gets_the_active_job(service: Service) -> None:
    second_admin = await user_of(service.context.database, "second@example.com", "admin", "second")
    headers = {"Authorization": f"Bearer {service.context.users.new_token(second_admin)}"}

    first = (await service.as_admin.post(ROOMS_SYNC)).json()
    async with http_client(service.url, headers=headers) as client:
        second = await client.post(ROOMS_SYNC)

    assert (second.status_code, second.json()) == (202, first)
    assert await jobs(service) == 1


async def test_syncs_with_different_payloads_are_different_jobs(service: Service) -> None:
    ids = {
        (await service.as_admin.post(f"{MESSAGES_SYNC}{query}")).json()["jobId"]
        for query in ("", "?roomId=7", "?roomId=8", "?roomLimit=7", "?roomId=7")
    }

    assert len(ids) == 4


async def test_a_repeated_key_gives_the_first_job_even_after_its_end(service: Service) -> None:
    key = [(b"Idempotency-Key", "同期-1".encode())]
    first = (await service.as_admin.post(ROOMS_SYNC, headers=key)).json()["jobId"]
    job = await service.context.jobs.get(first)
    assert job is not None
    await service.run(
        job,
        lambda job: start(job, attempt=1, worker="w1"),
        lambda job: complete(job, attempt=1, worker="w1", result={}),
    )

    again = await service.as_admin.post(ROOMS_SYNC, headers=key)
    without = await service.as_admin.post(ROOMS_SYNC)

    assert (again.status_code, again.json()) == (202, {"jobId": first, "status": "completed"})
    assert without.json()["jobId"] != first


async def test_a_hundred_requests_with_one_key_at_once_are_one_job(service: Service) -> None:
    key = {"Idempotency-Key": "k"}

    answers = await asyncio.gather(*(service.as_admin.post(f"{MESSAGES_SYNC}?roomId=7", headers=key) for _ in range(100)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["jobId"] for answer in answers}) == 1
    assert await jobs(service) == 1


async def test_a_key_with_another_request_is_refused_and_nothing_is_written(service: Service) -> None:
    key = {"Idempotency-Key": "k"}
    await service.as_admin.post(f"{MESSAGES_SYNC}?roomId=7", headers=key)

    others = [
        await service.as_admin.post(f"{MESSAGES_SYNC}?roomId=8", headers=key),
        await service.as_admin.post(ROOMS_SYNC, headers=key),
    ]

    assert [answer.status_code for answer in others] == [422, 422]
    assert others[0].json()["errors"][0]["path"] == "Idempotency-Key"
    assert await jobs(service) == 1


async def test_a_key_of_a_shared_job_stays_with_that_job(service: Service) -> None:
    key = {"Idempotency-Key": "k"}
    active = (await service.as_admin.post(ROOMS_SYNC)).json()["jobId"]
    shared = (await service.as_admin.post(ROOMS_SYNC, headers=key)).json()["jobId"]
    await service.as_admin.post(f"/api/jobs/{active}/cancel")

    again = (await service.as_admin.post(ROOMS_SYNC, headers=key)).json()

    assert shared == active
    assert again == {"jobId": active, "status": "canceled"}


async def test_one_key_of_two_users_is_two_jobs(service: Service) -> None:
    second_admin = await user_of(service.context.database, "second@example.com", "admin", "second")
    headers = {"Authorization": f"Bearer {service.context.users.new_token(second_admin)}", "Idempotency-Key": "k"}
    first = (await service.as_admin.post(f"{MESSAGES_SYNC}?roomId=7", headers={"Idempotency-Key": "k"})).json()["jobId"]

    async with http_client(service.url, headers=headers) as client:
        second = (await client.post(f"{MESSAGES_SYNC}?roomId=8")).json()["jobId"]

    assert first != second


async def test_a_bad_key_or_a_bad_query_is_refused_by_name(service: Service) -> None:
    told = {
        "empty key": await service.as_admin.post(ROOMS_SYNC, headers={"Idempotency-Key": ""}),
        "long key": await service.as_admin.post(ROOMS_SYNC, headers={"Idempotency-Key": "k" * 256}),
        "two keys": await service.as_admin.post(ROOMS_SYNC, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")]),
        "roomId": await service.as_admin.post(f"{MESSAGES_SYNC}?roomId=seven"),
        "roomLimit": await service.as_admin.post(f"{MESSAGES_SYNC}?roomLimit=0"),
        "body": await service.as_admin.post(ROOMS_SYNC, json={"roomId": "7"}),
    }

    assert {name: answer.json()["errors"][0]["path"] for name, answer in told.items()} == {
        "empty key": "Idempotency-Key",
        "long key": "Idempotency-Key",
        "two keys": "Idempotency-Key",
        "roomId": "roomId",
        "roomLimit": "roomLimit",
        "body": "roomId",
    }
    assert await jobs(service) == 0


async def test_rooms_are_listed_and_their_sync_is_switched_off(service: Service) -> None:
    stored_id = await room(service.context.database, "7", "営業")

    changed = await service.as_admin.patch(f"/api/chatwork/rooms/{stored_id}", json={"isActive": False})
    listed = await service.as_admin.get("/api/chatwork/rooms")

    assert changed.status_code == 200
    assert listed.json() == {"rooms": [changed.json()["room"]]}
    assert changed.json()["room"] == {
        "id": stored_id,
        "roomId": "7",
        "name": "営業",
        "description": None,
        "isActive": False,
        "messageCount": 0,
        "lastSyncAt": None,
        "lastMessageId": None,
        "lastErrorAt": None,
        "lastErrorStatus": None,
        "lastErrorMessage": None,
        "errorNeedsReview": False,
        "gaps": [],
    }


async def test_is_active_must_be_a_boolean(service: Service) -> None:
    stored_id = await room(service.context.database, "7", "営業")

    for body in ({"isActive": "no"}, {"isActive": 0}, {"isActive": None}, {}, {"isActive": True, "name": "x"}):
        assert (await service.as_admin.patch(f"/api/chatwork/rooms/{stored_id}", json=body)).status_code == 422
    unknown = "0190b1a0-0000-7000-8000-000000000000"
    assert (await service.as_admin.patch(f"/api/chatwork/rooms/{unknown}", json={"isActive": True})).status_code == 404


async def test_messages_come_in_pages_newest_first(service: Service) -> None:
    stored_id = await room(service.context.database, "7", "営業")
    for number in range(5):
        await message(service.context.database, "7", str(number), SENT_AT + timedelta(minutes=number))

    seen: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(3):
        page = (await service.as_admin.get(f"/api/chatwork/rooms/{stored_id}/messages?limit=2{cursor}")).json()
        seen += page["messages"]
        cursor = f"&cursor={page['nextCursor']}"

    assert page["nextCursor"] is None
    assert [message["messageId"] for message in seen] == ["4", "3", "2", "1", "0"]
    assert seen[4] == {
        "messageId": "0", "sender": "田中", "body": "お疲れ様です", "sentAt": "2026-11-23T09:00:00.000000Z", "companyId": None,
    }  # fmt: skip
    bad = await service.as_admin.get(f"/api/chatwork/rooms/{stored_id}/messages?cursor=x")
    assert (bad.status_code, bad.json()["errors"][0]["path"]) == (400, "cursor")


async def jobs(service: Service) -> int:
    return int(await service.context.database.fetch_val("select count(*) from job_events"))


async def room(database: Database, room_id: str, name: str) -> str:
    """Stores a room as a sync does, and returns its id."""
    query = "insert into chatwork_rooms (room_id, name, is_active) values (:room_id, :name, true) returning id"
    return str(await database.fetch_val(query, {"room_id": room_id, "name": name}))


async def message(database: Database, room_id: str, message_id: str, sent_at: datetime) -> None:
    query = """
    insert into chatwork_messages (room_id, message_id, sender, body, sent_at)
    values (:room_id, :message_id, '田中', 'お疲れ様です', :sent_at)
    """
    await database.execute(query, {"room_id": room_id, "message_id": message_id, "sent_at": sent_at})


async def test_unreadable_messages_are_an_error_until_a_person_confirms_it(service: Service) -> None:
    database = service.context.database
    stored_id = await room(database, "7", "営業")
    await store_unreadable(database, {"7": [Unreadable("message 42", "`body` is missing")]})
    told = (await service.as_admin.get("/api/chatwork/rooms")).json()["rooms"][0]
    address = f"/api/chatwork/rooms/{stored_id}/error/seen"

    refused = [
        await service.as_employee.post(address, json={"lastErrorAt": told["lastErrorAt"]}),
        await service.as_admin.post(address, json={"lastErrorAt": "now"}),
        await service.as_admin.post(address, json={}),
        await service.as_admin.post(address.replace(stored_id, str(uuid4())), json={"lastErrorAt": told["lastErrorAt"]}),
    ]
    earlier = await service.as_admin.post(address, json={"lastErrorAt": "2020-01-01T00:00:00Z"})
    seen = await service.as_admin.post(address, json={"lastErrorAt": told["lastErrorAt"]})

    assert told["errorNeedsReview"]
    assert "message 42 (`body` is missing)" in told["lastErrorMessage"]
    assert [answer.status_code for answer in refused] == [403, 422, 422, 404]
    assert earlier.json() == {"room": told}
    assert seen.json()["room"] == told | {"errorNeedsReview": False, "lastErrorAt": None, "lastErrorMessage": None}


async def test_the_gaps_of_a_room_are_listed_newest_first(service: Service) -> None:
    database = service.context.database
    stored_id = await room(database, "7", "営業")
    await database.execute(
        """
        insert into chatwork_gaps (room_id, after_message_id, before_message_id, reason, after_at, before_at, found_at)
        values ('7', null, '5', 'plan', null, '2026-11-23T09:00:00Z', now()),
            ('7', '9', '1000', 'over_100', '2026-11-23T10:00:00Z', '2026-11-23T11:00:00Z', now())
        """
    )

    listed = (await service.as_admin.get("/api/chatwork/rooms")).json()["rooms"][0]["gaps"]
    patched = (await service.as_admin.patch(f"/api/chatwork/rooms/{stored_id}", json={"isActive": True})).json()["room"]["gaps"]

    assert listed == patched == [
        {"afterMessageId": "9", "beforeMessageId": "1000", "reason": "over_100",
         "afterAt": "2026-11-23T10:00:00.000000Z", "beforeAt": "2026-11-23T11:00:00.000000Z"},
        {"afterMessageId": None, "beforeMessageId": "5", "reason": "plan",
         "afterAt": None, "beforeAt": "2026-11-23T09:00:00.000000Z"},
    ]  # fmt: skip


async def test_a_message_without_a_sender_has_sender_null(service: Service) -> None:
    database = service.context.database
    stored_id = await room(database, "7", "営業")
    await message(database, "7", "4", SENT_AT)
    await database.execute("update chatwork_messages set sender = null")

    page = await service.as_admin.get(f"/api/chatwork/rooms/{stored_id}/messages")

    assert [each["sender"] for each in page.json()["messages"]] == [None]
