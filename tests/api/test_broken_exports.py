"""An export of the log that cannot go on breaks the connection off, so that nobody takes a part for the whole."""

from collections.abc import AsyncIterator

import httpx2 as httpx
import orjson
import pytest

from events.database import Database
from projections.seal import seal_everything
from service.api import log
from tests.api.test_job_stream import completed
from tests.api.test_long_streams import with_progress
from tests.service_fixture import Service, service

__all__ = ["service"]

LOG = "/api/events"
NDJSON = {"Accept": "application/x-ndjson"}
EVENTS = 402


@pytest.fixture(autouse=True)
async def _a_long_log(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills the log with more than the buffers between the service and a client hold, to be read in small parts."""
    monkeypatch.setattr(log, "AT_ONCE", 10)
    for _ in range(3):
        await service.run(await with_progress(service, 131, 10_000), completed)
    await seal_everything(service.context.database)


async def rest_of(lines: AsyncIterator[str]) -> list[int]:
    return [orjson.loads(line)["position"] async for line in lines]


async def test_an_export_is_whole_if_nothing_happens(service: Service) -> None:
    async with service.as_auditor.stream("GET", LOG, headers=NDJSON) as answer:
        assert await rest_of(answer.aiter_lines()) == list(range(1, EVENTS + 1))


async def test_an_export_breaks_off_when_the_session_ends(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.accounts.users.FRESH", 0.0)
    token = service.context.users.new_token(service.auditor)

    async with service.as_nobody.stream("GET", LOG, headers=NDJSON | {"Authorization": f"Bearer {token}"}) as answer:
        lines = answer.aiter_lines()
        assert orjson.loads(await anext(lines))["position"] == 1
        await service.context.users.end_token(token)

        with pytest.raises(httpx.RemoteProtocolError):
            await rest_of(lines)


async def test_an_export_breaks_off_when_the_process_stops(service: Service) -> None:
    async with service.as_auditor.stream("GET", LOG, headers=NDJSON) as answer:
        lines = answer.aiter_lines()
        assert orjson.loads(await anext(lines))["position"] == 1
        service.context.job_watches.close()

        with pytest.raises(httpx.RemoteProtocolError):
            await rest_of(lines)


async def test_an_export_breaks_off_when_the_log_cannot_be_read(service: Service, database: Database) -> None:
    async with service.as_auditor.stream("GET", LOG, headers=NDJSON) as answer:
        lines = answer.aiter_lines()
        assert orjson.loads(await anext(lines))["position"] == 1
        await database.execute("alter table job_events rename to job_events_of_old")

        with pytest.raises(httpx.RemoteProtocolError):
            await rest_of(lines)
