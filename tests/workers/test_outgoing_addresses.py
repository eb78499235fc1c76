"""Connections are made to the addresses that were checked, over real sockets.

Several servers listen on one port of 127.0.0.1, 127.0.0.2 and so on. `Names` answers as DNS does, and may answer differently
each time.
"""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import pytest
from structlog.testing import capture_logs

from events.database import Database
from tests.messages import conversation
from tests.workers.test_outgoing_http import certificate
from workers.chatwork.client import Chatwork, ChatworkSettings, NoAnswer, Refused
from workers.outgoing_http import Outgoing
from workers.outgoing_rules import OutgoingRefused, read_outgoing_allow
from workers.summaries.summariser import ModelFailed, Summariser, SummarySettings

__all__ = ["certificate"]

METADATA = "169.254.169.254"


@dataclass
class Names:
    """Answers like DNS: each time with the next of these lists of addresses.

    The last list is given again and again.
    """

    answers: list[list[str]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@dataclass
class Server:
    """Answers each request on its own connection, and remembers the heads of the requests."""

    status: bytes = b"200 OK"
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            body = json.dumps([{"room_id": 7, "name": "one"}]).encode()
            writer.write(b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\n" % self.status)
            writer.write(b"location: http://127.0.0.2:%d/v2/rooms\r\n" % writer.get_extra_info("sockname")[1])
            writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        writer.close()


@dataclass
class Servers:
    port: int
    first: Server
    second: Server


@contextlib.asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Servers]:
    """Runs a server on 127.0.0.1 and one on 127.0.0.2, both on one port."""
    first, second = Server(), Server()
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)) as other:
            async with (
                await asyncio.start_server(first.serve, sock=one, ssl=tls),
                await asyncio.start_server(second.serve, sock=other, ssl=tls),
            ):
                yield Servers(port, first, second)


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    async with listening() as both:
        yield both


def chatwork_of(
    base_url: str, database: Database, *, allow: str | None, names: Names, certificates: Path | None = None
) -> Chatwork:
    rules = None if allow is None else read_outgoing_allow(allow)
    outgoing = Outgoing(rules=rules, resolve=names, certificates=certificates)
    return Chatwork(ChatworkSettings(base_url, "the-token"), database, outgoing=outgoing, backoff=0, timeout=10)


async def rooms(chatwork: Chatwork) -> list[str | None]:
    return [room.name for room in (await chatwork.rooms()).items]


async def test_a_connection_goes_to_the_address_that_was_checked(servers: Servers, database: Database) -> None:
    names = Names([["127.0.0.1"], ["127.0.0.2"]])
    chatwork = chatwork_of(f"http://chatwork.test:{servers.port}/v2", database, allow="127.0.0.1", names=names)

    assert await rooms(chatwork) == ["one"]
    asked = list(names.asked)
    with pytest.raises(OutgoingRefused, match=r"chatwork\.test"):
        await rooms(chatwork)
    await chatwork.close()

    assert asked == ["chatwork.test"]  # a second lookup could have another answer
    assert (len(servers.first.heads), servers.second.heads) == (1, [])
    assert f"host: chatwork.test:{servers.port}" in servers.first.heads[0].lower()


async def test_a_private_address_is_refused_at_once_and_named_to_nobody(servers: Servers, database: Database) -> None:
    for answer in (["127.0.0.1"], [METADATA], ["::ffff:127.0.0.1"], ["::1"], ["fe80::1%lo"], ["64:ff9b::7f00:1"], ["0.0.0.0"]):
        names = Names([answer])
        chatwork = chatwork_of(f"https://chatwork.test:{servers.port}/v2", database, allow="none", names=names)

        with pytest.raises(OutgoingRefused) as refused:
            await rooms(chatwork)
        await chatwork.close()

        assert str(refused.value) == (
            "chatwork.test is not called, because its address is private or reserved. To allow it, name it in OUTGOING_ALLOW."
        )
        assert len(names.asked) == 1  # A refused address is final, so the client tries no second time.

    assert servers.first.heads == servers.second.heads == []


async def test_of_mixed_addresses_only_the_permitted_ones_are_tried(servers: Servers, database: Database) -> None:
    names = Names([[METADATA, "127.0.0.2", "127.0.0.1"]])
    chatwork = chatwork_of(f"http://chatwork.test:{servers.port}/v2", database, allow="127.0.0.1", names=names)

    assert await rooms(chatwork) == ["one"]
    await chatwork.close()

    assert (len(servers.first.heads), servers.second.heads) == (1, [])


async def test_plain_http_is_refused_unless_its_host_is_named(servers: Servers, database: Database) -> None:
    names, url = Names([["127.0.0.1"]]), f"http://chatwork.test:{servers.port}/v2"
    strict = chatwork_of(url, database, allow="10.0.0.0/8", names=names)
    named = chatwork_of(url, database, allow="chatwork.test", names=names)

    with pytest.raises(OutgoingRefused, match="its URL does not begin with https://"):
        await rooms(strict)
    assert await rooms(named) == ["one"]
    for chatwork in (strict, named):
        await chatwork.close()

    assert len(servers.first.heads) == 1


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next(servers: Servers, database: Database) -> None:
    names = Names([["127.0.0.9", "127.0.0.2"]])
    with socket.create_server(("127.0.0.9", servers.port), backlog=0) as deaf, contextlib.ExitStack() as held:
        deaf.setblocking(False)
        for _ in range(3):  # fill the backlog, so that further connections get no answer
            filling = held.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.9", servers.port))
        chatwork = chatwork_of(f"http://chatwork.test:{servers.port}/v2", database, allow="127.0.0.0/8", names=names)

        assert await rooms(chatwork) == ["one"]
        await chatwork.close()

    assert len(servers.second.heads) == 1


async def test_a_name_without_an_address_and_a_closed_port_are_worth_another_try(database: Database) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        for answer in ([], ["127.0.0.1", "127.0.0.2"]):
            names = Names([answer])
            url = f"http://chatwork.test:{bound.getsockname()[1]}/v2"
            chatwork = chatwork_of(url, database, allow="127.0.0.0/8", names=names)

            with pytest.raises(NoAnswer, match="ConnectError"):
                await rooms(chatwork)
            await chatwork.close()

            assert len(names.asked) == 3


async def test_the_systems_resolver_is_the_default(servers: Servers, database: Database) -> None:
    outgoing = Outgoing(rules=read_outgoing_allow("127.0.0.0/8"))
    settings = ChatworkSettings(f"http://localhost:{servers.port}/v2", "the-token")
    chatwork = Chatwork(settings, database, outgoing=outgoing, backoff=0, timeout=10)

    assert await rooms(chatwork) == ["one"]
    await chatwork.close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".test"])
async def test_an_unknown_name_is_no_answer(database: Database, host: str) -> None:
    outgoing = Outgoing(rules=read_outgoing_allow("none"))
    chatwork = Chatwork(ChatworkSettings(f"https://{host}/v2", "t"), database, outgoing=outgoing, backoff=0, timeout=10)

    with pytest.raises(NoAnswer):
        await rooms(chatwork)
    await chatwork.close()


async def test_tls_checks_the_certificate_against_the_name_and_not_the_address(certificate: Path, database: Database) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, certificate.with_name("key.pem"))
    told: list[str | None] = []
    tls.sni_callback = lambda _, name, __: told.append(name)
    async with listening(tls) as servers:
        right = chatwork_of(
            f"https://chatwork.test:{servers.port}/v2", database, allow="127.0.0.0/8", names=Names([["127.0.0.2"]]),
            certificates=certificate,
        )  # fmt: skip
        # The certificate is also valid for 127.0.0.1, so a check against the address would pass.
        wrong = chatwork_of(
            f"https://other.test:{servers.port}/v2", database, allow="127.0.0.0/8", names=Names([["127.0.0.1"]]),
            certificates=certificate,
        )  # fmt: skip

        assert await rooms(right) == ["one"]
        with pytest.raises(NoAnswer):
            await rooms(wrong)
        for chatwork in (right, wrong):
            await chatwork.close()

        assert set(told) == {"chatwork.test", "other.test"}
        assert (len(servers.second.heads), servers.first.heads) == (1, [])


async def test_a_redirect_is_not_followed_so_no_other_host_gets_the_token(servers: Servers, database: Database) -> None:
    servers.first.status = b"302 Found"
    chatwork = chatwork_of(f"http://127.0.0.1:{servers.port}/v2", database, allow=None, names=Names([[]]))

    with pytest.raises(Refused, match="302"):
        await rooms(chatwork)
    await chatwork.close()

    assert "the-token" in servers.first.heads[0]
    assert servers.second.heads == []


@pytest.mark.parametrize("allow", [None, "127.0.0.0/8"])
async def test_a_client_calls_no_other_server_even_when_told_to(servers: Servers, allow: str | None) -> None:
    outgoing = Outgoing(rules=None if allow is None else read_outgoing_allow(allow))
    base = f"http://127.0.0.1:{servers.port}"
    others = (
        f"http://127.0.0.2:{servers.port}/v2/rooms", f"http://127.0.0.1:{servers.port + 1}",
        f"https://127.0.0.1:{servers.port}",
    )  # fmt: skip
    async with outgoing.client(f"{base}/v2", limits=httpx.Limits(), headers={"x-chatworktoken": "the-token"}) as client:
        for other in others:
            with pytest.raises(OutgoingRefused, match="not the server of this token"):
                await client.get(other)
        assert (await client.get("rooms")).status_code == 200

    assert (len(servers.first.heads), servers.second.heads) == (1, [])


async def test_the_model_is_refused_for_good_and_the_watch_of_it_says_so(servers: Servers) -> None:
    outgoing = Outgoing(rules=read_outgoing_allow("none"), resolve=Names([["127.0.0.1"]]))
    summariser = Summariser(SummarySettings("key", "m", f"https://model.test:{servers.port}/v1", timeout=10), outgoing)

    async def nothing(chunks: int, done: int) -> None:
        pass

    with pytest.raises(OutgoingRefused, match=r"^model\.test is not called"):
        await summariser.summarise(conversation(("Ken", "Let us move in May.")), nothing)
    with capture_logs() as logs:
        await summariser.watch.look()
    await summariser.close()

    assert not issubclass(OutgoingRefused, ModelFailed)
    assert [line["event"] for line in logs] == ["the language model must not be called"]
    assert servers.first.heads == []
