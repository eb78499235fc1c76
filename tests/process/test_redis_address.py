"""A fault of REDIS_URL is one line that names the variable and shows no password."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from events.bus import RedisBus
from events.database import Database
from service.accounts.sign_in_limit import SignInLimit
from service.config import ConfigError, load_settings
from tests.http_client import http_client
from tests.job_types import until
from tests.process.test_processes import Rireki, sandbox, variables
from tests.process.test_start_faults import run
from tests.servers import RedisServer
from workers.chatwork.sandbox import Sandbox

__all__ = ["sandbox"]

REFUSED = [
    ("redis://h/0?ssl_cert_reqs=none", "ssl_cert_reqs"),
    ("redis://h/0?ssl_ca_certs=/etc/passwd", "rediss://"),
    ("rediss://h/0?ssl_cert_reqs=hunter2", "ssl_cert_reqs"),
    ("rediss://h/0?ssl_ca_certs=/nowhere/hunter2", "ssl_ca_certs"),
    ("rediss://h/0?ssl_check_hostname=hunter2", "ssl_check_hostname"),
    ("redis://h/0?socket_timeout=hunter2", "socket_timeout"),
    ("redis://h/0?socket_timeout=nan", "socket_timeout"),
    ("redis://h/0?socket_timeout=0.5", "socket_timeout"),
    ("redis://h/0?socket_connect_timeout=-1", "socket_connect_timeout"),
    ("redis://h/0?health_check_interval=1.5", "health_check_interval"),
    ("redis://h/0?max_connections=1", "max_connections"),
    ("redis://h/0?decode_responses=true", "decode_responses"),
    ("redis://h/0?protocol=3", "protocol"),
    ("redis://h/0?Hunter2=1", "not supported"),
    ("redis://h/0?hunter%0a2=1", "not supported"),
    ("redis://h/0?db=hunter2", "db"),
    ("redis://h/0?db=", "db"),
    ("redis://h/0?db=1&db=2", "db"),
    ("redis://h/0?client_name=a%20b", "client_name"),
    ("redis://h/0/1", "a number"),
    ("redis://h/hunter2", "a number"),
    ("redis://default:hunter2#34@h/0", "%23"),
    ("redis://default:12#hunter2@h/0", "%23"),
    ("redis://h/0#hunter2", "%23"),
    ("redis://:hunter2/x@h/0", "percent-encoded"),
    ("redis://:12/hunter2@h/0", "percent-encoded"),
    ("redis://:12?hunter2@h/0", "percent-encoded"),
    ("redis://u:hunter2@h:port/0", "percent-encoded"),
    ("redis://hunter2 @h/0", "must be an address"),
    ("redis://", "must be an address"),
    ("valkey://:hunter2@h", "must be an address"),
    ("unix:///run/redis.sock?socket_keepalive=yes", "socket_keepalive"),
    ("unix://", "absolute path"),
    ("unix://hunter2/x.sock", "absolute path"),
]
TAKEN = [
    "redis://h", "redis://h/", "redis://:a%23b%2Fc%40d@h:6380/3", "redis://me:x@[::1]:6379/0?socket_timeout=30&db=2",
    "rediss://h/0?ssl_cert_reqs=none&ssl_check_hostname=false", f"rediss://h/0?ssl_ca_certs={__file__}",
    "unix:///run/redis.sock?db=3&password=a%2523b", "redis://h/0?health_check_interval=30&retry_on_timeout=yes&client_name=rireki",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("url", "named"), REFUSED, ids=[url for url, _ in REFUSED])
def test_an_option_that_redis_py_refuses_is_reported_in_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, url: str, named: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    with pytest.raises(ConfigError) as refused:
        load_settings()

    line = str(refused.value)
    assert line.startswith("REDIS_URL ")
    assert named in line
    assert "\n" not in line
    assert "hunter2" not in line.lower()


@pytest.mark.parametrize("url", TAKEN)
async def test_every_address_that_redis_py_accepts_is_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    settings = load_settings()

    assert settings.redis_url == url
    RedisBus(url)
    SignInLimit(url)


@pytest.fixture
async def admin(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url) as redis:
        yield redis


async def complaint(home: Path, command: str, url: str, environment: dict[str, str]) -> str:
    """Returns the error output of a process that does not start."""
    status, _, complained = await run(command, home=home, **environment | {"REDIS_URL": url})
    assert status == 2
    return complained


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("fault", ["password", "user", "rights", "database", "TLS", "certificate", "no Redis", "name"])
async def test_a_fault_that_is_known_at_the_start_is_one_line_and_status_2(
    database: Database, sandbox: Sandbox, redis_server: RedisServer, admin: Redis, tmp_path: Path, command: str, fault: str
) -> None:
    at = f"127.0.0.1:{redis_server.port}"
    async with await asyncio.start_server(speak_http, "127.0.0.1") as stranger:
        elsewhere = f"127.0.0.1:{stranger.sockets[0].getsockname()[1]}"
        await admin.acl_setuser("small", enabled=True, passwords=["+hunter2"], commands=["+ping", "+publish"], channels=["*"])
        urls = {
            "password": (f"redis://default:hunter2@{at}/0", "refuses the user or the password"),
            "user": (f"redis://nobody:hunter2@{at}/0", "refuses the user or the password"),
            "rights": (f"redis://small:hunter2@{at}/0", "(ACL)"),
            "database": (f"redis://{at}/99", "no database of this number"),
            "TLS": (f"rediss://:hunter2@{elsewhere}/0", "TLS fails"),
            "certificate": (f"rediss://:hunter2@{elsewhere}/0?ssl_cert_reqs=none", "TLS fails"),
            "no Redis": (f"redis://{elsewhere}/0", "the server at this address is not Redis"),
            "name": ("redis://:hunter2@redis.invalid/0", "cannot be resolved"),
        }
        url, says = urls[fault]
        if fault == "password":
            await admin.config_set("requirepass", "another")

        said = await complaint(tmp_path, command, url, variables(database, sandbox))

    assert said.startswith("rireki: REDIS_URL: ")
    assert says in said
    assert said.count("\n") == 1
    assert "hunter2" not in said


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read(65536)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
    writer.close()


async def test_a_fault_that_begins_later_is_in_readyz_and_once_in_the_log(
    database: Database, sandbox: Sandbox, redis_server: RedisServer, admin: Redis, tmp_path: Path
) -> None:
    settings = variables(database, sandbox, REDIS_URL=redis_server.url.replace("://", "://default:hunter2@"))
    await admin.config_set("requirepass", "hunter2")
    await admin.auth("hunter2")
    async with (
        Rireki.running("serve", home=tmp_path, **settings) as process,
        http_client(await process.address(), timeout=30) as client,
    ):
        assert (await client.get("/readyz")).status_code == 200

        await admin.config_set("requirepass", "another")
        await admin.auth("another")
        for kind in ("normal", "pubsub"):
            await admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")  # type: ignore[no-untyped-call]

        async def told() -> bool:
            return (await client.get("/readyz")).status_code == 503

        await until(told)
        answer = (await client.get("/readyz")).json()
        assert answer["detail"] == "This process cannot serve: REDIS_URL: Redis refuses the user or the password."
        assert (await client.get("/healthz")).status_code == 200
        await asyncio.sleep(2)  # This is enough time for several retries.
        await admin.config_set("requirepass", "hunter2")

        async def well() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await until(well)
    log = (tmp_path / "serve.log").read_text()
    # the lines that requests of this test caused are left out
    tries = "".join(line for line in log.splitlines() if '"cannot serve"' not in line)
    # each part that uses Redis may log the fault once
    assert 1 <= tries.count("Redis refuses the user or the password") <= 4
    assert "hunter2" not in log


async def test_a_redis_behind_a_unix_socket_is_used_by_every_part(
    database: Database, sandbox: Sandbox, redis_server: RedisServer, admin: Redis, tmp_path: Path
) -> None:
    path = tmp_path / "redis.sock"

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", redis_server.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while piece := await source.read(65536):
                    sink.write(piece)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer))

    async with await asyncio.start_unix_server(pass_on, path):
        settings = variables(database, sandbox, REDIS_URL=f"unix://{path}?db=1")
        async with (
            Rireki.running("serve", home=tmp_path, **settings) as process,
            http_client(await process.address(), timeout=30) as client,
        ):
            wrong = {"email": "a@example.com", "password": "wrong"}
            assert (await client.post("/api/auth/login", json=wrong)).status_code == 401
            assert (await client.get("/readyz")).status_code == 200
    assert await Redis.from_url(redis_server.url.replace("/0", "/1")).keys("rireki:tries*")


@pytest.mark.parametrize("spoil", ["a string", "a list that holds no numbers", "a hash"])
async def test_sign_ins_are_counted_in_this_process_if_another_program_uses_their_redis_keys(
    redis_server: RedisServer, admin: Redis, spoil: str
) -> None:
    tries = SignInLimit(redis_server.url)
    await tries.count("127.0.0.1", "a@example.com")
    await tries.wrong("127.0.0.1")
    keys = await admin.keys("rireki:tries*")
    assert keys
    for key in keys:
        await admin.delete(key)
        if spoil == "a string":
            await admin.set(key, b"\xff\x00")
        elif spoil == "a hash":
            await admin.hset(key, "a", "b")  # type: ignore[misc]
        else:
            await admin.rpush(key, *["no number"] * 200)  # type: ignore[misc]

    await tries.count("127.0.0.1", "a@example.com")
    await tries.wrong("127.0.0.1")
    await tries.forget("127.0.0.1", "a@example.com")


@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_a_variable_without_effect_causes_a_warning(
    database: Database, sandbox: Sandbox, redis_server: RedisServer, tmp_path: Path, command: str
) -> None:
    settings = variables(
        database, sandbox, REDIS_URL=redis_server.url, CHATWORK_AUTO_SYNC_ENABLED="true", CHATWORK_AUTO_SYNC_ROOM_LIMIT="5",
        CHATWORK_WEBHOOK_TOKEN="aHVudGVyMmh1bnRlcjI=",
    )  # fmt: skip
    log = tmp_path / f"{command}.log"
    async with Rireki.running(command, home=tmp_path, **settings):
        await until(lambda: log.read_text().count("has no effect yet") == 3, within=60)

    said = log.read_text()
    for variable in ("CHATWORK_AUTO_SYNC_ENABLED", "CHATWORK_AUTO_SYNC_ROOM_LIMIT", "CHATWORK_WEBHOOK_TOKEN"):
        assert f'"{variable}"' in said
    assert "aHVudGVy" not in said


async def test_a_variable_that_switches_off_a_missing_feature_causes_no_warning(
    database: Database, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = variables(database, sandbox, CHATWORK_AUTO_SYNC_ENABLED="false", CHATWORK_WEBHOOK_TOKEN="")
    async with Rireki.running("serve", home=tmp_path, **settings) as process:
        await process.address()

    assert "no effect" not in (tmp_path / "serve.log").read_text()
