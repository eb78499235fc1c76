"""Guessing from many addresses is delayed, but a known device does not wait for it."""

import contextlib
import time

import httpx2 as httpx
import jwt
import pytest
from structlog.testing import capture_logs

from service.accounts.guess_delay import FREE, Guesses
from service.accounts.known_devices import LIFE, MOST_ACCOUNTS, Device, KnownDevices
from service.accounts.sign_in_limit import FOR_ALL_REQUESTS, FOR_ONE_EMAIL, TooManyTries
from service.http.cookies import DEVICE
from tests.http_client import http_client
from tests.service_fixture import PASSWORD, SECRET, Service, service

__all__ = ["service"]

EMAIL = "admin@example.com"
HOME = "203.0.113.7"


async def sign_in(
    service: Service, address: str, password: str = PASSWORD, *, device: str | None = None, email: str = EMAIL
) -> httpx.Response:
    headers = {"X-Forwarded-For": address} | ({"Cookie": f"{DEVICE}={device}"} if device else {})
    async with http_client(service.url, timeout=60) as client:
        return await client.post("/api/auth/login", json={"email": email, "password": password}, headers=headers)


def device_cookie(answer: httpx.Response) -> str:
    return next(cookie for cookie in answer.headers.get_list("set-cookie") if cookie.startswith(DEVICE)).split(";")[0][
        len(DEVICE) + 1 :
    ]


def strangers_guess(service: Service) -> None:
    """Passwords were guessed from many addresses, so that a stranger must wait for minutes."""
    account = service.context.devices.account(EMAIL)
    service.context.sign_in_limit._delays_here._kept[account] = Guesses(FREE + 8, time.time())


async def use_up_the_requests(service: Service) -> None:
    with contextlib.suppress(TooManyTries):
        for _ in range(FOR_ALL_REQUESTS.amount + 1):
            await service.context.sign_in_limit.request(HOME)


async def test_guesses_from_many_addresses_are_delayed(service: Service) -> None:
    account = service.context.devices.account(EMAIL)
    for number in range(FREE - 2):
        await service.context.sign_in_limit.count(f"198.51.100.{number}", account)

    guesses = [await sign_in(service, f"192.0.2.{number}", "wrong") for number in range(12)]

    assert {guess.status_code for guess in guesses[:2]} == {401}
    refused = [guess for guess in guesses if guess.status_code == 429]
    assert refused
    assert all(int(guess.headers["retry-after"]) >= 1 for guess in refused)
    assert (await sign_in(service, HOME, email="employee@example.com")).status_code == 200


async def test_a_known_device_signs_in_while_strangers_guess(service: Service) -> None:
    device = device_cookie(await sign_in(service, HOME))
    strangers_guess(service)

    refused = await sign_in(service, HOME)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 200
    assert (await sign_in(service, HOME, device=device)).status_code == 200
    assert (await sign_in(service, "203.0.113.200", device=device)).status_code == 200


async def test_a_known_device_is_not_slowed_by_guesses_from_its_own_address(service: Service) -> None:
    device = device_cookie(await sign_in(service, HOME))
    tries, account = service.context.sign_in_limit, service.context.devices.account(EMAIL)
    for _ in range(FOR_ONE_EMAIL.amount):
        await tries.count(HOME, account)
    for _ in range(100):
        await tries.wrong(HOME)
    await use_up_the_requests(service)

    assert (await sign_in(service, HOME)).status_code == 429
    assert (await sign_in(service, HOME, device=device)).status_code == 200


async def test_the_wrong_passwords_of_a_known_device_are_delayed_too(service: Service) -> None:
    device = device_cookie(await sign_in(service, HOME))
    account, read = service.context.devices.account(EMAIL), service.context.devices.read(device)
    assert read is not None
    assert (await sign_in(service, HOME, "wrong", device=device)).status_code == 401
    kept = service.context.sign_in_limit._delays_here._kept
    assert kept[f"{account} {read.id}"].wrong == 1.0
    kept[f"{account} {read.id}"] = Guesses(FREE + 8, time.time())

    assert (await sign_in(service, HOME, device=device)).status_code == 429
    assert (await sign_in(service, HOME)).status_code == 200  # Without its cookie, the device signs in as a stranger does.


async def test_the_cookie_of_another_account_or_another_key_does_not_help(service: Service) -> None:
    others = device_cookie(await sign_in(service, HOME, email="employee@example.com"))
    forged = KnownDevices(SECRET[::-1])
    false = forged.cookie(None, forged.account(EMAIL))
    strangers_guess(service)

    for device in (others, false, "nonsense", "e30.e30.e30", "x" * 5000):
        assert (await sign_in(service, HOME, device=device)).status_code == 429


async def test_a_device_is_known_to_each_account_that_signed_in_with_it(service: Service) -> None:
    first = device_cookie(await sign_in(service, HOME))
    second = await sign_in(service, HOME, device=first, email="employee@example.com")

    device, old = service.context.devices.read(device_cookie(second)), service.context.devices.read(first)
    assert device is not None
    assert old is not None
    assert device.id == old.id
    assert all(device.knows(service.context.devices.account(email)) for email in (EMAIL, "employee@example.com"))
    assert not device.knows(service.context.devices.account("other@example.com"))


def test_a_device_remembers_a_bounded_number_of_accounts() -> None:
    devices, cookie = KnownDevices(SECRET), None
    for number in range(30):
        cookie = devices.cookie(devices.read(cookie), devices.account(f"{number}@example.com"))

    device = devices.read(cookie)
    assert device is not None
    assert device.accounts == tuple(devices.account(f"{number}@example.com") for number in range(29, 29 - MOST_ACCOUNTS, -1))


@pytest.mark.parametrize(
    "claims",
    [
        {"jti": "x" * 22, "accounts": [], "exp": 1},
        {"jti": "x" * 22, "accounts": []},
        {"jti": 7, "accounts": [], "exp": 2**33},
        {"jti": "x y", "accounts": [], "exp": 2**33},
        {"jti": "x" * 22, "accounts": {"a": 1}, "exp": 2**33},
        {"jti": "x" * 22, "exp": 2**33},
        {"sub": "a token of a session"},
    ],
)
def test_a_malformed_or_expired_cookie_is_ignored(claims: dict[str, object]) -> None:
    devices = KnownDevices(SECRET)

    assert devices.read(jwt.encode(claims, devices._key, "HS256")) is None


def test_a_session_is_no_device_and_a_device_is_no_session(service: Service) -> None:
    devices = service.context.devices
    cookie = devices.cookie(Device("x" * 22), devices.account(EMAIL))

    assert devices.read(service.context.users.new_token(service.admin)) is None
    assert service.context.users._claims(cookie) is None
    assert jwt.decode(cookie, options={"verify_signature": False})["exp"] <= time.time() + LIFE + 1


async def test_each_sign_in_writes_one_line_without_email_or_password(service: Service) -> None:
    with capture_logs() as lines:
        device = device_cookie(await sign_in(service, HOME))
        await sign_in(service, HOME, "a secret that is wrong")
        await sign_in(service, HOME, device=device)
        strangers_guess(service)
        await sign_in(service, HOME)
        await use_up_the_requests(service)
        await sign_in(service, HOME)

    told = [line for line in lines if line["event"] == "sign-in"]
    account = service.context.devices.account(EMAIL)
    assert told[0] == {
        "event": "sign-in", "log_level": "info", "address": HOME, "email_hash": account, "device": "new", "outcome": "signed in",
    }  # fmt: skip
    assert [line["outcome"] for line in told] == [
        "signed in", "wrong", "signed in", "too many tries", "too many requests",
    ]  # fmt: skip
    assert [line.get("device") for line in told[:3]] == ["new", "new", "known"]
    assert not [line for line in lines if EMAIL in str(line) or "secret that" in str(line) or PASSWORD in str(line)]


def test_the_hash_of_an_email_needs_the_secret() -> None:
    assert KnownDevices(SECRET).account(EMAIL) != KnownDevices(SECRET[::-1]).account(EMAIL)
    assert KnownDevices(SECRET).account(EMAIL) == KnownDevices(SECRET).account(EMAIL)
