"""Tests of the Chatwork client against a server that makes every fault."""

import asyncio
import gzip
import json
import logging
import socket
import time

import httpx2 as httpx
import pytest

from events.database import Database
from tests.chatwork_server import client_of, sandbox_of
from tests.job_types import until
from workers.chatwork import client
from workers.chatwork.client import Chatwork, ChatworkSettings, NoAnswer, Refused, Unauthorized, Unreadable
from workers.chatwork.rate_limit import RateLimit
from workers.outcomes import Final

MESSAGE = {"message_id": "1", "account": {"account_id": 1, "name": "佐藤"}, "body": "極秘の内容", "send_time": 1793000000}


async def test_the_client_reads_rooms_and_messages(database: Database) -> None:
    async with sandbox_of({"10": ["おはよう"]}) as sandbox, client_of(sandbox, database) as chatwork:
        rooms = await chatwork.rooms()
        messages = await chatwork.messages("10", force=True)

    assert [(room.room_id, room.name, room.description) for room in rooms.items] == [("10", "Room 10", None)]
    assert [(message.sender, message.body, message.sent_at.year) for message in messages.items] == [
        ("Sandbox", "おはよう", 2026)
    ]


async def test_status_204_means_no_new_messages(database: Database) -> None:
    async with sandbox_of({"10": []}) as sandbox, client_of(sandbox, database) as chatwork:
        assert (await chatwork.messages("10")).given == 0


async def test_a_server_error_is_tried_three_times(database: Database) -> None:
    async with sandbox_of({"10": ["おはよう"]}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.fail(status=502, times=2)
        assert (await chatwork.messages("10")).given == 1

        sandbox.fail(status=503, times=4)
        with pytest.raises(Refused, match=r"^Chatwork API error: 503$") as refusal:
            await chatwork.rooms()

    assert refusal.value.status == 503
    assert [request.status for request in sandbox.requests] == [502, 502, 200, 503, 503, 503]


@pytest.mark.parametrize("status", [400, 403, 404, 302, 202])
async def test_any_other_refusal_is_raised_at_once_with_its_status(database: Database, status: int) -> None:
    async with sandbox_of({"10": ["おはよう"]}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.answer(b"{}", status=status, headers={"location": "https://elsewhere.example/"})

        with pytest.raises(Refused, match=f"^Chatwork API error: {status}$") as refusal:
            await chatwork.messages("10")

    assert refusal.value.status == status
    assert len(sandbox.requests) == 1


async def test_a_refused_token_forbids_a_retry(database: Database) -> None:
    async with sandbox_of({"10": []}) as sandbox, client_of(sandbox, database, token="wrong") as chatwork:
        with pytest.raises(Unauthorized, match=r"^Chatwork API error: 401$") as refusal:
            await chatwork.rooms()

    assert isinstance(refusal.value, Final)
    assert refusal.value.status == 401
    assert len(sandbox.requests) == 1


async def test_after_a_lost_answer_the_request_is_repeated_with_force(database: Database) -> None:
    async with sandbox_of({"10": ["おはよう"]}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.drop(given=True)

        messages = await chatwork.messages("10", force=False)

    assert [message.body for message in messages.items] == ["おはよう"]
    assert [request.force for request in sandbox.requests] == [False, True]


async def test_a_request_without_an_answer_is_given_up(database: Database) -> None:
    async with sandbox_of({"10": ["おはよう"]}) as sandbox, client_of(sandbox, database, timeout=0.1) as chatwork:
        sandbox.hang(given=True)
        assert (await chatwork.messages("10")).given == 1

        sandbox.hang(times=3)
        with pytest.raises(NoAnswer, match="no answer from Chatwork"):
            await chatwork.messages("10")


async def test_an_unreachable_server_is_reported_as_no_answer(database: Database) -> None:
    async with sandbox_of({"10": []}) as sandbox:
        pass
    async with client_of(sandbox, database) as chatwork:
        with pytest.raises(NoAnswer, match="ConnectError"):
            await chatwork.rooms()


async def test_the_client_waits_after_status_429_and_uses_up_no_try(database: Database) -> None:
    async with sandbox_of({"10": ["おはよう"]}) as sandbox, client_of(sandbox, database) as chatwork:
        reset = str(int(time.time()) + 1)
        sandbox.fail(status=503, times=2)
        sandbox.answer(b"{}", status=429, headers={"x-ratelimit-reset": reset})

        messages = await chatwork.messages("10")

    assert messages.given == 1
    assert [request.status for request in sandbox.requests] == [503, 503, 429, 200]
    assert time.time() >= int(reset)


async def test_a_request_refused_with_429_is_repeated_without_force(database: Database) -> None:
    async with sandbox_of({"10": ["おはよう"]}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.answer(b"{}", status=429, headers={"x-ratelimit-reset": "0"})

        await chatwork.messages("10")

    assert [(request.status, request.force) for request in sandbox.requests] == [(429, False), (200, False)]


async def test_the_wait_after_status_429_can_be_canceled_and_is_no_busy_loop(database: Database) -> None:
    async def is_blocked() -> bool:
        return bool(await database.fetch_val("select bool_or(blocked_until > now()) from chatwork_budget"))

    async with sandbox_of({"10": ["おはよう"]}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.answer(b"{}", status=429, headers={"x-ratelimit-reset": str(int(time.time()) + 200)})
        reading = asyncio.create_task(chatwork.messages("10"))
        await until(is_blocked)

        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("headers", [{}, {"x-ratelimit-reset": "soon"}, {"x-ratelimit-reset": "9" * 400}])
def test_the_wait_after_status_429_is_bounded_whatever_the_headers_say(headers: dict[str, str]) -> None:
    pause = client._pause(httpx.Headers(headers))

    assert client.SHORTEST_PAUSE <= pause <= client.LONGEST_PAUSE


def test_the_wait_after_status_429_is_measured_by_the_servers_clock() -> None:
    headers = httpx.Headers({"date": "Tue, 24 Nov 2026 09:00:00 GMT", "x-ratelimit-reset": "1795510830"})

    assert client._pause(headers) == 30


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Service unavailable</html>",
        b"",
        b"null",
        b'{"errors": []}',
        b"[" * 100_000,
        json.dumps({"messages": [MESSAGE]}).encode(),
        json.dumps(MESSAGE["body"]).encode(),
        json.dumps([MESSAGE]).encode()[:-1],
        b"\xff\xfe",
    ],
)
async def test_an_answer_of_the_wrong_shape_is_reported_without_its_content(database: Database, body: bytes) -> None:
    async with sandbox_of({"10": []}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.answer(body)

        with pytest.raises(Unreadable, match=r"^Chatwork's answer cannot be read: ") as complaint:
            await chatwork.messages("10")

    assert "極秘" not in str(complaint.value)
    assert complaint.value.__cause__ is None
    assert complaint.value.__suppress_context__


async def test_a_huge_answer_is_not_read_to_its_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST_ANSWER", 2**20)
    async with sandbox_of({"10": []}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.answer(gzip.compress(b" " * 2**24), headers={"content-encoding": "gzip"})

        with pytest.raises(Unreadable, match="longer than 1048576 bytes"):
            await chatwork.messages("10")


async def test_a_broken_compression_is_reported(database: Database) -> None:
    async with sandbox_of({"10": []}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.answer(b"not gzip", headers={"content-encoding": "gzip"})

        with pytest.raises(Unreadable, match="cannot be decompressed"):
            await chatwork.messages("10")


async def test_characters_that_postgresql_cannot_keep_are_replaced(database: Database) -> None:
    halved = json.dumps([MESSAGE | {"body": "NUL \0, half \ud83d, whole 😀", "message_id": "0042"}]).encode()
    async with sandbox_of({"10": []}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.answer(halved)

        [message] = (await chatwork.messages("10")).items

    assert message.body == "NUL \ufffd, half ?, whole 😀"
    assert message.message_id == "42"


async def test_each_request_is_announced_after_its_permit_was_taken(database: Database) -> None:
    announced: list[int] = []

    async def announce() -> bool:
        announced.append(len(sandbox.requests))
        return len(announced) == 2

    async with sandbox_of({"10": ["おはよう"]}) as sandbox, client_of(sandbox, database) as chatwork:
        sandbox.answer(b"{}", status=429, headers={"x-ratelimit-reset": "0"})
        await chatwork.messages("10", before_request=announce)

    assert announced == [0, 1]
    assert [request.force for request in sandbox.requests] == [False, True]


async def test_a_permit_that_lapsed_while_the_mark_was_written_is_not_used(database: Database) -> None:
    rate_limit = RateLimit(database, "test", 100, lapse=0.5)
    announced = 0

    async def announce() -> bool:
        nonlocal announced
        announced += 1
        if announced == 1:
            await asyncio.to_thread(time.sleep, 0.6)
        return False

    async with sandbox_of({"10": []}) as sandbox, client_of(sandbox, database, rate_limit=rate_limit) as chatwork:
        await chatwork.messages("10", before_request=announce)

    assert announced == 2
    assert len(sandbox.requests) == 1
    assert await permits_taken(database) == 2


async def test_a_permit_that_lapsed_while_the_connection_was_made_is_not_used(database: Database) -> None:
    rate_limit = RateLimit(database, "test", 100, lapse=0.6)
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request := await reader.read(1000):
            requests.append(request)
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    # `first` takes the only place in the listen queue, so the kernel does not accept a second
    # connection. The client's kernel tries again a second later.
    with socket.socket() as door, socket.socket() as first:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        first.connect(door.getsockname())
        chatwork = Chatwork(
            ChatworkSettings(f"http://127.0.0.1:{door.getsockname()[1]}", "token"), database, rate_limit=rate_limit
        )
        reading = asyncio.create_task(chatwork.messages("10"))
        await until(lambda: _is_taken(database))
        taken_at = time.monotonic()
        await until(lambda: _has_passed(taken_at + 0.6))

        async with await asyncio.start_server(answer, sock=door):
            assert (await reading).given == 0

            assert len(requests) == 1
            assert await permits_taken(database) >= 2
            first.close()
            await chatwork.close()


async def _is_taken(database: Database) -> bool:
    return bool(await permits_taken(database))


async def _has_passed(moment: float) -> bool:
    return time.monotonic() > moment


async def test_requests_that_wait_for_a_connection_lose_no_permit(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MOST_CONNECTIONS", 2)
    rate_limit = RateLimit(database, "test", 100, lapse=1.0)
    async with sandbox_of({"10": []}) as sandbox, client_of(sandbox, database, rate_limit=rate_limit) as chatwork:
        sandbox.slow(0.4)

        answers = await asyncio.gather(*(chatwork.messages("10") for _ in range(8)))

    assert [answer.given for answer in answers] == [0] * 8
    assert await permits_taken(database) == len(sandbox.requests) == 8


async def test_the_token_and_message_bodies_are_never_logged(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with sandbox_of({"10": ["極秘の内容"]}) as sandbox, client_of(sandbox, database) as chatwork:
        await chatwork.messages("10")
        sandbox.answer(b'{"\xe6\xa5\xb5\xe7\xa7\x98": 1}')
        with pytest.raises(Unreadable):
            await chatwork.messages("10")

    assert sandbox.token not in caplog.text
    assert sandbox.token not in repr(chatwork.settings)
    assert "極秘" not in caplog.text


@pytest.mark.parametrize("token", ["", "two words", "改行", "line\nbreak"])
def test_a_token_that_no_header_can_carry_is_refused_at_the_start(token: str) -> None:
    with pytest.raises(ValueError, match="token") as refusal:
        ChatworkSettings("https://api.chatwork.com/v2", token)

    assert not token or token not in str(refusal.value)


async def permits_taken(database: Database) -> int:
    taken: int = await database.fetch_val("select sum(p) from chatwork_budget, unnest(permits) as p")
    return taken
