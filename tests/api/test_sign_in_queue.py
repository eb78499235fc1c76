"""The queue of sign-ins before the password hashers is short, and fair to each address."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest

from service.accounts import sign_in_limit
from service.accounts.sign_in_limit import FOR_ONE_EMAIL, SignInLimit, TooManyTries
from service.accounts.sign_in_queue import HASHERS, MOST_OF_ONE_ADDRESS, MOST_WAITING, LineFull, SignInLine
from service.api import auth
from service.http.problems import problem_of
from tests.http_client import http_client
from tests.service_fixture import PASSWORD, Service, service

__all__ = ["service"]


async def sign_in(client: httpx.AsyncClient, address: str, email: str, password: str = "wrong") -> httpx.Response:
    body = {"email": email, "password": password}
    return await client.post("/api/auth/login", json=body, headers={"X-Forwarded-For": address})


async def test_many_sign_ins_from_one_address_do_not_block_other_addresses(service: Service) -> None:
    limits = httpx.Limits(max_connections=300)
    async with http_client(service.url, timeout=60, limits=limits) as client:
        crowd = [asyncio.create_task(sign_in(client, "192.0.2.1", f"{n}@example.com")) for n in range(180)]
        others = [asyncio.create_task(sign_in(client, f"192.0.2.{n}", "admin@example.com", PASSWORD)) for n in range(2, 7)]
        told, right = await asyncio.gather(*crowd), await asyncio.gather(*others)

    assert [answer.status_code for answer in right] == [200] * 5
    assert {answer.status_code for answer in told} == {401, 429}
    refused = [answer for answer in told if answer.status_code == 429]
    assert len(refused) >= 180 - 100 - MOST_OF_ONE_ADDRESS
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {answer.json()["detail"][:8] for answer in refused} == {"Too many"}


async def test_a_sign_in_refused_by_the_full_queue_is_not_counted(service: Service) -> None:
    line = service.context.sign_in_limit.line
    with contextlib.ExitStack() as places:
        for _ in range(MOST_OF_ONE_ADDRESS):
            places.enter_context(line.place("192.0.2.1"))
        for _ in range(FOR_ONE_EMAIL.amount + 1):
            refused = await sign_in(service.as_nobody, "::ffff:192.0.2.1", "admin@example.com", PASSWORD)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, str(auth.RETRY_AFTER))
            assert refused.json()["detail"] == "Too many people sign in at this moment. Try again in 2 seconds."

    assert (await sign_in(service.as_nobody, "192.0.2.1", "admin@example.com", PASSWORD)).status_code == 200


async def test_a_try_over_the_limit_is_refused_before_its_password_is_hashed(service: Service) -> None:
    """Both hashers are busy, so a try that waited for a hasher would be refused by the queue."""
    tries = service.context.sign_in_limit
    for _ in range(FOR_ONE_EMAIL.amount):
        await tries.count("192.0.2.1", service.context.devices.account("admin@example.com"))

    async with tries.line.hasher("192.0.2.2"), tries.line.hasher("192.0.2.3"):
        refused = await sign_in(service.as_nobody, "192.0.2.1", "admin@example.com", PASSWORD)

    assert refused.status_code == 429
    assert refused.json()["detail"].startswith("Too many tries to sign in. ")


def test_the_queue_is_short_and_one_address_gets_only_a_part_of_it() -> None:
    line = SignInLine()
    with contextlib.ExitStack() as places:
        for _ in range(MOST_OF_ONE_ADDRESS):
            places.enter_context(line.place("one"))
        with pytest.raises(LineFull), line.place("one"):
            pass
        for number in range(HASHERS + MOST_WAITING - MOST_OF_ONE_ADDRESS):
            places.enter_context(line.place(str(number)))
        with pytest.raises(LineFull), line.place("another"):
            pass

    with line.place("one"), line.place("another"):
        pass


async def test_a_sign_in_that_waits_too_long_gets_429(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.accounts.sign_in_queue.WAITS_AT_MOST", 0.05)
    line = SignInLine()

    async with line.hasher("a"), line.hasher("b"):
        with pytest.raises(LineFull):
            async with line.hasher("c"):
                pass
    async with asyncio.timeout(5), line.hasher("a"), line.hasher("b"):
        pass


async def test_addresses_take_turns_and_a_cancelled_sign_in_frees_its_place() -> None:
    line, served = SignInLine(), list[str]()

    async def sign_in(address: str) -> None:
        async with line.hasher(address):
            served.append(address)

    async with line.hasher("x"), line.hasher("x"):
        waiting = [asyncio.create_task(sign_in(address)) for address in ("one", "one", "one", "one", "two", "three", "gone")]
        await asyncio.sleep(0)
        waiting[-1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert sorted(served[:4]) == ["one", "one", "three", "two"]
    assert served[4:] == ["one", "one"]
    async with asyncio.timeout(5), line.hasher("a"), line.hasher("b"):
        pass


@contextlib.asynccontextmanager
async def a_redis_that_never_answers() -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


async def test_a_hanging_redis_delays_no_sign_in_and_lifts_no_limit() -> None:
    async with a_redis_that_never_answers() as url:
        tries = SignInLimit(url)
        began = time.monotonic()
        for _ in range(FOR_ONE_EMAIL.amount):
            await tries.request("192.0.2.1")
            await tries.count("192.0.2.1", "a@example.com")
        took = time.monotonic() - began

        with pytest.raises(TooManyTries) as refused:
            await tries.count("192.0.2.1", "a@example.com")

    assert problem_of(refused.value).status == 429
    assert took < 2 + sign_in_limit.REDIS_WITHIN


async def test_the_count_goes_on_when_redis_is_lost(redis_url: str) -> None:
    tries, email = SignInLimit(redis_url), f"{time.monotonic_ns()}@example.com"
    for _ in range(FOR_ONE_EMAIL.amount - 1):
        await tries.count("192.0.2.1", email)

    tries._shared = SignInLimit("redis://127.0.0.1:1")._shared
    await tries.count("192.0.2.1", email)
    with pytest.raises(TooManyTries):
        await tries.count("192.0.2.1", email)


async def test_the_width_of_an_email_gives_no_further_attempts(service: Service) -> None:
    for _ in range(FOR_ONE_EMAIL.amount // 2):
        assert (await sign_in(service.as_nobody, "192.0.2.1", "admin@example.com")).status_code == 401
        assert (await sign_in(service.as_nobody, "192.0.2.1", "ａｄｍｉｎ＠example.com")).status_code == 401

    assert (await sign_in(service.as_nobody, "192.0.2.1", "ADMIN@example.com")).status_code == 429
