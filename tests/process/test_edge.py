"""The edge of a service in production: the names it answers to, and the servers it calls."""

from pathlib import Path

import httpx2 as httpx
import pytest

from tests.http_client import http_client
from tests.process.test_processes import Rireki
from tests.process.test_start_faults import is_one_line, run

UNSET = "ALLOWED_HOSTS is not set"


def production(database_url: str, redis_url: str, **more: str) -> dict[str, str]:
    return {"APP_ENV": "production", "DATABASE_URL": database_url, "REDIS_URL": redis_url, "JWT_SECRET": "x" * 32, **more}


async def test_without_allowed_hosts_every_name_is_answered_with_a_warning(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with Rireki.running("serve", home=tmp_path, **production(database_url, redis_url)) as process:
        answer = await asked(await process.address(), host="anything.example")

    assert answer.status_code == 200
    assert (tmp_path / "serve.log").read_text().count(UNSET) == 1


async def test_with_allowed_hosts_only_those_are_answered_and_browsers_must_use_tls(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    variables = production(database_url, redis_url, ALLOWED_HOSTS="jobs.example.com")
    async with Rireki.running("serve", home=tmp_path, **variables) as process:
        address = await process.address()
        answers = [await asked(address, host=host) for host in ("jobs.example.com:8443", "127.0.0.1")]

    assert [answer.status_code for answer in answers] == [200, 421]
    assert {answer.headers["strict-transport-security"] for answer in answers} == {"max-age=31536000; includeSubDomains"}
    assert UNSET not in (tmp_path / "serve.log").read_text()


@pytest.mark.parametrize(("token", "warned"), [("0123456789abcde", 1), ("0123456789abcdef", 0)])
async def test_a_metrics_token_of_fewer_than_16_characters_is_a_warning(
    token: str, warned: int, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    variables = production(database_url, redis_url, METRICS_TOKEN=token)
    async with Rireki.running("serve", home=tmp_path, **variables) as process:
        await process.address()

    text = (tmp_path / "serve.log").read_text()
    assert text.count("METRICS_TOKEN has fewer than 16 characters") == warned
    assert token not in text


async def asked(address: str, *, host: str) -> httpx.Response:
    async with http_client() as client:
        return await client.get(f"{address}/healthz", headers={"Host": host})


@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_a_server_that_must_not_be_called_ends_the_start(
    command: str, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    variables = production(database_url, redis_url, OPENAI_BASE_URL="https://10.0.0.5/v1")

    ended = await run(command, home=tmp_path, **variables)

    is_one_line(*ended, named="OPENAI_BASE_URL", about="OUTGOING_ALLOW")


async def test_the_generated_sign_in_of_development_is_for_this_machine_only(database_url: str, tmp_path: Path) -> None:
    ended = await run("serve", home=tmp_path, APP_ENV="development", DATABASE_URL=database_url, HOST="0.0.0.0")

    is_one_line(*ended, named="HOST 0.0.0.0", about="is for this machine only")
