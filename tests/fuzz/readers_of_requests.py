"""The readers of what an HTTP client sends, for `inputs.py`."""

import contextlib
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from ipaddress import ip_address
from typing import Any, cast
from uuid import UUID

import httpx
import orjson
from httpx_sse import EventSource
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from projections import jobs as jobs_view
from service.accounts.known_devices import KnownDevices
from service.accounts.users import Users, normal_email
from service.allowed_hosts import host_of, read_allowed_hosts
from service.api import job_streams, queue_request
from service.api.app import ENDPOINTS, _request_id
from service.config import Settings
from service.http.authentication import check_origin, token_of
from service.http.endpoint import Call
from service.http.problems import Problem, problem_response
from service.http.protocol import _HOST as HOST
from service.http.request import Nothing, _checked, parse_json, preferred_wait, read_id, read_query, wants
from service.live.server_sent_events import RECONNECT, SIGN_OF_LIFE, server_sent_event
from service.trusted_proxies import counted_as, read_trusted_proxies
from tests.fuzz.inputs import Reader, pieces
from workers.chatwork import messages
from workers.registry import JOB_TYPES

JOB_ID = b"0190b1a0-0000-7000-8000-000000000000"
HEADER_ENDS = b"\0\r\n"  # characters that no header holds, because the HTTP parser refuses them
MOST_OF_A_QUERY, MOST_OF_A_HEADER = 16_000, 60_000  # bytes
SECRET = "a key for tests that is long enough for HS256"
SETTINGS = Settings(app_env="test")

BODIES = {
    endpoint.body: endpoint.most_of_body for endpoint in ENDPOINTS if endpoint.takes_body and endpoint.body is not Nothing
}
QUERIES = {endpoint.query for endpoint in ENDPOINTS if endpoint.query is not Nothing}


class Refused(Exception):
    """No model accepts the input."""


def request_with(*headers: tuple[bytes, bytes], query: bytes = b"", client: str = "127.0.0.1") -> Request:
    return Request(
        {
            "type": "http", "method": "POST", "path": "/api/jobs", "query_string": query, "scheme": "http",
            "headers": [(b"host", b"127.0.0.1:8000"), *headers], "client": (client, 1),
        }
    )  # fmt: skip


def header_of(given: bytes) -> bytes:
    return given.translate(None, HEADER_ENDS)


def read_prefer(given: bytes) -> None:
    seconds = preferred_wait(request_with((b"prefer", header_of(given))))
    assert seconds is None or 0 <= seconds <= 60
    if seconds is None:
        raise Refused


def read_last_event_id(given: bytes) -> None:
    number = job_streams._last_event_id(request_with((b"last-event-id", header_of(given))), most_digits=18)
    assert number is None or 0 <= number < 10**18


def read_accept(given: bytes) -> None:
    offers = ("application/json", "text/event-stream", "application/x-ndjson")
    assert wants(request_with((b"accept", header_of(given))), *offers) in offers


def read_idempotency_key(given: bytes) -> None:
    lines = [(b"idempotency-key", header_of(line)) for line in given.split(b"\n")[:3]]
    call = Call(cast(Any, None), request_with(*lines), Nothing(), Nothing(), None, None, cast(Any, None))
    found = queue_request._idempotency_of(call)
    assert found is not None
    assert 1 <= len(found.key) <= 255
    assert found.key.encode()


def read_forwarded_for(given: bytes) -> None:
    lines = [(b"x-forwarded-for", header_of(line)) for line in given.split(b"\n")[:3]]
    request = request_with(*lines, (b"x-forwarded-proto", header_of(given[:20])))
    read_trusted_proxies("127.0.0.1,::1,10.0.0.0/8").apply(request.scope)
    assert request.scope["scheme"] in ("http", "https")
    assert ip_address(request.scope["client"][0])
    assert counted_as(request.scope["client"][0])


def read_origin(given: bytes) -> None:
    check_origin(request_with((b"origin", header_of(given))))


def read_a_host(given: bytes) -> None:
    """Compares the names that the service answers to with those that the HTTP parser accepts."""
    if not HOST.fullmatch(given):
        raise Refused
    host = host_of(given.decode("latin-1"))
    assert host == host.lower()
    assert read_allowed_hosts("jobs.example.com,*.example.org").include(host) == (
        host == "jobs.example.com" or (host.endswith(".example.org") and not host.startswith("."))
    )


def read_token(given: bytes) -> None:
    users = Users(cast(Any, None), SECRET)
    for request in (request_with((b"authorization", header_of(given))), request_with((b"cookie", header_of(given)))):
        token = token_of(request, SETTINGS)
        claims = users._claims(token) if token else None
        assert claims is None
    assert KnownDevices(SECRET).read(header_of(given).decode("latin-1")) is None


def read_request_id(given: bytes) -> None:
    assert _request_id(request_with((b"x-request-id", header_of(given))).scope).isprintable()


def read_json(given: bytes) -> None:
    """Reads JSON. Checks that orjson can write what was accepted, without a NUL character."""
    written = orjson.dumps(parse_json(given))
    assert b"\\u0000" not in written.replace(b"\\\\", b"")


def read_bodies(given: bytes) -> None:
    _by_any([model for model, most in BODIES.items() if len(given) <= most], lambda model: _checked(given, model))


def read_queries(given: bytes) -> None:
    _by_any(QUERIES, lambda model: read_query(request_with(query=given.translate(None, HEADER_ENDS + b" ")), model))


def read_an_id(given: bytes) -> None:
    assert UUID(read_id(given.decode("utf-8", "replace")))


def read_jobs_cursor(given: bytes) -> None:
    _usable(*jobs_view._read_cursor(given.decode("utf-8", "replace")))


def read_messages_cursor(given: bytes) -> None:
    _usable(*messages._read_cursor(given.decode("utf-8", "replace")))


def read_payloads(given: bytes) -> None:
    """Reads payloads. Checks that an accepted payload can be stored and gives a unique key."""
    value = parse_json(given)
    accepted = 0
    for job_type in JOB_TYPES.values():
        try:
            payload = job_type.payload.model_validate(value).to_json()
        except ValidationError:
            continue
        accepted += 1
        assert job_type.payload.model_validate(orjson.loads(orjson.dumps(payload))).to_json() == payload
        assert job_type.unique_key(payload, None)
    if not accepted:
        raise Refused


def read_email(given: bytes) -> None:
    text = given.decode("utf-8", "replace")[:1024]
    normal_email(text).encode()


def read_our_events(given: bytes) -> None:
    """Checks that `httpx-sse` reads any text of an event unchanged, however the bytes are cut."""
    text, number = given.decode("utf-8", "replace"), len(given)
    sent = RECONNECT + SIGN_OF_LIFE + server_sent_event(orjson.dumps({"text": text}), event_id=number, name=b"change")
    cut = number % len(sent)
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=iter((sent[:cut], sent[cut:])))
    (event,) = EventSource(response).iter_sse()
    assert (orjson.loads(event.data), event.id, event.event) == ({"text": text}, str(number), "change")


def read_our_problems(given: bytes) -> None:
    """Checks that a problem document stays small if it repeats a stranger's field name."""
    text = given.decode("utf-8", "replace")
    assert len(problem_response(Problem(422, text, [{"path": text, "detail": text}])).body) < 8_000


def _usable(before: datetime, _: object) -> None:
    assert before.tzinfo is not None


def _by_any(models: Iterable[type[BaseModel]], read: Callable[[type[BaseModel]], BaseModel]) -> None:
    """Reads with every model. Raises `Refused` if none takes the input."""
    taken = 0
    for model in models:
        with contextlib.suppress(Problem):
            found = read(model)
            taken += 1
            json.dumps(found.model_dump(mode="json"))
    if not taken:
        raise Refused


NAMES = sorted({field.alias or name for model in BODIES for name, field in model.model_fields.items()})
WORDS_OF_JSON = pieces('{" ": [ ] } null true \\u0000 \\ud800 " 1e9 NaN')
CURSOR = b"MjAyNi0xMS0yM1QwOTowMDowMCswMDowMCAwMTkwYjFhMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDA"  # a time and a job's id
MESSAGES_CURSOR = b"MjAyNi0xMS0yM1QwOTowMDowMCswMDowMCA0Mg"  # a time and the message 42
DRAFT = b'{"companyId": "' + JOB_ID + b'", "periodStart": "2026-11-01", "periodEnd": "2026-12-01T00:00:00Z"}'
EXAMPLES_OF_BODIES = (
    b'{"name": "x"}', b'{"action": "cancel", "filter": {"status": "queued"}, "dryRun": true}', b'{"roomId": "7"}',
    b'{"email": "a@example.com", "password": "x"}', b'{"isActive": true}', b'{"lastErrorAt": "2026-11-23T09:00:00Z"}',
    b'{"periodStart": "2026-11-01", "periodEnd": "2026-12-01T00:00:00+09:00"}',
    b'{"until": "2099-01-01T00:00:00Z", "reason": "x"}', b'{"action": "retry", "ids": ["' + JOB_ID + b'"]}',
)  # fmt: skip
EXAMPLES_OF_QUERIES = (
    b"limit=5&type=summary_draft&status=queued", b"createdAfter=2026-11-23T09:00:00%2B09:00&cursor=" + CURSOR,
    b"ids=" + JOB_ID + b"," + JOB_ID, b"seq=3", b"at=2026-11-23T09:00:00Z", b"after=5&until=9&latest=true&actor=user:x",
    b"roomId=7&roomLimit=3",
)  # fmt: skip

READERS = (
    Reader(
        "prefer", read_prefer, (Refused,), [b"wait=10", b'respond-async, wait="5"; foo=";,"'],
        [*pieces('wait = , ; " \\" wait='), b" "], most=MOST_OF_A_HEADER,
    ),
    Reader(
        "last-event-id", read_last_event_id, (Problem,), [b"1", b"123456789012345678", b""], pieces("1 0 9"),
        most=MOST_OF_A_HEADER,
    ),
    Reader(
        "accept", read_accept, (), [b"*/*", b"text/event-stream;q=0.5, application/json;q=0.9"],
        pieces("q= ; , 0. */* text/event-stream"), most=MOST_OF_A_HEADER,
    ),
    Reader("idempotency-key", read_idempotency_key, (Problem,), [b"a-key", b"x" * 255], [b"\n", b"k"], most=MOST_OF_A_HEADER),
    Reader(
        "forwarded-for", read_forwarded_for, (), [b"203.0.113.7, 10.0.0.1", b'"[2001:db8::1]:443", ::ffff:1.2.3.4'],
        [*pieces(', 10.0.0.1 [::1] :80 %eth0 ::ffff: "'), b"\n"], most=MOST_OF_A_HEADER,
    ),
    Reader(
        "origin", read_origin, (Problem,), [b"http://127.0.0.1:8000"], pieces("http:// [ ] @ : null //"),
        most=MOST_OF_A_HEADER,
    ),
    Reader(
        "host", read_a_host, (Refused,), [b"jobs.example.com:8000", b"[::1]:80", b"a.example.org"],
        pieces(". : [ ] % example.org *. xn-- -"), most=MOST_OF_A_HEADER,
    ),
    Reader(
        "token", read_token, (), [b"Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", b"rireki_session=a.b.c; x=y"],
        [b"Bearer ", *pieces('. eyJ rireki_session= ; " \\073')], most=MOST_OF_A_HEADER,
    ),
    Reader("request-id", read_request_id, (), [b"r-1", b"a" * 128], pieces("- /"), most=MOST_OF_A_HEADER),
    Reader("json", read_json, (Problem,), [b'{"a": [1, 2.5, "x", null, {"b": true}]}'], WORDS_OF_JSON, ("a", "b")),
    Reader("body", read_bodies, (Refused,), EXAMPLES_OF_BODIES, WORDS_OF_JSON, NAMES),
    Reader(
        "query", read_queries, (Refused,), EXAMPLES_OF_QUERIES,
        [JOB_ID, *pieces("& = % %00 %ff + limit= seq= at= ids= ,")], most=MOST_OF_A_QUERY,
    ),
    Reader("id", read_an_id, (Problem,), [JOB_ID], pieces("- { } urn:uuid: 0"), most=MOST_OF_A_QUERY),
    Reader(
        "jobs-cursor", read_jobs_cursor, (jobs_view.BadCursor,), [CURSOR], pieces("= MjAy IDAx - _"), most=MOST_OF_A_QUERY,
    ),
    Reader(
        "messages-cursor", read_messages_cursor, (messages.BadCursor,), [MESSAGES_CURSOR], pieces("= MjAy IDQy - _"),
        most=MOST_OF_A_QUERY,
    ),
    Reader(
        "payload", read_payloads, (Problem, Refused), [b"{}", b'{"roomId": "7", "roomLimit": 3}', DRAFT], WORDS_OF_JSON,
        ("roomId", "roomLimit", "companyId", "periodStart", "periodEnd"),
    ),
    Reader("email", read_email, (), ["Yamada@例え.jp ①ﬀİ".encode()], pieces("@ İ ﬁ"), most=1024),
    Reader("our-events", read_our_events, (), ["履歴 \u2028 \u0085".encode(), b"a\r\nb"], [b"\r", b"\n", b"data: ", b"\n\n", b":"]),
    Reader("our-problems", read_our_problems, (), [b"limit"], pieces('. " \\')),
)  # fmt: skip
