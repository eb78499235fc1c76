"""HTTP clients for Chatwork and the model use the proxy and certificates of the settings.

The tests use a real proxy and a real TLS server on loopback.
"""

import asyncio
import contextlib
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from events.database import Database
from service.config import ConfigError, Settings, load_settings
from tests.messages import conversation
from tests.openai_server import GOOD_ANSWER
from workers.chatwork.client import Chatwork, ChatworkSettings, NoAnswer
from workers.outgoing_http import Outgoing
from workers.summaries.summariser import ModelFailed, Summariser, SummarySettings

PROXY = "http://proxy.example.com:3128"


@dataclass
class Proxy:
    """A CONNECT proxy on loopback that connects every host name to the same server."""

    target: int
    port: int = 0
    asked_for: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, where, _ = head.split(" ", 2)
            assert method == "CONNECT"
            self.asked_for.append(where)
            self.credentials += [line for line in head.split("\r\n") if line.lower().startswith("proxy-authorization")]
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pour(reader, there_writer), _pour(there_reader, writer))
        writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers as both services: with Chatwork's rooms, and with a model's completion."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        completion = {
            "id": "1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": GOOD_ANSWER}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }  # fmt: skip
        rooms = [{"room_id": 7, "name": "one"}]
        body = json.dumps(rooms if head.startswith(b"GET") else completion).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a self-signed certificate for chatwork.test, model.test and loopback, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is missing, which makes the test's certificate")
    folder = tmp_path_factory.mktemp("tls")
    names = "subjectAltName=DNS:chatwork.test,DNS:model.test,DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
         "-subj", "/CN=rireki test", "-addext", names],
        cwd=folder, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return folder / "cert.pem"


@pytest.fixture
async def server(certificate: Path) -> AsyncIterator[int]:
    """Runs the TLS server. Yields its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    async with await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


@pytest.fixture
async def proxy(server: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(server)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as listening:
        proxy.port = listening.sockets[0].getsockname()[1]
        yield proxy


def _settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


async def _nothing(chunks: int, done: int) -> None:
    pass


async def _rooms(base_url: str, outgoing: Outgoing, database: Database) -> list[str]:
    chatwork = Chatwork(ChatworkSettings(base_url, "token"), database, outgoing=outgoing, backoff=0, timeout=10)
    try:
        return [room.name or "" for room in (await chatwork.rooms()).items]
    finally:
        await chatwork.close()


async def _draft(base_url: str, outgoing: Outgoing) -> str:
    summariser = Summariser(SummarySettings("key", "m", base_url, timeout=10), outgoing)
    try:
        return (await summariser.summarise(conversation(("Ken", "Let us move in May.")), _nothing)).content
    finally:
        await summariser.close()


async def test_chatwork_and_the_model_both_go_through_the_proxy_and_trust_the_given_certificate(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, certificate: Path, database: Database
) -> None:
    environment = {"HTTPS_PROXY": f"http://me:hunter2%40@127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(certificate)}
    outgoing = _settings(monkeypatch, **environment).outgoing

    rooms = await _rooms("https://chatwork.test/v2", outgoing, database)
    draft = await _draft("https://model.test/v1", outgoing)

    assert rooms == ["one"]
    assert "It was decided to move" in draft
    assert proxy.asked_for == ["chatwork.test:443", "model.test:443"]
    assert {line.partition("Basic ")[2] for line in proxy.credentials} == {"bWU6aHVudGVyMkA="}


async def test_without_the_certificate_neither_is_trusted(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, database: Database
) -> None:
    outgoing = _settings(monkeypatch, HTTPS_PROXY=f"127.0.0.1:{proxy.port}").outgoing

    with pytest.raises(NoAnswer):
        await _rooms("https://chatwork.test/v2", outgoing, database)
    with pytest.raises(ModelFailed):
        await _draft("https://model.test/v1", outgoing)

    assert proxy.asked_for


async def test_loopback_is_called_directly(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, server: int, certificate: Path, database: Database
) -> None:
    environment = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(certificate)}
    outgoing = _settings(monkeypatch, **environment).outgoing

    assert await _rooms(f"https://127.0.0.1:{server}/v2", outgoing, database) == ["one"]
    assert await _draft(f"https://localhost:{server}/v1", outgoing)

    assert proxy.asked_for == []


async def test_the_http_clients_read_nothing_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, server: int, certificate: Path, database: Database
) -> None:
    environment = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(certificate)}
    _settings(monkeypatch, **environment, ALL_PROXY=environment["HTTPS_PROXY"])

    with pytest.raises(NoAnswer):
        await _rooms(f"https://localhost:{server}/v2", Outgoing(), database)
    with pytest.raises(ModelFailed):
        await _draft(f"https://localhost:{server}/v1", Outgoing())

    assert proxy.asked_for == []


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("", "https://api.chatwork.com/v2", False),
        ("*", "https://api.chatwork.com/v2", True),
        ("chatwork.com", "https://api.chatwork.com/v2", True),
        (".chatwork.com", "https://api.chatwork.com/v2", True),
        ("*.chatwork.com", "https://api.chatwork.com/v2", True),
        (".chatwork.com", "https://chatwork.com/v2", True),
        ("CHATWORK.com.", "https://Api.Chatwork.Com./v2", True),
        ("work.com", "https://api.chatwork.com/v2", False),
        ("api.chatwork.com.evil.example", "https://api.chatwork.com/v2", False),
        ("other.example, chatwork.com", "https://api.chatwork.com/v2", True),
        ("other.example chatwork.com", "https://api.chatwork.com/v2", True),
        (",,", "https://api.chatwork.com/v2", False),
        (".", "https://api.chatwork.com/v2", False),
        ("chatwork.com:443", "https://api.chatwork.com/v2", True),
        ("chatwork.com:8443", "https://api.chatwork.com/v2", False),
        ("chatwork.com:8443", "https://api.chatwork.com:8443/v2", True),
        ("10.0.0.0/8", "https://10.1.2.3/v1", True),
        ("10.0.0.0/8", "https://11.1.2.3/v1", False),
        ("10.1.2.3", "https://10.1.2.3:8443/v1", True),
        ("10.1.2.3:443", "https://10.1.2.3:8443/v1", False),
        ("2001:db8::/32", "https://[2001:db8::5]/v1", True),
        ("[2001:db8::]/32", "https://[2001:db8::5]/v1", True),
        ("[2001:db8::5]:443", "https://[2001:db8::5]/v1", True),
        ("2001:db8::5", "https://[2001:DB8:0::5]/v1", True),
        ("10.0.0.0/99", "https://10.1.2.3/v1", False),
        ("", "https://localhost/v1", True),
        ("", "https://app.localhost/v1", True),
        ("", "https://127.9.9.9/v1", True),
        ("", "https://[::1]:8443/v1", True),
        ("", "http://api.chatwork.com/v2", True),  # the proxy is used for https:// only
    ],
)
def test_no_proxy_is_read_as_curl_reads_it(no_proxy: str, url: str, direct: bool) -> None:
    assert (Outgoing(PROXY, no_proxy).proxy_for(url) is None) is direct


def test_the_variable_in_small_letters_wins_over_the_one_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    small = _settings(monkeypatch, HTTPS_PROXY="http://large:1", https_proxy="http://small:2", NO_PROXY="a", no_proxy="b")

    assert (small.https_proxy, small.no_proxy) == ("http://small:2", "b")
    assert _settings(monkeypatch, https_proxy="", HTTPS_PROXY="large:1").https_proxy == "http://large:1"


@pytest.mark.parametrize(
    "value",
    [
        "socks5://me:hunter2@proxy:1080", "http://", "http://me:hunter2@proxy:port", "http://me:hunter2@[::1:3128", "http://pro xy",
        "http://me:hunter2@proxy:99999", "http://me:hunter2@proxy/path", "http://me:hunter2@proxy?a=b", "http://me:hunt#er2@proxy",
        "http://proxy\n", "プロキシ:3128",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_malformed_proxy_is_refused_in_one_line_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(ConfigError, match=r"^HTTPS_PROXY must be the address of a proxy like http://") as refused:
        _settings(monkeypatch, **{name: value})

    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(("content", "reason"), [(None, "cannot be read"), ("", "has no cert"), ("no PEM\n", "has no cert")])
def test_a_file_without_certificates_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)

    with pytest.raises(ConfigError, match=r"^SSL_CERT_FILE must be a PEM file .*ca\.pem " + reason) as refused:
        _settings(monkeypatch, SSL_CERT_FILE=str(tmp_path / "ca.pem"))

    assert "\n" not in str(refused.value)


def test_a_folder_as_certificate_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^SSL_CERT_FILE must be a PEM file"):
        _settings(monkeypatch, SSL_CERT_FILE=str(tmp_path))


def test_no_text_form_of_the_settings_contains_the_proxys_password(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(monkeypatch, HTTPS_PROXY="http://me:hunter2@proxy:3128")

    assert "hunter2" not in repr(settings) + repr(settings.outgoing)
