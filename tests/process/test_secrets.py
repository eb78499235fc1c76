"""No secret and no text of an outside server is stored, logged or shown with an error."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
from redis.asyncio import Redis

from events import secret_redaction
from events.database import Database
from events.secret_redaction import MARK, hide, scrubbed
from events.store import Store
from events.writes import NewJob
from service.accounts.users import add_user
from service.config import Settings, secrets_of
from tests.http_client import http_client
from tests.job_types import ended
from tests.process.test_processes import Rireki
from tests.servers import RedisServer
from workers.attempt.failures import LEFT_OUT, LONGEST_MESSAGE, error_from
from workers.outcomes import Final


@pytest.fixture(autouse=True)
def _nothing_hidden_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_redaction, "_plain", set())
    monkeypatch.setattr(secret_redaction, "_words", {})


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("s3cret-of-the-token", "token s3cret-of-the-token was refused"),
        ("pass%2Fword%20of db", "decoded: pass/word of db"),
        ("pass/word of db", "encoded: pass%2Fword%20of%20db"),
        ('quo"te\\of-json', r"as JSON: {\"a\": \"quo\"te\\of-json\"}"),
        ("パスワードです長い長い", r"as JSON: \u30d1\u30b9\u30ef\u30fc\u30c9\u3067\u3059\u9577\u3044\u9577\u3044"),
        ("hunter2", "the password hunter2, and 'hunter2'"),
        ("postgres", "role postgres"),
    ],
)
def test_a_known_secret_is_hidden_in_every_encoding(secret: str, text: str) -> None:
    hide([secret])

    assert MARK in scrubbed(text)
    for form in (secret, "hunter2", "pass/word", "pass%2F", "s3cret", "\\u30d1"):
        assert form not in scrubbed(text)


def test_a_short_secret_is_not_hidden_inside_longer_words() -> None:
    hide(["post", "a", "in", "token"])

    assert scrubbed("postgresql is a database in tokens") == "postgresql is a database in tokens"


@pytest.mark.parametrize(
    "text",
    [
        "Bearer HIDEHIDEHIDE0", "authorization: bearer HIDEHIDEHIDE0", '{"Authorization": "Bearer HIDEHIDEHIDE0"}',
        "Authorization: Basic HIDEHIDEHIDE0==", "the key sk-HIDEHIDE_HIDE-0 is wrong", "sk-proj-HIDEHIDEHIDE",
        "postgresql://me:HIDEHIDE@db/rireki", "redis://:HIDEHIDE@host/0", "https://u:HIDE%40HIDE@host/path?x=1",
        "connect password=HIDEHIDE host=x", "?token=HIDEHIDE&b=1", '{"password": "HIDEHIDE"}', "api_key='HIDEHIDE'",
        r"{\"api-key\": \"HIDEHIDE\"}",
    ],
)  # fmt: skip
def test_a_text_that_looks_like_a_secret_is_hidden_although_it_is_not_configured(text: str) -> None:
    assert MARK in scrubbed(text)
    assert "HIDE" not in scrubbed(text)


@pytest.mark.parametrize(
    "text",
    [
        "the bearer is away", "Basic skills", "a password must have at least 12 characters", "https://host:8000/a@b", "a = b",
        "risk-averse", "at 12:30@home", "http://127.0.0.1:8000/x", "`token`: is missing",
    ],
)  # fmt: skip
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert scrubbed(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "://", "://a:", "://:", "a:@", "Bearer ", "bearer\t", "sk-", "password=", 'password": "', '"', "=", "\\",
        "authorization: basic ",
    ],
)  # fmt: skip
def test_hiding_secrets_takes_linear_time_for_any_text(piece: str) -> None:
    hide([f"secret {n} of many" for n in range(20)])
    text = piece * (1_000_000 // len(piece)) + "x" * 1_000_000

    began = time.monotonic()
    scrubbed(text)

    assert time.monotonic() - began < 15  # seconds; an algorithm of quadratic time would take hours


@pytest.mark.parametrize("password", ["pass[word", "pass]word", "pa[ss]word"])
def test_a_password_with_brackets_is_known_as_a_secret(password: str) -> None:
    settings = Settings(app_env="test", database_url=f"postgresql://u:{password}@h:5432,[::1]:1/db?sslpassword=hunter2")

    assert secrets_of(settings) == {password, "hunter2"}


def test_the_secrets_of_the_settings_include_passwords_in_addresses() -> None:
    settings = Settings(
        database_url="postgresql://me:db%2Fpass@h/x?password=another", redis_url="rediss://:redispass@h/0",
        jwt_secret="j" * 32, metrics_token="m" * 16, chatwork_api_token="chatwork", chatwork_webhook_token="d2ViaG9vaw==",
        openai_api_key="openai", openai_base_url="https://me:basepass@h/v1?api-key=azure",
    )  # fmt: skip

    assert secrets_of(settings) >= {
        "db%2Fpass", "another", "redispass", "j" * 32, "m" * 16, "chatwork", "d2ViaG9vaw==", "openai", "basepass", "azure",
    }  # fmt: skip


SAID = "a text that users wrote"  # a text that no source line in a stack contains


def raised(raising: Any) -> BaseException:
    try:
        raising()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def from_a_library() -> None:
    try:
        httpx.Response(400, text=SAID, request=httpx.Request("GET", "http://h/")).raise_for_status()
    except httpx.HTTPError as error:
        error.add_note(SAID)
        raise Final("ours") from error


def from_a_library_in_passing() -> None:
    try:
        raise httpx.HTTPError(SAID)
    except httpx.HTTPError:
        raise Final("ours")  # noqa: B904


def in_a_group() -> None:
    try:
        raise ExceptionGroup("some", [httpx.HTTPError(SAID), ValueError("a message of our own")])
    except ExceptionGroup as group:
        raise Final("ours, and a message of our own") from group


def by_itself() -> None:
    raise httpx.HTTPError(SAID)


def by_the_standard_library() -> None:
    try:
        import ipaddress

        ipaddress.ip_address(SAID)
    except ValueError as error:
        raise Final("ours") from error


@pytest.mark.parametrize(
    "raising", [from_a_library, from_a_library_in_passing, in_a_group, by_itself, by_the_standard_library], ids=lambda f: f.__name__
)  # fmt: skip
def test_a_stack_keeps_types_and_code_lines_but_no_text_from_outside(raising: Any) -> None:
    kept = error_from(raised(raising))

    assert SAID not in kept.message + (kept.stack or "")
    assert LEFT_OUT in (kept.stack or "")
    assert f"in {raising.__name__}" in (kept.stack or "")


def test_messages_of_our_own_errors_stay_in_a_stack_with_their_notes_and_causes() -> None:
    def fail() -> None:
        try:
            raise ValueError("the cause")
        except ValueError as cause:
            error = Final("the end")
            error.add_note("a note")
            raise error from cause

    kept = error_from(raised(fail))

    assert kept.message == "the end"
    for words in ("ValueError: the cause", "Final: the end", "a note", "direct cause", "in fail"):
        assert words in (kept.stack or "")


def test_an_error_that_causes_itself_and_one_that_cannot_be_printed_are_kept() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    first, second = Odd(), ValueError("b")
    first.__cause__, second.__cause__ = second, first

    kept = error_from(first)

    assert kept.name == "Odd"
    assert "cannot be printed" in kept.message


def test_a_secret_is_hidden_before_a_long_message_is_cut() -> None:
    hide(["a-long-secret-of-ours"])

    kept = error_from(Final("x" * (LONGEST_MESSAGE - 40) + " a-long-secret-of-ours" * 100))

    assert "a-long" not in kept.message


CANARIES = {
    "JWT_SECRET": "canary-jwt-0123456789abcdef0123456789abcdef",
    "METRICS_TOKEN": "canary-metrics-token",
    "CHATWORK_API_TOKEN": "canary-chatwork-token",
    "CHATWORK_WEBHOOK_TOKEN": "canary/webhook/token",
    "OPENAI_API_KEY": "sk-canary-openai-key",
}
DATABASE_PASSWORD, REDIS_PASSWORD = "canary/database pass", "canary+redis#pass"
LEAKS = ("leak_in_words", "leak_in_a_reason", "leak_by_the_model", "leak_by_a_library", "leak_unhandled")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers 400 and repeats the request's head in the body, encoded three times."""
    head = await reader.readuntil(b"\r\n\r\n")
    said = head.decode().replace("\r\n", " ")
    body = f'{{"error": {{"message": "{said}", "code": "bad", "type": "{said}"}}, "errors": ["{said}"]}}'.encode()
    writer.write(b"HTTP/1.1 400 Bad Request\r\nx-echo: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
        said.encode(), len(body), body,
    ))  # fmt: skip
    await writer.drain()
    writer.close()


async def test_no_secret_is_found_in_any_output_or_table_whatever_fails(
    database: Database, store: Store, redis_server: RedisServer, tmp_path: Path
) -> None:
    await add_user(database, "admin@example.com", "admin", "correct horse battery staple")
    async with Redis.from_url(redis_server.url) as redis:
        await redis.config_set("requirepass", REDIS_PASSWORD)
    redis_url = redis_server.url.replace("://", f"://:{quote(REDIS_PASSWORD, safe='')}@")
    user, at, rest = database.url.removeprefix("postgresql://").partition("@")
    database_url = f"postgresql://{user}:{quote(DATABASE_PASSWORD, safe='')}{at}{rest}"
    async with await asyncio.start_server(echo, "127.0.0.1") as server:
        outside = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        variables = CANARIES | {
            "DATABASE_URL": database_url, "REDIS_URL": redis_url, "CHATWORK_API_BASE_URL": outside,
            "OPENAI_BASE_URL": outside.replace("://", "://me:canary-base-password@") + "?api-key=canary-azure-key",
        }  # fmt: skip
        async with Rireki.running("serve", home=tmp_path, module="tests.leaking_process", **variables) as process:
            address = await process.address()
            jobs = []
            for type in (*LEAKS, "chatwork_rooms_sync"):
                job = await store.create(NewJob(type, {}, None, max_attempts=1), actor="system:test")
                jobs.append(await ended(database, job))
            async with http_client(address, timeout=30) as client:
                shown = await everything_shown(client, [job.id for job in jobs])
            async with Redis.from_url(redis_url) as redis:
                kept = [str(await everything_in(redis, key)) + str(key) for key in await redis.keys("*")]
    assert [job.status for job in jobs] == ["failed", "canceled", "failed", "failed", "completed", "failed"]
    rows = [str(dict(row)) for table in ("job_events", "jobs", "chatwork_rooms", "workers")
            for row in await database.fetch_all(f"select to_jsonb(t) from {table} t")]  # fmt: skip
    log = (tmp_path / "serve.log").read_text()
    assert "it failed" in log
    assert MARK in log
    for place in ("".join(rows), "".join(kept), "".join(shown), log):
        assert re.findall(r".{60}canary.{30}", place) == []


async def everything_shown(client: httpx.AsyncClient, job_ids: list[str]) -> list[str]:
    credentials = {"email": "admin@example.com", "password": "correct horse battery staple"}
    signed_in = (await client.post("/api/auth/login", json=credentials)).json()
    headers = {"Authorization": f"Bearer {signed_in['token']}"}
    pages = ["/metrics", "/readyz", "/api/jobs", "/api/events?limit=1000", "/api/workers", "/api/chatwork/rooms"]
    pages += [f"/api/jobs/{job_id}{more}" for job_id in job_ids for more in ("", "/events")]
    return [(await client.get(page, headers=headers)).text for page in pages]


async def everything_in(redis: Redis, key: bytes) -> Any:
    match await redis.type(key):
        case b"string":
            return await redis.get(key)
        case b"zset":
            return await redis.zrange(key, 0, -1)
        case b"list":
            return await redis.lrange(key.decode(), 0, -1)  # type: ignore[misc]
        case b"hash":
            return await redis.hgetall(key.decode())  # type: ignore[misc]
    return None
