"""Chatwork's answers are parsed item by item, also values of an unexpected JSON type."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from workers.chatwork.answers import MOST_NAMED, NotAnAnswer, Unreadable, complaint, read_messages, read_rooms

TIME = 1_793_000_000
AT = datetime.fromtimestamp(TIME, UTC)
GOOD = {
    "message_id": "7",
    "account": {"account_id": 1, "name": "佐藤"},
    "body": "了解です",
    "send_time": TIME,
    "update_time": 0,
}
SECRET = "極秘"
MISSING = object()


def message(**fields: Any) -> bytes:
    item = {name: value for name, value in (GOOD | fields).items() if value is not MISSING}
    return json.dumps(item).encode()


def answer(*items: bytes) -> bytes:
    return b"[" + b",".join(items) + b"]"


def with_id(digits: bytes) -> bytes:
    return message(message_id="IT").replace(b'"IT"', digits)


@pytest.mark.parametrize(
    ("raw", "message_id"),
    [
        (b'"42"', "42"),
        (b'"0042"', "42"),
        (b'" 42 "', "42"),
        (b'"0"', "0"),
        (b"42", "42"),
        (b"42.0", "42"),
        (b"1e3", "1000"),
        (b"9223372036854775808", "9223372036854775808"),
        (b"18446744073709551617", "18446744073709551617"),
        (b"12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        (b"9007199254740993.0", "9007199254740993"),
    ],
)
def test_an_id_is_read_exactly_from_any_json_type(raw: bytes, message_id: str) -> None:
    read = read_messages(answer(with_id(raw)))

    assert [each.message_id for each in read.items] == [message_id]


@pytest.mark.parametrize(
    "raw",
    [b"true", b"null", b"-1", b"42.5", b"1e400000000", b"1e-400000000", b"NaN", b"Infinity", b"1" * 39, b"1" * 5000,
     b'"1 or 2"', b'"1e3"', b'"-1"', b'""', '"４２"'.encode(), b'"' + b"1" * 39 + b'"', b'["42"]', b'{"id": 42}'],
)  # fmt: skip
def test_an_invalid_id_makes_only_its_own_message_unreadable(raw: bytes) -> None:
    read = read_messages(answer(message(message_id="1"), with_id(raw), message(message_id="3")))

    assert [each.message_id for each in read.items] == ["1", "3"]
    assert [each.item for each in read.unreadable] == ["a message without an id"]
    assert read.given == 3


@pytest.mark.parametrize(
    ("value", "sent_at"),
    [
        (TIME, AT),
        (float(TIME), AT),
        (TIME + 0.5, AT.replace(microsecond=500_000)),
        (str(TIME), AT),
        (f" {TIME} ", AT),
        (f"{TIME}.25", AT.replace(microsecond=250_000)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (253_402_300_799, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_a_number_and_as_text(value: object, sent_at: datetime) -> None:
    assert [each.sent_at for each in read_messages(answer(message(send_time=value))).items] == [sent_at]


@pytest.mark.parametrize(
    "value", [None, MISSING, True, False, -1, 10**12, 10**40, 1e300, "", "soon", "2026-11-24", "1e9", [TIME], {"at": TIME}]
)
def test_a_message_without_a_readable_time_is_reported_and_not_stored(value: object) -> None:
    read = read_messages(answer(message(send_time=value, body=SECRET), message(message_id="8")))

    assert [each.message_id for each in read.items] == ["8"]
    [unreadable] = read.unreadable
    assert unreadable.item == "message 7"
    assert unreadable.reason.startswith("`send_time` is ")
    assert SECRET not in complaint(read.unreadable)


@pytest.mark.parametrize("value", [None, MISSING, True, [SECRET], {"text": SECRET}])
def test_a_message_without_a_body_is_reported_and_not_stored(value: object) -> None:
    read = read_messages(answer(message(body=value), message(message_id="8")))

    assert [each.message_id for each in read.items] == ["8"]
    assert [each.item for each in read.unreadable] == ["message 7"]
    assert "`body`" in complaint(read.unreadable)
    assert SECRET not in complaint(read.unreadable)


@pytest.mark.parametrize(
    ("value", "body"),
    [("", ""), (12, "12"), (1.5, "1.5"), ("NUL \0", "NUL \ufffd"), ("half \ud83d", "half ?"), ("長" * 70_000, "長" * 70_000)],
)
def test_a_body_is_read_as_text_that_postgresql_can_store(value: object, body: str) -> None:
    assert [each.body for each in read_messages(answer(message(body=value))).items] == [body]


@pytest.mark.parametrize(
    "account",
    [None, MISSING, {}, [], 5, True, "佐藤", {"name": None}, {"name": ""}, {"name": " 　"}, {"name": True}, {"name": []}],
)
def test_a_message_without_an_account_is_read_with_no_sender(account: object) -> None:
    read = read_messages(answer(message(account=account)))

    assert [(each.sender, each.body) for each in read.items] == [(None, "了解です")]
    assert read.unreadable == ()


def test_a_name_that_is_a_number_is_read_as_text() -> None:
    assert read_messages(answer(message(account={"name": 7}))).items[0].sender == "7"


@pytest.mark.parametrize("value", [None, MISSING, 0, "0", -5, True, "soon", [], 10**12])
def test_an_unreadable_time_of_an_edit_is_read_as_no_edit(value: object) -> None:
    assert read_messages(answer(message(update_time=value))).items[0].edited_at is None


@pytest.mark.parametrize("item", [b"1", b"null", b'"text"', b"[]", b"true", b"[[[[]]]]", b"{}"])
def test_an_item_that_is_no_message_makes_no_other_item_unreadable(item: bytes) -> None:
    read = read_messages(answer(item, message()))

    assert [each.message_id for each in read.items] == ["7"]
    assert len(read.unreadable) == 1


@pytest.mark.parametrize("nest", [b"[" * 50_000 + b"]" * 50_000, b'{"a":' * 50_000 + b'"]}"' + b"}" * 50_000])
def test_an_item_nested_too_deeply_makes_no_other_item_unreadable(nest: bytes) -> None:
    odd = message(body="IT").replace(b'"IT"', nest)

    read = read_messages(answer(message(message_id="1"), odd, nest, message(message_id="3", body='said "[" \\')))

    assert [(each.message_id, each.body) for each in read.items] == [("1", "了解です"), ("3", 'said "[" \\')]
    assert [each.item for each in read.unreadable] == ["message 7", "a message without an id"]


def test_nesting_that_never_ends_is_refused_in_linear_time() -> None:
    began = time.monotonic()
    for tail in (b'"', b'"\\"' * 500_000, b'{"a":"\\' * 500_000):
        with pytest.raises(NotAnAnswer, match="it is not JSON"):
            read_messages(b"[" * 50_000 + tail)

    assert time.monotonic() - began < 20


def test_the_later_of_two_messages_with_one_id_counts() -> None:
    read = read_messages(answer(message(body="前"), message(message_id=7, body="後")))

    assert [each.body for each in read.items] == ["後"]
    assert (read.given, read.message_ids) == (2, ("7",))


def test_a_readable_message_counts_although_its_id_comes_again_without_a_body() -> None:
    read = read_messages(answer(message(), message(body=None)))

    assert [each.body for each in read.items] == ["了解です"]
    assert [each.item for each in read.unreadable] == ["message 7"]


def test_bytes_that_are_not_utf_8_spoil_only_their_own_character() -> None:
    read = read_messages(answer(message(body="IT").replace(b"IT", b"a\xffb"), message(message_id="8")))

    assert [each.body for each in read.items] == ["a\ufffdb", "了解です"]
    assert read_messages(b"\xef\xbb\xbf" + answer(message())).given == 1


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'"x"', b"1", b"<html>", answer(message())[:-1], b"\xff\xfe"])
def test_an_answer_that_is_not_an_array_is_refused(body: bytes) -> None:
    for read in (read_messages, read_rooms):
        with pytest.raises(NotAnAnswer, match=r"^it is (not JSON|not a JSON array)$") as refusal:
            read(body)

        assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_an_error_names_many_unreadable_messages_and_its_length_is_limited() -> None:
    hundred = complaint([Unreadable(f"message {number}", "`body` is missing") for number in range(100)])
    thousand = complaint([Unreadable(f"message {number}", "`body` is missing") for number in range(1000)])

    assert all(f"message {number} (" in hundred for number in range(100))
    assert f"and {1000 - MOST_NAMED} more" in thousand
    assert len(thousand) < 6000


def test_a_room_is_read_from_any_json_types() -> None:
    read = read_rooms(b"""[
        {"room_id": 1, "name": "A", "description": null},
        {"room_id": "02", "name": 7, "description": 8},
        {"room_id": 3.0, "name": null},
        {"room_id": 20000000000000000000, "name": "", "description": ["x"]},
        {"room_id": 1, "name": "B", "description": "C"}
    ]""")

    assert [(room.room_id, room.name, room.description) for room in read.items] == [
        ("1", "B", "C"), ("2", "7", "8"), ("3", None, None), ("20000000000000000000", None, None),
    ]  # fmt: skip
    assert read.unreadable == ()


def test_a_room_without_an_id_is_left_out_and_an_answer_with_only_such_rooms_is_refused() -> None:
    read = read_rooms(b'[{"name": "A"}, 5, {"room_id": true, "name": "C"}, {"room_id": 4, "name": "D"}]')

    assert [room.name for room in read.items] == ["D"]
    assert len(read.unreadable) == 3
    assert read_rooms(b"[]").given == 0
    with pytest.raises(NotAnAnswer, match="none of its 2 rooms can be read"):
        read_rooms(b'[{"name": "A"}, 5]')
