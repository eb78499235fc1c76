"""The API answers only to the names in ALLOWED_HOSTS."""

import dataclasses
import json
from collections.abc import AsyncIterator

import pytest

from service.config import ConfigError, load_settings
from tests.api.test_http_protocol import problem_in, sent
from tests.service_fixture import Service, make_context, service, serving

__all__ = ["service"]

LISTED = "jobs.example.com, *.internal, [2001:DB8::1], 10.0.0.5, 履歴.example.com, my_container"


@pytest.fixture
async def listed(service: Service) -> AsyncIterator[Service]:
    """The same service, which answers only to the names in LISTED."""
    context = service.context
    context = make_context(context.database, context.bus, context.store, allowed_hosts=LISTED)
    async with serving(context) as url:
        yield dataclasses.replace(service, url=url, context=context)


def asking(host: bytes, path: bytes = b"/healthz") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nhost: " + host + b"\r\nconnection: close\r\n\r\n"


ANSWERED = (
    b"jobs.example.com", b"JOBS.example.COM", b"jobs.example.com:8000", b"jobs.example.com.", b"jobs.example.com.:8000",
    b"a.internal", b"a.b.internal", b"[2001:db8::1]", b"[2001:db8:0:0::0:1]:443", b"10.0.0.5", b"[::ffff:10.0.0.5]:80",
    b"xn--fht636a.example.com", b"my_container:8000",
)  # fmt: skip


async def test_a_listed_host_is_answered_in_every_spelling(listed: Service) -> None:
    answers = {host: (await sent(listed, asking(host), end=False))[9:12] for host in ANSWERED}

    assert answers == dict.fromkeys(ANSWERED, b"200")


REFUSED = (
    b"example.com", b"evil-jobs.example.com", b"a.jobs.example.com", b"jobs.example.com.evil.com", b"jobs.example.com..",
    b"internal", b".internal", b"evilinternal", b"127.0.0.1", b"localhost", b"[::1]", b"[2001:db8::2]", b"10.0.0.50",
    b"0x0a.0.0.5", b"%E5%B1%A5%E6%AD%B4.example.com",
)  # fmt: skip


async def test_another_host_gets_421_with_a_problem_document(listed: Service) -> None:
    problems = {host: json.loads((await sent(listed, asking(host), end=False)).partition(b"\r\n\r\n")[2]) for host in REFUSED}

    assert {host: problem["status"] for host, problem in problems.items()} == dict.fromkeys(REFUSED, 421)
    assert "ALLOWED_HOSTS" in problems[b"localhost"]["detail"]


async def test_every_address_is_refused_under_another_name(listed: Service) -> None:
    paths = (b"/", b"/healthz", b"/readyz", b"/metrics", b"/api/jobs", b"/api/docs", b"/assets/x.js", b"/nothing")

    answers = {path: (await sent(listed, asking(b"evil.example", path), end=False))[9:12] for path in paths}

    assert answers == dict.fromkeys(paths, b"421")


async def test_the_host_of_an_absolute_target_counts_and_not_the_header(listed: Service) -> None:
    good = b"GET http://jobs.example.com/healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
    bad = b"GET http://evil.example/healthz HTTP/1.1\r\nhost: jobs.example.com\r\nconnection: close\r\n\r\n"

    answers = [(await sent(listed, request, end=False))[9:12] for request in (good, bad)]

    assert answers == [b"200", b"421"]


async def test_the_host_that_a_proxy_forwards_does_not_count(listed: Service) -> None:
    head = asking(b"evil.example").replace(b"connection", b"x-forwarded-host: jobs.example.com\r\nconnection")

    assert (await sent(listed, head, end=False))[9:12] == b"421"


async def test_a_request_of_http_1_0_without_a_host_is_refused_where_names_are_listed(
    service: Service, listed: Service
) -> None:
    request = b"GET /healthz HTTP/1.0\r\n\r\n"

    assert (await sent(listed, request, end=False))[9:12] == b"421"
    assert (await sent(service, request, end=False))[9:12] == b"200"


async def test_an_empty_host_is_a_malformed_request(listed: Service) -> None:
    assert problem_in(await sent(listed, b"GET /healthz HTTP/1.1\r\nhost:\r\n\r\n", end=False))["status"] == 400


async def test_by_default_every_host_is_answered(service: Service) -> None:
    assert {(await sent(service, asking(host), end=False))[9:12] for host in REFUSED} == {b"200"}


@pytest.mark.parametrize(
    "wrong",
    [
        "*", "jobs.example.com:8000", "http://jobs.example.com", "jobs.example.com/", ",", "jobs.example.com,", "a b", "a..b", "*.",
        "*.10.0.0.5", "*.*.example.com", "a*.example.com", ".example.com", "10.0.0.0/8", "10.0.0.300", "[::1", "-a.com", "a" * 64,
        "user@example.com", "jobs.exa\nmple.com", "履 歴.example.com",
        ",".join(f"{number}.example.com" for number in range(1001)),
    ],
)  # fmt: skip
def test_a_malformed_name_is_one_line_at_the_start(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", wrong)

    with pytest.raises(ConfigError, match=r"^ALLOWED_HOSTS must be host names or IP addresses without a port, [^\n]*$"):
        load_settings()
