"""With an unusable database, each command prints one line with cause and remedy; status 2."""

import asyncio
import contextlib
import os
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from events.database_check import check_database
from events.database_url import read_database_url
from migrations.migrate import migrate
from tests.commands import run_command
from tests.conftest import with_database
from tests.process.test_processes import Rireki
from tests.workers.test_outgoing_http import certificate  # noqa: F401

JOB = "01a20a62-6488-7fee-a1a5-07c966751dd3"
COMMANDS: dict[str, list[str]] = {
    "serve": ["serve"],
    "worker": ["worker"],
    "seal": ["seal"],
    "migrate": ["migrate"],
    "migrate --app-role": ["migrate", "--app-role", "nobody"],
    "workers": ["workers"],
    "pause": ["pause", "chatwork_rooms_sync"],
    "resume": ["resume", "chatwork_rooms_sync"],
    "users add": ["users", "add", "a@example.com", "--role", "admin", "--password-stdin"],
    "audit replay": ["audit", "replay", JOB],
    "audit verify": ["audit", "verify"],
    "audit export": ["audit", "export"],
    "projections rebuild": ["projections", "rebuild"],
    "demo": ["demo"],
}
SECRET = "hunter2"


async def run(*arguments: str, home: Path, **variables: str) -> tuple[int, str, str]:
    """Runs a command to its end. Returns its exit status, standard output and standard error."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"APP_ENV": "test", "PORT": "0", "RIREKI_HOME": str(home)} | variables
    return await run_command(*arguments, environment=environment, given=b"a long password of somebody\n")


def is_one_line(status: int, told: str, complained: str, *, named: str = "DATABASE_URL", about: str) -> None:
    assert (status, told) == (2, ""), complained
    assert complained.startswith(f"rireki: {named}"), complained
    assert complained.count("\n") == 1, complained
    assert about in complained
    assert SECRET not in complained


@contextlib.asynccontextmanager
async def listening(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]) -> AsyncIterator[int]:
    """Runs a server on loopback that is not PostgreSQL. Yields its port."""
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:  # type: ignore[arg-type]
        yield server.sockets[0].getsockname()[1]


async def http_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(8)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(8)
    writer.write(b"N")


async def refuses(code: bytes, text: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Acts as a PostgreSQL that rejects each connection with this error."""
    start = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
    if start[:4] == (80877103).to_bytes(4, "big"):
        writer.write(b"N")
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
    body = b"SFATAL\0VFATAL\0C" + code + b"\0M" + text + b"\0\0"
    writer.write(b"E" + (len(body) + 4).to_bytes(4, "big") + body)
    writer.close()


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_says_in_one_line_that_no_server_listens(command: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/db", "REDIS_URL": "redis://127.0.0.1:1/0"}

    is_one_line(*await run(*COMMANDS[command], home=tmp_path, **variables), about="127.0.0.1:1, where no server listens")


@pytest.mark.parametrize("command", ["worker", "audit export", "users add"])
async def test_a_command_names_in_one_line_an_option_that_cannot_be_honoured(command: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": f"postgresql://u@h/db?sslmode={SECRET}", "REDIS_URL": "redis://127.0.0.1:1/0"}

    is_one_line(*await run(*COMMANDS[command], home=tmp_path, **variables), about="the option `sslmode`, which must be disable")


@pytest.mark.parametrize("command", ["serve", "audit verify", "demo"])
async def test_a_missing_database_is_reported_in_one_line(command: str, tmp_path: Path, postgres_url: str) -> None:
    url = with_database(postgres_url, "rireki_is_not_here")

    is_one_line(*await run(*COMMANDS[command], home=tmp_path, DATABASE_URL=url), about="database that does not exist")


@pytest.mark.parametrize(
    ("code", "text", "about"),
    [
        (b"28P01", b'password authentication failed for user "u"', "a user or a password that PostgreSQL refuses"),
        (b"28000", b'no pg_hba.conf entry for host "h"', "a user that PostgreSQL refuses"),
        (b"53300", b"too many connections", "no connection left"),
        (b"42501", b'permission denied for database "db"', "a role without a right that it needs"),
        (b"08P01", b"unsupported startup parameter: options", "refuses the connection (unsupported startup parameter"),
        (b"28P01", b"two\nlines \x1b[31m", "(two)"),
    ],
)
async def test_a_refusal_of_postgresql_is_reported_in_one_line(code: bytes, text: bytes, about: str, tmp_path: Path) -> None:
    async with listening(lambda reader, writer: refuses(code, text, reader, writer)) as port:
        url = f"postgresql://u:{SECRET}@127.0.0.1:{port}/db"
        is_one_line(*await run("migrate", home=tmp_path, DATABASE_URL=url), about=about)


@pytest.mark.parametrize(
    ("server", "options", "about"),
    [
        (http_server, "", "is not PostgreSQL"),
        (http_server, "?sslmode=disable", ""),
        (closes, "", "is not PostgreSQL"),
        (closes, "?sslmode=disable", "is not PostgreSQL"),
        (says_nothing, "?connect_timeout=2", "does not answer"),
        (no_tls, "?sslmode=require", "has no TLS"),
    ],
)
async def test_a_server_that_is_not_postgresql_is_reported_in_one_line(
    server: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object], options: str, about: str, tmp_path: Path
) -> None:
    async with listening(server) as port:
        url = f"postgresql://u:{SECRET}@127.0.0.1:{port}/db{options}"
        is_one_line(*await run("migrate", home=tmp_path, DATABASE_URL=url), about=about)


@pytest.mark.parametrize(
    ("url", "about"),
    [
        (f"postgresql://u:{SECRET}@nowhere.invalid/db", "a host that cannot be resolved"),
        (f"postgresql://u:{SECRET}@/db?host=/nowhere", "/nowhere, where no server listens"),
        (f"postgresql://u:{SECRET}@[::1]:1,127.0.0.1:1/db", "[::1]:1, 127.0.0.1:1, where no server listens"),
        (f"postgresql://u:{SECRET}@127.0.0.1:1/db?sslmode=verify-full", ""),
    ],
)
async def test_an_unreachable_address_is_reported_in_one_line(url: str, about: str, tmp_path: Path) -> None:
    is_one_line(*await run("migrate", home=tmp_path, DATABASE_URL=url, HOME=str(tmp_path)), about=about)


@pytest.mark.parametrize(
    ("options", "about"),
    [
        ("sslmode=verify-full&sslrootcert=system", "certificate is not trusted (self-signed certificate)"),
        ("sslmode=verify-full&sslrootcert={certificate}", "certificate is not trusted (IP address mismatch"),
    ],
)
async def test_an_untrusted_certificate_is_reported_in_one_line(
    options: str,
    about: str,
    tmp_path: Path,
    certificate: Path,  # noqa: F811
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        with contextlib.suppress(OSError):
            await writer.start_tls(context)

    async with await asyncio.start_server(upgrade, "127.0.0.2", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://u:{SECRET}@127.0.0.2:{port}/db?{options.format(certificate=quote(str(certificate)))}"
        is_one_line(*await run("migrate", home=tmp_path, DATABASE_URL=url), about=about)


async def test_a_command_waits_for_a_server_that_is_starting(postgres_url: str) -> None:
    """The server rejects two connections as a starting PostgreSQL does, and then accepts them."""
    address = read_database_url(postgres_url).arguments
    starts = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal starts
        starts += 1
        if starts <= 2:
            await refuses(b"57P03", b"the database system is starting up", reader, writer)
            return
        there = await asyncio.open_unix_connection(f"{address['host'][0]}/.s.PGSQL.{address['port'][0]}")
        with contextlib.suppress(OSError):
            await asyncio.gather(_pour(reader, there[1]), _pour(there[0], writer))

    if not (address["host"] and address["host"][0].startswith("/")):
        pytest.skip("the server of DATABASE_URL has no socket here")
    async with listening(serve) as port:
        user, password = quote(address["user"] or "", safe=""), quote(address["password"] or "", safe="")
        await check_database(f"postgresql://{user}:{password}@127.0.0.1:{port}{urlsplit(postgres_url).path}?sslmode=disable")

    assert starts == 3


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def powerless(postgres_url: str) -> AsyncIterator[tuple[str, str]]:
    """Yields the name of a role that may only connect, and the URL of its empty database."""
    role, name = f"rireki_powerless_{secrets.token_hex(4)}", f"rireki_test_{secrets.token_hex(4)}"
    administrator = await asyncpg.connect(postgres_url)
    await administrator.execute(f"create role {role} login password 'canary-{SECRET}'")
    await administrator.execute(f"create database {name}")
    url = with_database(postgres_url, name)
    inside = await asyncpg.connect(url)
    await inside.execute("revoke create on schema public from public")
    await inside.close()
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    yield role, parts._replace(netloc=f"{role}:canary-{SECRET}@{host}").geturl()
    await administrator.execute(f"drop database {name} with (force)")
    await administrator.execute(f"drop role {role}")
    await administrator.close()


@pytest.mark.parametrize("command", ["serve", "migrate", "demo"])
async def test_a_role_without_rights_on_the_schema_is_reported_in_one_line(
    command: str, powerless: tuple[str, str], tmp_path: Path
) -> None:
    _, url = powerless

    is_one_line(*await run(*COMMANDS[command], home=tmp_path, DATABASE_URL=url), about="permission denied")


@pytest.mark.parametrize("command", ["serve", "worker", "workers"])
@pytest.mark.parametrize("migrated", [False, True], ids=["without a schema", "without rights"])
async def test_in_production_a_missing_schema_or_right_is_reported_in_one_line(
    command: str, migrated: bool, powerless: tuple[str, str], tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    _, url = powerless
    if migrated:
        await asyncio.to_thread(migrate, with_database(postgres_url, urlsplit(url).path.strip("/")))
    variables = {"APP_ENV": "production", "DATABASE_URL": url, "REDIS_URL": redis_url, "JWT_SECRET": "x" * 32}

    ended = await run(*COMMANDS[command], home=tmp_path, **variables)

    is_one_line(*ended, about="rireki migrate")


async def test_missing_variables_of_production_are_named_together(tmp_path: Path) -> None:
    status, told, complained = await run("serve", home=tmp_path, APP_ENV="production", DATABASE_URL="", REDIS_URL="")

    assert (status, told) == (2, "")
    assert complained == "rireki: DATABASE_URL, REDIS_URL and JWT_SECRET are required in production\n"


async def test_migrations_use_migrate_database_url_and_name_it_in_errors(
    postgres_url: str, database_url: str, tmp_path: Path
) -> None:
    elsewhere = with_database(postgres_url, "rireki_is_not_here")
    variables = {"DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/db", "MIGRATE_DATABASE_URL": database_url}

    assert await run("migrate", home=tmp_path, **variables) == (0, "the schema is up to date\n", "")
    ended = await run("migrate", home=tmp_path, **variables | {"MIGRATE_DATABASE_URL": elsewhere})
    is_one_line(*ended, named="MIGRATE_DATABASE_URL", about="database that does not exist")
    ended = await run("workers", home=tmp_path, DATABASE_URL=database_url, MIGRATE_DATABASE_URL=elsewhere)
    is_one_line(*ended, named="MIGRATE_DATABASE_URL", about="database that does not exist")


async def test_the_service_runs_with_libpq_s_keywords_in_its_address(database_url: str, tmp_path: Path) -> None:
    mark = "&" if urlsplit(database_url).query else "?"
    url = f"{database_url}{mark}connect_timeout=5&channel_binding=prefer&application_name=mine&target_session_attrs=read-write"
    async with Rireki.running("serve", home=tmp_path, DATABASE_URL=url) as process:
        assert (await process.address()).startswith("http://")
