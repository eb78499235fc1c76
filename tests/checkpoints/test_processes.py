"""Real processes that sign, and workers, which never hold the key."""

import asyncio
import json
import signal
from functools import partial
from pathlib import Path

import httpx2 as httpx
import pytest

from events.database import Database
from events.store import Store
from events.writes import NewJob
from tests.checkpoints.signers import SignedLog, copies_in, what_is_wrong
from tests.histories import new, until
from tests.job_types import ended
from tests.process.test_processes import Rireki
from tests.process.test_sealer import two_roles
from tests.process.test_start_faults import is_one_line, run

__all__ = ["two_roles"]


async def has_copies(log: SignedLog, count: int) -> bool:
    return len(copies_in(log.file)) >= count


def variables(log: SignedLog) -> dict[str, str]:
    return {"AUDIT_SIGNING_KEY": log.key.to_text(), "AUDIT_CHECKPOINT_URL": log.file.as_uri()}


async def test_rireki_seal_signs_and_copies_under_the_sealers_role_alone(
    log: SignedLog, store: Store, two_roles: tuple[str, str], tmp_path: Path
) -> None:
    await store.create(new(), actor="user:x")
    async with Rireki.running("seal", home=tmp_path, SEALER_DATABASE_URL=two_roles[1], **variables(log)) as process:
        await until(lambda: has_copies(log, 1), seconds=60)

        process.send(signal.SIGTERM)

        assert await process.ended() == 0
    assert [each.size for each in await log.signed()] == [1]


async def test_serve_signs_with_the_key_in_a_file_and_goes_on_after_a_restart(
    log: SignedLog, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(log.key.to_text())
    settings = variables(log) | {"AUDIT_SIGNING_KEY": "", "AUDIT_SIGNING_KEY_FILE": str(tmp_path / "key")}
    settings |= {"DATABASE_URL": log.database.url, "JOB_WORKER_ENABLED": "false"}
    for number in (1, 2):
        await store.create(new(), actor="user:x")
        async with Rireki.running("serve", home=tmp_path, **settings) as process:
            address = await process.address()
            await until(partial(has_copies, log, number), seconds=60)
            async with httpx.AsyncClient(base_url=address) as client:
                assert (await client.get("/readyz")).json() == {"status": "ok"}
            process.send(signal.SIGTERM)
            assert await process.ended() == 0
    assert [each.size for each in await log.signed()] == [1, 2]
    async with log.database.raw() as connection:
        assert await what_is_wrong(connection, log.copied(), [log.key.verifier]) == []


async def test_in_production_without_a_key_nothing_is_signed_and_everybody_is_told(
    log: SignedLog, store: Store, redis_url: str, tmp_path: Path
) -> None:
    await store.create(new(), actor="user:x")
    settings = {"APP_ENV": "production", "DATABASE_URL": log.database.url, "REDIS_URL": redis_url, "JWT_SECRET": "x" * 40}
    async with Rireki.running("serve", home=tmp_path, **settings) as process:
        address = await process.address()
        async with httpx.AsyncClient(base_url=address) as client:
            await until(lambda: warns_of_no_key(client), seconds=60)
    lines = [json.loads(line) for line in (tmp_path / "serve.log").read_text().splitlines() if line.startswith("{")]
    assert any("because no key is set" in line["event"] and line["level"] == "warning" for line in lines)
    assert await log.signed() == []


async def warns_of_no_key(client: httpx.AsyncClient) -> bool:
    warnings = (await client.get("/readyz")).json().get("warnings", [])
    return any("because no key is set: make one with `rireki audit keygen`" in each for each in warnings)


async def test_a_worker_holds_no_key_that_a_handler_could_find(
    log: SignedLog, store: Store, redis_url: str, tmp_path: Path
) -> None:
    job = await store.create(NewJob("look_around", {}, None, max_attempts=1), actor="user:x")
    settings = variables(log) | {"DATABASE_URL": log.database.url, "REDIS_URL": redis_url}
    async with Rireki.running("worker", home=tmp_path, module="tests.curious_type", **settings):
        done = await ended(log.database, job, within=90)

    assert done.result == {"found": [], "looked": 4}
    assert await log.signed() == []


async def test_handlers_inside_the_api_find_no_key_in_any_environment(log: SignedLog, store: Store, tmp_path: Path) -> None:
    job = await store.create(NewJob("look_around", {}, None, max_attempts=1), actor="user:x")
    settings = variables(log) | {"DATABASE_URL": log.database.url}
    async with Rireki.running("serve", home=tmp_path, module="tests.curious_type", **settings):
        done = await ended(log.database, job, within=90)

    assert done.result == {"found": ["the settings"], "looked": 4}


@pytest.mark.parametrize("command", ["serve", "seal"])
async def test_a_process_whose_log_got_a_new_name_says_that_it_needs_a_new_key(
    database: Database, log: SignedLog, store: Store, tmp_path: Path, command: str
) -> None:
    settings = variables(log) | {"DATABASE_URL": database.url, "JOB_WORKER_ENABLED": "false"}
    async with Rireki.running(command, home=tmp_path, **settings):
        await store.create(new(), actor="user:x")
        await until(lambda: has_copies(log, 1), seconds=60)
        begin = "insert into log_origins (number, origin, reason, old_origin) values (2, 'next', 'a test', :old)"
        await database.execute(begin, {"old": log.key.name})
        await store.create(new(), actor="user:x")

        def told() -> bool:
            return "and the log of this database is next: make a key for it" in (tmp_path / f"{command}.log").read_text()

        await until(lambda: asyncio.to_thread(told), seconds=60)
    assert [each.origin for each in await log.signed()] == [log.key.name]


@pytest.mark.parametrize("command", ["serve", "seal"])
async def test_a_database_without_the_name_of_its_log_is_refused_in_one_line(
    database: Database, tmp_path: Path, command: str
) -> None:
    async with database.raw() as connection:
        await connection.execute("alter table log_origins disable trigger all; delete from log_origins")

    ended = await run(command, home=tmp_path, DATABASE_URL=database.url)

    is_one_line(*ended, about="the rows of log_origins are gone: restore them from a backup")
