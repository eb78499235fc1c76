"""The sandbox behaves as Chatwork does, and makes faults on demand."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.chatwork_server import sandbox_of
from tests.http_client import http_client
from workers.chatwork.answers import read_messages, read_rooms
from workers.chatwork.sandbox import Sandbox
from workers.chatwork.sandbox.data import OWN_ROOMS, SandboxDataError, load_rooms

ROOM = '{"room_id": %d, "name": "部屋", "messages": [%s]}'
MESSAGE = '{"message_id": "%s", "account": {"account_id": 1, "name": "佐藤"}, "body": "了解です", "send_time": 1793000000}'


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with sandbox_of({"10": ["おはよう", "了解です"], "11": []}) as sandbox:
        yield sandbox


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-chatworktoken": sandbox.token}
    async with http_client(sandbox.base_url, headers=headers, timeout=5) as http:
        yield http


def bodies(answer: httpx.Response) -> list[str]:
    return [message.body for message in read_messages(answer.content).items]


async def test_force_0_gives_a_message_once_and_204_when_there_is_nothing_new(
    sandbox: Sandbox, http: httpx.AsyncClient
) -> None:
    first = await http.get("rooms/10/messages?force=0")
    second = await http.get("rooms/10/messages")
    sandbox.say("10", "お疲れさまです")
    third = await http.get("rooms/10/messages?force=0")

    assert bodies(first) == ["おはよう", "了解です"]
    assert (second.status_code, second.content) == (204, b"")
    assert bodies(third) == ["お疲れさまです"]


async def test_force_1_gives_the_newest_100_again_and_again(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    for number in range(120):
        sandbox.say("11", str(number))

    first = await http.get("rooms/11/messages?force=1")
    second = await http.get("rooms/11/messages?force=1")
    new = await http.get("rooms/11/messages?force=0")

    assert bodies(first) == bodies(second) == [str(number) for number in range(20, 120)]
    assert new.status_code == 204


async def test_the_sandbox_lists_its_rooms_as_chatwork_does(http: httpx.AsyncClient) -> None:
    answer = await http.get("rooms")

    assert [(room.room_id, room.name) for room in read_rooms(answer.content).items] == [
        ("10", "Room 10"), ("11", "Room 11"),
    ]  # fmt: skip
    assert answer.json()[0].keys() >= {"type", "role", "sticky", "unread_num", "message_num", "last_update_time", "icon_path"}


async def test_above_the_limit_the_sandbox_answers_429_with_the_time_of_the_reset() -> None:
    async with (
        sandbox_of({"10": ["おはよう"]}, limit=2, window=60) as sandbox,
        http_client(sandbox.base_url, headers={"x-chatworktoken": sandbox.token}) as http,
    ):
        answers = [await http.get("rooms/10/messages?force=1") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].headers["x-ratelimit-limit"] == "2"
    assert answers[2].json()["errors"]


async def test_a_bad_token_an_unknown_room_and_an_unknown_path_are_refused(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    assert (await http.get("rooms", headers={"x-chatworktoken": "wrong"})).status_code == 401
    assert (await http.get("rooms/99/messages")).status_code == 404
    assert (await http.get("me")).status_code == 404
    assert (await http.request("DELETE", "rooms")).status_code == 405


async def test_a_planned_failure_happens_as_often_as_asked_and_only_in_its_room(
    sandbox: Sandbox, http: httpx.AsyncClient
) -> None:
    sandbox.fail(status=503, times=2, room_id="11")

    statuses = [(await http.get(f"rooms/{room_id}/messages?force=1")).status_code for room_id in (10, 11, 11, 11)]

    assert statuses == [200, 503, 503, 204]
    assert [(request.room_id, request.force, request.status) for request in sandbox.requests] == [
        ("10", True, 200),
        ("11", True, 503),
        ("11", True, 503),
        ("11", True, 204),
    ]


async def test_messages_count_as_given_if_the_connection_breaks_during_the_answer(
    sandbox: Sandbox, http: httpx.AsyncClient
) -> None:
    sandbox.drop(given=True)

    with pytest.raises(httpx.RemoteProtocolError):
        await http.get("rooms/10/messages?force=0")

    assert (await http.get("rooms/10/messages?force=0")).status_code == 204


async def test_messages_do_not_count_as_given_if_the_connection_breaks_before_the_answer(
    sandbox: Sandbox, http: httpx.AsyncClient
) -> None:
    sandbox.drop()

    with pytest.raises(httpx.TransportError):
        await http.get("rooms/10/messages?force=0")

    assert bodies(await http.get("rooms/10/messages?force=0")) == ["おはよう", "了解です"]


def test_the_built_in_data_are_forty_rooms_in_two_languages() -> None:
    rooms = load_rooms(OWN_ROOMS)

    messages = [read_messages(b"[" + message + b"]").items[0] for room in rooms.values() for message in room.messages]
    english = [room for room in rooms.values() if room.name.isascii() or "–" in room.name]
    assert len(rooms) == 40
    assert len(english) >= 10
    assert len(messages) >= 300
    assert len({message.message_id for message in messages}) == len(messages)


def test_a_file_of_rooms_may_be_gzip(tmp_path: Path) -> None:
    file = tmp_path / "rooms.gz"
    file.write_bytes(gzip.compress((ROOM % (7, MESSAGE % 1)).encode()))

    assert load_rooms(file)["7"].message_ids == [1]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ((ROOM % (7, "")) + "\n{", "line 2: Invalid JSON"),
        (ROOM % (7, MESSAGE % "x"), "line 1: messages.0.message_id: "),
        ((ROOM % (7, "")) + "\n" + (ROOM % (7, "")), "line 2: room 7 is on an earlier line too"),
        ("\n\n", "has no rooms"),
        ("[]", "line 1: "),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_line(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "rooms.ndjson"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(SandboxDataError) as refusal:
        Sandbox(file)

    assert str(refusal.value).startswith(str(file))
    assert complaint in str(refusal.value)


def test_a_gzip_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rooms.gz"
    file.write_bytes(gzip.compress((ROOM % (7, MESSAGE % 1)).encode())[:-20])

    with pytest.raises(SandboxDataError, match=r"rooms\.gz: cannot be read"):
        load_rooms(file)
