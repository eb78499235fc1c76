"""The log asks witnesses for cosignatures. The witness is a real process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import asyncpg
import pytest

from events.database import Database
from projections.cosignatures import WitnessLag, witness_lags
from projections.proof.cosignature import cosigned_at, new_cosigner
from projections.proof.signed_note import read_note, verified_by
from service.audit_values import WitnessAddress
from service.checkpoints.witness_client import WitnessClient, Witnesses, WitnessFailed, WitnessRefuses
from tests.checkpoints.signed_logs import grow, published_note, signer_of
from tests.checkpoints.witnesses import WitnessFiles, new_witness, running_witness
from tests.conftest import administer, with_database
from tests.histories import until
from workers.outgoing_http import Outgoing
from workers.outgoing_rules import NOTHING_MORE


@asynccontextmanager
async def asking(database: Database, url: str, files: WitnessFiles) -> AsyncIterator[WitnessClient]:
    client = WitnessClient(database, WitnessAddress(str(files.cosigner.witness), url), Outgoing())
    try:
        yield client
    finally:
        await client.close()


async def published(database: Database, origin: str) -> str:
    async with database.raw() as connection:
        return await published_note(connection, origin) or ""


async def test_each_checkpoint_gets_the_cosignature_of_a_witness(database: Database, tmp_path: Path) -> None:
    files, key = new_witness(tmp_path), await signer_of(database)
    async with running_witness(files, key.verifier) as (_, http), asking(database, str(http.base_url), files) as client:
        for jobs in (1, 70, 300):
            signed = await grow(database, f"{jobs}", jobs)

            asked, again = await client.ask(), await client.ask()

            note = read_note((await published(database, key.name)).encode())
            assert asked is not None
            assert asked.size == signed.size
            assert again is None
            assert cosigned_at(note, files.cosigner.witness) is not None
            assert verified_by(note, [key.verifier]) == [key.verifier]


async def test_a_log_that_was_restarted_goes_on_where_the_witness_is(database: Database, tmp_path: Path) -> None:
    """A client that does not know the witness's last size learns it from the answer 409."""
    files, key = new_witness(tmp_path), await signer_of(database)
    async with running_witness(files, key.verifier) as (_, http):
        await grow(database, "a", 70)
        async with asking(database, str(http.base_url), files) as client:
            await client.ask()
        await grow(database, "b", 70)
        async with asking(database, str(http.base_url), files) as client:
            client._known[key.name] = 3

            assert await client.ask() is not None


async def test_of_two_databases_with_one_key_only_one_is_cosigned(
    database: Database, postgres_url: str, database_url: str, tmp_path: Path
) -> None:
    """The log has two histories: two databases with a common beginning sign different events."""
    files, key = new_witness(tmp_path), await signer_of(database)
    async with running_witness(files, key.verifier) as (_, http), asking(database, str(http.base_url), files) as client:
        await grow(database, "both", 70)
        await client.ask()
        async with copy_of(database, postgres_url, database_url) as other:
            await grow(database, "one", 5)
            await grow(other, "other", 9)
            async with asking(other, str(http.base_url), files) as liar:
                assert await client.ask() is not None
                with pytest.raises(WitnessRefuses, match="another history"):
                    await liar.ask()

            note = read_note((await published(other, key.name)).encode())
            assert cosigned_at(note, files.cosigner.witness) is None
        await grow(database, "one again", 30)
        assert await client.ask() is not None


@asynccontextmanager
async def copy_of(database: Database, postgres_url: str, database_url: str) -> AsyncIterator[Database]:
    await database.disconnect()
    name = f"{database_url.rpartition('/')[2].partition('?')[0]}_copy"
    copied = f"create database {name} template {name.removesuffix('_copy')}"
    await asyncio.to_thread(administer, postgres_url, copied)
    await database.connect()
    other = Database(with_database(postgres_url, name))
    await other.connect()
    try:
        yield other
    finally:
        await other.disconnect()
        await asyncio.to_thread(administer, postgres_url, f"drop database {name} with (force)")


async def test_a_log_that_was_set_back_is_told_so(
    database: Database, postgres_url: str, database_url: str, tmp_path: Path
) -> None:
    files, key = new_witness(tmp_path), await signer_of(database)
    async with running_witness(files, key.verifier) as (_, http), asking(database, str(http.base_url), files) as client:
        await grow(database, "a", 10)
        async with copy_of(database, postgres_url, database_url) as backup:
            await grow(database, "b", 70)
            await client.ask()
            async with asking(backup, str(http.base_url), files) as restored:
                with pytest.raises(WitnessRefuses, match="size 320, and its newest checkpoint has size 40"):
                    await restored.ask()


async def test_witnesses_are_asked_beside_and_after_their_outages(database: Database, tmp_path: Path) -> None:
    files, key = new_witness(tmp_path), await signer_of(database)
    witness = files.cosigner.witness
    signed = await grow(database, "a", 10)
    async with running_witness(files, key.verifier) as (process, http):
        url = str(http.base_url)
        address = WitnessAddress(str(witness), url)
        async with Witnesses(database, [address], Outgoing()).running():
            await until(lambda: _cosigned(database, signed.size), seconds=60)
            await process.kill()
            larger = await grow(database, "b", 10)
            listen = url.rpartition("//")[2].strip("/")
            async with running_witness(files, key.verifier, listen=listen):
                await until(lambda: _cosigned(database, larger.size), seconds=60)


async def _cosigned(database: Database, size: int) -> bool:
    return bool(await database.fetch_val("select exists (select from cosignatures where size = :size)", {"size": size}))


async def test_the_lag_of_each_witness_is_known(database: Database, tmp_path: Path) -> None:
    files, key = new_witness(tmp_path), await signer_of(database)
    silent = new_cosigner("silent").witness
    witnesses = [files.cosigner.witness, silent]
    assert [lag.seconds for lag in await witness_lags(database, witnesses)] == [0, 0]
    await grow(database, "a", 10)
    async with running_witness(files, key.verifier) as (_, http), asking(database, str(http.base_url), files) as client:
        await client.ask()

    known, lagging = await witness_lags(database, witnesses)

    assert known == WitnessLag(files.cosigner.name, 0)
    assert lagging.witness == "silent"
    assert lagging.seconds > 0


async def test_a_witness_without_the_key_of_the_log_is_told_apart(database: Database, tmp_path: Path) -> None:
    files = new_witness(tmp_path)
    await grow(database, "a", 10)
    async with running_witness(files) as (_, http), asking(database, str(http.base_url), files) as client:
        with pytest.raises(WitnessFailed, match="does not know this log"):
            await client.ask()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"", "no cosignature by its key"),
        (200, b"\xff" * 100, "no cosignature by its key"),
        (200, new_cosigner("other").cosign("o\n1\n" + "A" * 43 + "=\n", 1).to_line().encode(), "no cosignature by its key"),
        (200, b"x" * 20_000, "is longer than 16384 bytes"),
        (409, b"", "without the size"),
        (409, b"1" * 30 + b"\n", "without the size"),
        (409, b"7\n", "another old size 5 times"),
        (409, b"9000000000000000000\n", "has cosigned this log at size 9000000000000000000"),
        (301, b"", "answered 301"),
        (403, b"", "does not know the key"),
        (500, b"", "answered 500"),
    ],
)
async def test_a_hostile_witness_changes_nothing(
    database: Database, tmp_path: Path, status: int, body: bytes, told: str
) -> None:
    files = new_witness(tmp_path)
    await grow(database, "a", 10)
    with hostile_witness(status, body) as url:
        async with asking(database, url, files) as client:
            with pytest.raises(WitnessFailed, match=told) as failed:
                await client.ask()

    assert len(str(failed.value)) < 300
    assert await database.fetch_val("select count(*) from cosignatures") == 0


async def test_a_witness_that_named_a_size_by_mistake_is_asked_again(database: Database, tmp_path: Path) -> None:
    files, key = new_witness(tmp_path), await signer_of(database)
    await grow(database, "a", 10)
    async with running_witness(files, key.verifier) as (_, http), asking(database, str(http.base_url), files) as client:
        client._known[key.name] = 9_000
        with pytest.raises(WitnessRefuses, match="at size 9000"):
            await client.ask()

        assert await client.ask() is not None


async def test_outgoing_allow_holds_for_witnesses(database: Database, tmp_path: Path) -> None:
    files = new_witness(tmp_path)
    await grow(database, "a", 10)
    address = WitnessAddress(str(files.cosigner.witness), "http://127.0.0.1:9")
    client = WitnessClient(database, address, Outgoing(rules=NOTHING_MORE))

    with pytest.raises(WitnessFailed, match="OUTGOING_ALLOW"):
        await client.ask()
    await client.close()


@contextmanager
def hostile_witness(status: int, body: bytes) -> Iterator[str]:
    """Runs a server that gives every request the same answer. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


async def test_a_cosignature_is_never_changed(database: Database, tmp_path: Path) -> None:
    files, key = new_witness(tmp_path), await signer_of(database)
    await grow(database, "a", 10)
    async with running_witness(files, key.verifier) as (_, http), asking(database, str(http.base_url), files) as client:
        await client.ask()

    async with database.raw() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("update cosignatures set line = ''")
