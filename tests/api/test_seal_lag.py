"""A sealer that is late: what the metrics, the readiness and the log say."""

import dataclasses

from events.database import Database
from tests.histories import give_positions
from tests.http_client import http_client
from tests.service_fixture import Service, service, serving

__all__ = ["service"]

EVENT_OF_TWO_MINUTES_AGO = """
insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
values (gen_random_uuid(), 1, 1, 'queued', '{}', decode(md5('salt'), 'hex'), 'user:x', now() - interval '2 minutes')
"""


async def test_an_event_that_waits_long_for_its_position_is_a_warning_and_a_metric(
    service: Service, database: Database
) -> None:
    assert await _lag(service) == 0
    await database.execute(EVENT_OF_TWO_MINUTES_AGO)

    assert 120 <= await _lag(service) < 600
    warnings = (await service.as_nobody.get("/readyz")).json()["warnings"]
    assert warnings[0].startswith("the oldest event without a position in the log has waited 1")
    assert "run `rireki seal`" in warnings[0]

    await give_positions(database)
    assert await _lag(service) == 0
    assert (await service.as_nobody.get("/readyz")).json() == {"status": "ok"}


async def test_a_process_that_does_not_seal_reads_the_log_up_to_the_last_position(service: Service, database: Database) -> None:
    await service.job_of(service.admin)
    await give_positions(database)
    await service.job_of(service.admin)
    context = dataclasses.replace(service.context, sealer=None)

    async with serving(context) as url, http_client(url, headers=service.as_admin.headers) as client:
        answer = (await client.get("/api/events")).json()

    assert [event["position"] for event in answer["events"]] == [1]
    assert [event["position"] for event in (await service.as_admin.get("/api/events")).json()["events"]] == [1, 2]


async def _lag(service: Service) -> float:
    lines = (await service.as_nobody.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith("rireki_seal_lag_seconds ")).split()[1])
