"""The readers of data from Chatwork, the model, Redis and operators, for `inputs.py`."""

import contextlib
import gzip
import zlib
from datetime import UTC, datetime

import httpx2
import orjson
from redis.asyncio import ConnectionPool

from events.bus import NotAChange, _read
from events.database_url import BadDatabaseUrl, read_database_url, with_service
from events.job import BrokenHistory
from events.secret_redaction import scrubbed
from events.stored import event_data, event_from
from service.allowed_hosts import read_allowed_hosts
from service.allowed_origins import read_allowed_origins
from service.config import secrets_in_address
from service.limit_values import read_most, read_rate
from service.redis_url import checked_redis_url
from service.trusted_proxies import read_trusted_proxies
from tests.fuzz.inputs import Reader, pieces
from workers.chatwork.answers import NotAnAnswer, complaint, read_messages, read_rooms
from workers.chatwork.client import _pause as pause_of_chatwork
from workers.delivery.redis_wire import _attempt_id
from workers.http_body import UnreadableBody, _decompressed
from workers.outgoing_rules import read_outgoing_allow
from workers.summaries.answer import ModelFailed, ModelRefused, error_in, failure, read_answer
from workers.summaries.citations import cited_in, without_citations
from workers.summaries.digest import extractive
from workers.summaries.markup import plain
from workers.summaries.model import _pause as pause_of_model
from workers.summaries.reasoning import without_reasoning
from workers.summaries.summariser import _draft, _part
from workers.summaries.summary import Message

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
ENTRY = b"0190b1a0-0000-7000-8000-000000000000:1"
CHANGE = b'["0190b1a0-0000-7000-8000-000000000000", 1, 1, "queued", "summary_draft", null]'


class Refused(Exception):
    """The reader found nothing that it can use in the input."""


def storable(*texts: str | None) -> None:
    """Checks that PostgreSQL can store these texts."""
    for text in texts:
        if text is not None:
            assert "\0" not in text
            text.encode()


def read_a_completion(given: bytes) -> None:
    answer = read_answer(given, model="m")
    part = _part(answer.text, "ja")
    content, cited = _draft(answer.text, [part], "ja")
    storable(answer.text, part, content)
    assert all(0 <= number < 10**6 for number in cited)


def read_a_models_error(given: bytes) -> None:
    error = error_in(given)
    for status in (200, 302, 400, 401, 404, 429, 500):
        storable(str(failure(status, error, model="m")))


def read_a_models_text(given: bytes) -> None:
    text = given.decode("utf-8", "replace").replace("\0", "")
    storable(without_reasoning(text), without_citations(text))
    assert all(0 <= number < 10**6 for number in cited_in(text))


def read_pauses(given: bytes) -> None:
    reset, retry, date = [*given.translate(None, b"\0\r\n").split(b"|"), b"", b""][:3]
    headers = httpx2.Headers(
        [(b"x-ratelimit-reset", reset), (b"retry-after", retry), (b"retry-after-ms", reset), (b"date", date)]
    )
    asked = pause_of_model(headers)
    assert pause_of_chatwork(headers) >= 0
    assert asked is None or asked >= 0


def read_the_rooms(given: bytes) -> None:
    answer = read_rooms(given)
    for room in answer.items:
        assert room.room_id.isdecimal()
        storable(room.name, room.description)
    storable(complaint(answer.unreadable))


def read_the_messages(given: bytes) -> None:
    answer = read_messages(given)
    for message in answer.items:
        assert len(message.message_id) <= 38
        assert message.sent_at.tzinfo is UTC
        storable(message.body, message.sender)
    storable(complaint(answer.unreadable))


def read_a_chat(given: bytes) -> None:
    """Summarises a text as people write it in a room, by the extractive summariser."""
    bodies = given.decode("utf-8", "replace").replace("\0", "").split("|")[:50]
    chat = [Message(str(n % 2), "room", str(n), f"name {n % 3}", AT, body) for n, body in enumerate(bodies)]
    content, links = extractive.summarise(chat)
    storable(content, *links, *(plain(body).text for body in bodies))


def read_a_compressed_body(given: bytes) -> None:
    read = 0
    for codings in (["gzip"], ["deflate"], ["gzip", "gzip"]):
        with contextlib.suppress(UnreadableBody):
            read += 1 + len(_decompressed(given, codings, 100_000))
    if not read:
        raise Refused


def read_a_bus_message(given: bytes) -> None:
    for change in _read(given):
        assert change.seq > 0
        storable(change.job_id, change.type, change.user_id)


def read_an_entry(given: bytes) -> None:
    assert 1 <= _attempt_id(given).attempt < 10**9


def read_an_event(given: bytes) -> None:
    """Reads the data of an event that was changed by hand.

    They must be accepted, or refused as a broken history.
    """
    try:
        data = orjson.loads(given)
    except ValueError:
        raise Refused from None
    accepted = 0
    for event_type in ("queued", "started", "progress", "completed", "failed", "canceled", "?"):
        try:
            event = event_from(event_type, data, AT)
        except BrokenHistory:
            continue
        accepted += 1
        orjson.dumps(event_data(event, AT))
    if not accepted:
        raise Refused


def read_a_database_url(given: bytes) -> None:
    url = given.decode("utf-8", "replace")
    read = read_database_url(with_service(url, None))
    assert isinstance(read.arguments["timeout"], float)
    secrets_in_address(url)


def read_a_redis_url(given: bytes) -> None:
    """Reads a Redis URL. Checks that redis-py takes each URL that `checked_redis_url` takes."""
    url = checked_redis_url(given.decode("utf-8", "replace"))
    ConnectionPool.from_url(url)
    secrets_in_address(url)


def read_proxies(given: bytes) -> None:
    read_trusted_proxies(given.decode("utf-8", "replace"))


def read_lists(given: bytes) -> None:
    """Reads lists of names, networks and origins. Each is accepted, or refused with a reason."""
    text, read = given.decode("utf-8", "replace"), 0
    for reader in (read_allowed_hosts, read_allowed_origins, read_outgoing_allow):
        with contextlib.suppress(ValueError):
            reader(text)
            read += 1
    if not read:
        raise Refused


def read_limits(given: bytes) -> None:
    text, read = given.decode("utf-8", "replace"), 0
    for reader in (read_rate, read_most):
        with contextlib.suppress(ValueError):
            reader(text)
            read += 1
    if not read:
        raise Refused


def read_a_log_line(given: bytes) -> None:
    assert isinstance(scrubbed(given.decode("utf-8", "replace")), str)


COMPLETION = orjson.dumps(
    {
        "choices": [
            {"finish_reason": "stop", "message": {"content": "## Summary\n- 納期は金曜 [#1, #2]\n## Open Items\n- なし"}}
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7},
    }
)
ROOMS = orjson.dumps([{"room_id": 7, "name": "営業", "description": "x"}, {"room_id": "8", "name": 5}])
MESSAGES = orjson.dumps(
    [{"message_id": "42", "account": {"name": "田中"}, "body": "お疲れ様です", "send_time": 1764550800, "update_time": 0}]
)
CHAT = (
    "明日までに見積もりをお願いします。|[To:1]田中さん\nはい、金曜に送ります！|[qt][qtmeta aid=1 time=1]済み[/qt] いつですか？"
).encode()
QUEUED = b'{"reason": "new", "runAt": "2026-11-23T09:00:00Z", "maxAttempts": 5, "type": "t", "payload": {}, "userId": null}'
DATABASE = b"postgresql://u:secret@h:5432,[::1]:1/db?sslmode=require&connect_timeout=5"
GZIPPED = gzip.compress(b"[]" * 50_000, mtime=0)
MARKS = pieces(
    "<think> </think> [THINK] ◁think▷ <|channel|> final <|message|> <|end|> ``` <details [#1 #2] 、 〜 など 【#3】 ## - "
    "assistantfinal &lt;think&gt; type=reasoning> ,"
)
CHAT_MARKS = pieces("| [To:1] [qt] [/qt] [code] [info] 。 ？ お願いします 12/31 明日 w 了解 済み http://a.b/c")
COMPLETION_FIELDS = (
    "choices", "message", "content", "finish_reason", "usage", "error", "code", "type", "text", "refusal", "prompt_tokens",
    "reasoning",
)  # fmt: skip
EVENT_FIELDS = (
    "worker", "result", "error", "reason", "runAt", "maxAttempts", "willRetry", "name", "message", "type", "payload", "userId",
)  # fmt: skip

READERS = (
    Reader(
        "completion", read_a_completion, (ModelFailed, ModelRefused), [COMPLETION], [*MARKS, *pieces('" \\n {')],
        COMPLETION_FIELDS,
    ),
    Reader(
        "models-error", read_a_models_error, (), [b'{"error": {"code": "x", "type": "y", "param": "model"}}', b"[{}]"],
        pieces('{ } "error":'), ("error", "code", "type", "status", "param", "message"),
    ),
    Reader(
        "models-text", read_a_models_text, (), ["<think>x</think>納期 [#1, #2など] `<think>`".encode()], MARKS,
    ),
    Reader(
        "pauses", read_pauses, (),
        [b"1764550800|5|Mon, 23 Nov 2026 09:00:00 GMT", b"|Mon, 23 Nov 2026 09:00:00 GMT|x"],
        pieces("| Mon, GMT +9999 -0000 : nan inf"), most=60_000,
    ),
    Reader(
        "rooms", read_the_rooms, (NotAnAnswer,), [ROOMS, b"[]"], pieces('[ ] { } , "room_id":'),
        ("room_id", "name", "description"),
    ),
    Reader(
        "messages", read_the_messages, (NotAnAnswer,), [MESSAGES, b"[]"], pieces('[ ] { } , "body":'),
        ("message_id", "account", "name", "body", "send_time", "update_time"),
    ),
    Reader("chat", read_a_chat, (), [CHAT], [*CHAT_MARKS, b"\n"], most=16_384),
    Reader(
        "compressed", read_a_compressed_body, (Refused,), [GZIPPED, gzip.compress(GZIPPED), zlib.compress(b"[]" * 50)],
        [GZIPPED, b"\x1f\x8b", b"\x08"],
    ),
    Reader(
        "bus", read_a_bus_message, (NotAChange,), [b'{"from": "x", "changes": [' + CHANGE + b"]}"],
        [CHANGE, *pieces("[ ] , null")], ("from", "changes"),
    ),
    Reader("redis-entry", read_an_entry, (TypeError, ValueError), [ENTRY], pieces(": - 0 1")),
    Reader(
        "event", read_an_event, (Refused,), [b'{"worker": "w"}', b'{"result": 1, "reason": "x"}', QUEUED],
        pieces('" : null { }'), EVENT_FIELDS,
    ),
    Reader(
        "database-url", read_a_database_url, (BadDatabaseUrl,), [DATABASE, b"postgresql:///db?host=/tmp&port=1"],
        pieces("@ : / ? & = % %00 [ ] , # host= hostaddr= port= options= ssl user= dbname= service="), most=16_384,
    ),
    Reader(
        "redis-url", read_a_redis_url, (ValueError,),
        [b"redis://u:secret@h:6379/0?socket_timeout=5", b"unix:///tmp/x?db=1", b"rediss://h/0?ssl_cert_reqs=none"],
        pieces("@ : / ? & = % [ ] db= username= client_name= socket_keepalive=1"), most=16_384,
    ),
    Reader(
        "proxies", read_proxies, (ValueError,), [b"127.0.0.1,::1, 10.0.0.0/8", b"none", b"::ffff:1.2.3.4"],
        pieces(", / :: none % ."), most=16_384,
    ),
    Reader(
        "lists", read_lists, (Refused,),
        [b"jobs.example.com,*.example.com", b"https://a.example.com,http://[::1]:8000", b"10.0.0.0/8, db.internal"],
        pieces(", *. / :: https:// [ ] : xn-- % 例え.jp ß"), most=16_384,
    ),
    Reader("limits", read_limits, (Refused,), [b"600/minute", b"20", b"off"], pieces("/ minute second day off 0 9 ٣"), most=16_384),
    Reader("log-line", read_a_log_line, (), [b"postgresql://u:secret@h/db Bearer x"], pieces(":// @ :")),
)  # fmt: skip
