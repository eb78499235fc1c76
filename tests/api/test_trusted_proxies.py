"""The client's address is taken from trusted proxies only."""

from typing import Any

import httpx2 as httpx
import pytest
from structlog.testing import capture_logs

from service.accounts.sign_in_limit import FOR_ONE_EMAIL
from service.config import ConfigError, Settings, load_settings
from service.trusted_proxies import counted_as, read_trusted_proxies
from tests.http_client import http_client
from tests.service_fixture import PASSWORD, Service, make_context, service, serving

__all__ = ["service"]

LOOPBACK = "127.0.0.1,::1"


def scope_of(peer: str, *headers: tuple[str, str]) -> dict[str, Any]:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "client": (peer, 4711), "scheme": "http", "headers": raw}


def client_behind(trusted: str, peer: str, *lists: str) -> str:
    scope = scope_of(peer, *(("x-forwarded-for", line) for line in lists))
    read_trusted_proxies(trusted).apply(scope)
    return str(scope["client"][0])


@pytest.mark.parametrize(
    ("trusted", "peer", "lists", "client"),
    [
        (LOOPBACK, "127.0.0.1", (), "127.0.0.1"),
        (LOOPBACK, "127.0.0.1", ("192.0.2.7",), "192.0.2.7"),
        (LOOPBACK, "::1", ("2001:db8::7",), "2001:db8::7"),
        (LOOPBACK, "::ffff:127.0.0.1", ("192.0.2.7",), "192.0.2.7"),
        (LOOPBACK, "192.0.2.1", ("192.0.2.7",), "192.0.2.1"),
        (LOOPBACK, "127.0.0.1", ("203.0.113.9, 192.0.2.7",), "192.0.2.7"),
        (LOOPBACK, "127.0.0.1", ("203.0.113.9", "192.0.2.7"), "192.0.2.7"),
        (LOOPBACK, "127.0.0.1", ("192.0.2.7, 127.0.0.1",), "192.0.2.7"),
        (LOOPBACK, "127.0.0.1", ("127.0.0.1, ::1",), "127.0.0.1"),
        ("10.0.0.0/8", "10.1.2.3", ("203.0.113.9,192.0.2.7,10.9.9.9",), "192.0.2.7"),
        ("10.0.0.0/8", "127.0.0.1", ("192.0.2.7",), "127.0.0.1"),
        ("2001:db8:1::/48, 10.0.0.5", "2001:db8:1::5", ("192.0.2.7, 10.0.0.5",), "192.0.2.7"),
        ("fe80::/10", "fe80::1%eth0", ("192.0.2.7",), "192.0.2.7"),
        ("::ffff:10.0.0.0/104", "10.1.2.3", ("192.0.2.7",), "192.0.2.7"),
        ("none", "127.0.0.1", ("192.0.2.7",), "127.0.0.1"),
        ("0.0.0.0/0", "203.0.113.1", ("192.0.2.7, 192.0.2.8",), "192.0.2.7"),
        (LOOPBACK, "127.0.0.1", ("192.0.2.7:5678",), "192.0.2.7"),
        (LOOPBACK, "127.0.0.1", ("[2001:db8::7]:99",), "2001:db8::7"),
        (LOOPBACK, "127.0.0.1", ("[2001:db8::7]",), "2001:db8::7"),
        (LOOPBACK, "127.0.0.1", ('"[2001:db8::7]:99"',), "2001:db8::7"),
        (LOOPBACK, "127.0.0.1", ("::ffff:192.0.2.7",), "192.0.2.7"),
        (LOOPBACK, "127.0.0.1", ("192.0.2.7, unknown",), "127.0.0.1"),
        (LOOPBACK, "127.0.0.1", ("unknown, 192.0.2.7",), "192.0.2.7"),
        ("10.0.0.0/8", "10.0.0.1", ("192.0.2.7, <script>, 10.0.0.2",), "10.0.0.2"),
        (LOOPBACK, "127.0.0.1", ("",), "127.0.0.1"),
        (LOOPBACK, "127.0.0.1", (", ,",), "127.0.0.1"),
        (LOOPBACK, "127.0.0.1", ("192.0.2.007",), "127.0.0.1"),
        (LOOPBACK, "127.0.0.1", ("192.0.2.7\xff",), "127.0.0.1"),
        (LOOPBACK, "127.0.0.1", ("1" * 5_000,), "127.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_trusted(
    trusted: str, peer: str, lists: tuple[str, ...], client: str
) -> None:
    assert client_behind(trusted, peer, *lists) == client


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        ("127.0.0.1", ("https",), "https"),
        ("127.0.0.1", ("HTTPS",), "https"),
        ("127.0.0.1", ("http, https",), "https"),
        ("127.0.0.1", ("javascript",), "http"),
        ("127.0.0.1", (), "http"),
        ("192.0.2.1", ("https",), "http"),
    ],
)
def test_only_a_trusted_proxy_sets_the_scheme(peer: str, proto: tuple[str, ...], scheme: str) -> None:
    scope = scope_of(peer, *(("x-forwarded-proto", value) for value in proto))

    read_trusted_proxies(LOOPBACK).apply(scope)

    assert scope["scheme"] == scheme


def test_the_header_forwarded_is_ignored() -> None:
    scope = scope_of("127.0.0.1", ("forwarded", "for=192.0.2.7;proto=https"))

    read_trusted_proxies(LOOPBACK).apply(scope)

    assert (scope["client"], scope["scheme"]) == (("127.0.0.1", 4711), "http")


@pytest.mark.parametrize(
    "wrong", ["*", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "127.0.0.1,", "127.0.0.1;::1", "none,::1"]
)
def test_a_malformed_trusted_proxies_setting_is_refused_in_one_line_at_the_start(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", wrong)

    with pytest.raises(ConfigError, match=r"^TRUSTED_PROXIES must be `none`, or IP addresses and networks [^\n]*$"):
        load_settings()


def test_by_default_the_proxies_of_this_machine_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "")

    assert load_settings().trusted_proxies == read_trusted_proxies(LOOPBACK) == Settings().trusted_proxies


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_the_ipv6_network_of_one_customer_counts_as_one_client(address: str, counted: str) -> None:
    assert counted_as(address) == counted


async def wrong_sign_ins(client: httpx.AsyncClient, address: str, number: int) -> list[int]:
    body = {"email": "admin@example.com", "password": "wrong"}
    answers = [
        await client.post("/api/auth/login", json=body, headers={"X-Forwarded-For": address}) for _ in range(number)
    ]  # fmt: skip
    return [answer.status_code for answer in answers]


async def test_the_limit_and_the_log_use_the_client_behind_a_trusted_proxy(service: Service) -> None:
    with capture_logs() as logs:
        first = await wrong_sign_ins(service.as_nobody, "2001:db8::1", FOR_ONE_EMAIL.amount)
    same_network = await wrong_sign_ins(service.as_nobody, "2001:db8::ffff:2", 1)
    spoofed = await wrong_sign_ins(service.as_nobody, "192.0.2.9, 2001:db8::3", 1)
    another = await wrong_sign_ins(service.as_nobody, "2001:db8:0:1::1", 1)

    assert first == [401] * FOR_ONE_EMAIL.amount
    assert (same_network, spoofed, another) == ([429], [429], [401])
    assert {line["client"] for line in logs if line["event"] == "request"} == {"2001:db8::1"}


async def test_behind_an_untrusted_proxy_sign_ins_are_counted_by_the_proxy_s_address(service: Service) -> None:
    context = service.context
    context = make_context(context.database, context.bus, context.store, trusted_proxies="none")

    async with serving(context) as url, http_client(url) as client:
        told = [(await wrong_sign_ins(client, f"192.0.2.{number}", 1))[0] for number in range(FOR_ONE_EMAIL.amount + 1)]

    assert told == [401] * FOR_ONE_EMAIL.amount + [429]


async def test_the_cookie_of_a_sign_in_over_tls_is_secure(service: Service) -> None:
    body = {"email": "admin@example.com", "password": PASSWORD}

    answers = [
        await service.as_nobody.post("/api/auth/login", json=body, headers={"X-Forwarded-Proto": proto})
        for proto in ("https", "http")
    ]

    assert ["; secure" in answer.headers["set-cookie"].lower() for answer in answers] == [True, False]
