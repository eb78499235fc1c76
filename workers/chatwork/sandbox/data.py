"""Reads the rooms that the sandbox serves. The data file has one room on each line.

The file is plain text or gzip. A line is `{room_id, name, description?, messages: [{message_id,
account: {account_id, name}, body, send_time, update_time?}]}`. Times are Unix seconds.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

OWN_ROOMS = Path(__file__).with_name("rooms.ndjson")
"""Forty rooms of business conversations in Japanese and English."""

GZIP = b"\x1f\x8b"


class SandboxDataError(Exception):
    """The data file cannot be served. The message names the file and the line."""


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class Account(_Line):
    """The sender of a message."""

    account_id: int
    name: str


class Message(_Line):
    """A message in the data file. `send_time` and `update_time` are Unix seconds."""

    message_id: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,37})$")]
    account: Account
    body: str
    send_time: Annotated[int, Field(ge=0, le=253_402_300_799)]
    update_time: int = 0


class _RoomLine(_Line):
    room_id: Annotated[int, Field(ge=0, lt=10**38)]
    name: str
    description: str | None = None
    messages: list[Message]


@dataclass(slots=True)
class SandboxRoom:
    """A room. `messages` holds the JSON of each message, in the order in which they were sent."""

    room_id: int
    name: str
    description: str | None
    messages: list[bytes]
    message_ids: list[int]
    last_update_time: int
    odd_fields: dict[str, Any] = field(default_factory=dict)
    """JSON fields that the list of rooms shows in addition to, or in place of, the room's own."""


def load_rooms(file: Path) -> dict[str, SandboxRoom]:
    """Returns the rooms of a file, by room id.

    Raises:
        SandboxDataError: the file cannot be read, has no rooms, or has a malformed line.
    """
    rooms: dict[str, SandboxRoom] = {}
    try:
        for number, line in enumerate(_lines(file), start=1):
            if not line.strip():
                continue
            room = _room(file, number, line)
            if str(room.room_id) in rooms:
                raise SandboxDataError(
                    f"{file}, line {number}: room {room.room_id} is on an earlier line too; give each room one line"
                )
            rooms[str(room.room_id)] = room
    except (OSError, EOFError, zlib.error) as error:
        raise SandboxDataError(f"{file}: cannot be read: {error}") from error
    if not rooms:
        raise SandboxDataError(f"{file}: has no rooms; write one room on each line")
    return rooms


def message_json(message: Message) -> bytes:
    """Returns a message as JSON, with the fields that Chatwork gives."""
    account = {
        "account_id": message.account.account_id,
        "name": message.account.name,
        "avatar_image_url": f"https://appdata.chatwork.com/avatar/{message.account.account_id}.png",
    }
    return orjson.dumps(
        {
            "message_id": message.message_id,
            "account": account,
            "body": message.body,
            "send_time": message.send_time,
            "update_time": message.update_time,
        }
    )


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as plain:
        packed = plain.read(2) == GZIP
        plain.seek(0)
        lines: Iterable[bytes] = gzip.open(plain) if packed else plain  # noqa: SIM115 (closed with the plain file)
        yield from lines


def _room(file: Path, number: int, line: bytes) -> SandboxRoom:
    try:
        room = _RoomLine.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise SandboxDataError(f"{file}, line {number}: {f'{place}: ' if place else ''}{first['msg']}") from None
    messages = sorted(room.messages, key=lambda message: int(message.message_id))
    return SandboxRoom(
        room_id=room.room_id,
        name=room.name,
        description=room.description,
        messages=[message_json(message) for message in messages],
        message_ids=[int(message.message_id) for message in messages],
        last_update_time=max((message.send_time for message in messages), default=0),
    )
