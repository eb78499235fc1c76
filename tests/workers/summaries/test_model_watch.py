"""The announced shutdown of a model appears in the log, in `/readyz` and on the page."""

import json
from collections.abc import AsyncIterator
from datetime import date

import pytest
from structlog.testing import capture_logs

from events.concurrency import end, lasting
from tests.openai_server import OpenAIServer, Reply, error, openai_server
from tests.service_fixture import Service, service
from workers.outgoing_http import Outgoing
from workers.summaries.model import LARGEST_CARD, ModelClient, SummarySettings
from workers.summaries.model_watch import ModelWatch

__all__ = ["service"]

TODAY = date(2026, 11, 30)
SHUTDOWN = "2027-01-14"


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as server:
        yield server


@pytest.fixture
async def watch(server: OpenAIServer) -> AsyncIterator[ModelWatch]:
    client = ModelClient(SummarySettings(api_key="key", model="gpt-4o-mini", base_url=server.url), Outgoing())
    yield ModelWatch(client, today=lambda: TODAY)
    await client.close()


def card(**facts: object) -> Reply:
    return Reply(200, json.dumps({"id": "gpt-4o-mini", "object": "model", **facts}).encode())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (SHUTDOWN, SHUTDOWN),
        ("2027-01-14T00:00:00Z", SHUTDOWN),
        (1_799_884_800, SHUTDOWN),
        ("2027-01-29", "2027-01-29"),
        ("2026-11-01", "2026-11-01"),
        ("2027-01-30", None),
        (None, None),
        ("soon", None),
        (True, None),
        (10**30, None),
        (-(10**30), None),
        ([SHUTDOWN], None),
        ({"date": SHUTDOWN}, None),
    ],
)
async def test_a_shutdown_within_sixty_days_causes_a_warning(
    server: OpenAIServer, watch: ModelWatch, given: object, told: str | None
) -> None:
    server.card = card(shutdown_date=given)

    with capture_logs() as logs:
        await watch.look()

    assert (None if watch.shutdown is None else watch.shutdown.on.isoformat()) == told
    assert [line["log_level"] for line in logs] == ["warning"] * (told is not None)
    assert all("OPENAI_MODEL" in line["reason"] for line in logs)
    assert server.cards_asked_for == ["/v1/models/gpt-4o-mini"]


@pytest.mark.parametrize(
    "reply",
    [
        None,
        Reply(200, b"<html>a proxy</html>", "text/html"),
        Reply(200, b"[]"),
        Reply(200, b"null"),
        Reply(200, b"{" * 100_000),
        Reply(200, b" " * (LARGEST_CARD + 1)),
        Reply(200, b'{"shutdown_date": "2027-01-14"', headers=(("content-encoding", "gzip, br"),)),
        Reply(307, b"", headers=(("location", "http://127.0.0.1:1/"),)),
        error(500, "busy"),
        error(401, "no", "invalid_api_key"),
    ],
)
async def test_a_server_that_does_not_describe_its_model_changes_no_warning(
    server: OpenAIServer, watch: ModelWatch, reply: Reply | None
) -> None:
    server.card = reply

    with capture_logs() as logs:
        await watch.look()

    assert watch.shutdown is None
    assert logs == []


async def test_a_known_shutdown_date_is_kept_while_the_server_is_unreachable(server: OpenAIServer, watch: ModelWatch) -> None:
    server.card = card(shutdown_date=SHUTDOWN)
    await watch.look()
    server.card = error(503, "busy")

    await watch.look()

    assert watch.shutdown is not None


async def test_a_model_that_the_server_does_not_know_is_logged(server: OpenAIServer, watch: ModelWatch) -> None:
    server.card = error(404, "no", "model_not_found")

    with capture_logs() as logs:
        await watch.look()

    assert ["OPENAI_MODEL" in line["reason"] for line in logs] == [True]


async def test_the_server_is_asked_once_at_the_start(server: OpenAIServer, watch: ModelWatch) -> None:
    running = lasting(watch.run(), "model watch")

    await server.cards_were_asked_for(1)

    assert not running.done()
    await end(running)


async def test_a_model_name_with_url_characters_is_escaped_in_the_request(server: OpenAIServer) -> None:
    client = ModelClient(SummarySettings(api_key="key", model="a/../b?c#d", base_url=f"{server.url}?api-version=1"), Outgoing())

    await client.card()

    await client.close()
    assert server.cards_asked_for == ["/v1/models/a%2F..%2Fb%3Fc%23d?api-version=1"]


async def test_readyz_warns_of_the_shutdown_and_stays_ready(server: OpenAIServer, watch: ModelWatch, service: Service) -> None:
    server.card = card(shutdown_date=SHUTDOWN)
    quiet = await service.as_nobody.get("/readyz")
    await watch.look()
    service.context.resources.summariser.watch = watch

    loud = await service.as_nobody.get("/readyz")

    assert (quiet.status_code, loud.status_code) == (200, 200)
    assert "modelShutdown" not in quiet.json()
    (warning,) = set(loud.json()["warnings"]) - set(quiet.json().get("warnings", []))
    assert "OPENAI_MODEL" in warning
    assert loud.json()["modelShutdown"] == {"model": "gpt-4o-mini", "date": SHUTDOWN}
