"""Every filter of the log, in both directions, gives what a full scan gives."""

import itertools
from typing import Any

import orjson
import pytest

from events.database import Database
from events.job import Job, JobError, Recorded, cancel, fail, retry, start, word
from events.store import Store
from projections import search
from projections.seal import seal_everything
from projections.search import EventFilter, first_events, last_events
from tests.api.test_bad_input import blamed
from tests.api.test_job_lists import NO_JOB
from tests.histories import new
from tests.service_fixture import Service, service

__all__ = ["service"]

ADDRESS = "/api/events"


def started(job: Job) -> Any:
    return start(job, attempt=job.attempt, worker="w1")


def failed(job: Job) -> Any:
    return fail(job, attempt=job.attempt, worker="w1", error=JobError("E", "m", "Traceback"), retry_in=None)


async def a_log(store: Store, database: Database) -> list[Recorded]:
    for number in range(4):
        job = await store.create(new(), actor="user:a")
        job = await store.append(job, started, actor="worker:w1")
        if number % 2:
            job = await store.append(job, failed, actor="worker:w1")
            job = await store.append(job, retry, actor="user:b")
        await store.append(job, lambda job: cancel(job, reason="x"), actor="user:b")
    await seal_everything(database)
    return await store.history.log()


@pytest.mark.parametrize("window", [1, 3, 1000])
async def test_every_filter_finds_the_same_events_as_a_full_scan(
    store: Store, database: Database, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WINDOW", window)
    log = await a_log(store, database)
    actors, types, jobs = [None, "user:b", "user:nobody"], [None, "started", "failed"], [None, log[-1].job_id, NO_JOB]

    for actor, type, job_id, limit in itertools.product(actors, types, jobs, (1, 2, 100)):
        wanted = EventFilter(actor, type, job_id)
        matching = [
            event for event in log[2:-1]
            if actor in (None, event.actor) and type in (None, word(event.event)) and job_id in (None, event.job_id)
        ]  # fmt: skip

        first = await first_events(database, wanted, after=2, until=len(log) - 1, limit=limit)
        last = await last_events(database, wanted, after=2, until=len(log) - 1, limit=limit)

        assert first.events == matching[:limit]
        assert last.events == matching[-limit:]
        # Each result has all matching events of the positions that it reports as searched.
        for found in (first, last):
            assert found.events == [event for event in matching if found.after < (event.position or 0) <= found.until]


async def test_a_search_stops_at_a_limit_and_says_how_far_it_came(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WINDOW", 2)
    monkeypatch.setattr(search, "MOST_LOOKED_AT", 4)
    log = await a_log(store, database)
    nothing = EventFilter(actor="user:nobody")

    first = await first_events(database, nothing, after=3, until=len(log), limit=10)
    last = await last_events(database, nothing, after=0, until=len(log), limit=10)

    assert (first.after, first.until) == (3, 7)
    assert (last.after, last.until) == (len(log) - 4, len(log))


async def test_the_newest_events_come_first_and_the_next_page_has_older_ones(service: Service) -> None:
    await a_log(service.context.store, service.context.database)

    newest = (await service.as_admin.get(f"{ADDRESS}?latest=true&limit=3")).json()
    older = (await service.as_admin.get(f"{ADDRESS}?latest=true&limit=3&until={newest['searched']['after']}")).json()
    rest = (await service.as_admin.get(f"{ADDRESS}?after={newest['searched']['until']}")).json()

    whole = [event["position"] for event in (await service.as_admin.get(ADDRESS)).json()["events"]]
    assert [event["position"] for event in newest["events"]] == whole[-3:]
    assert [event["position"] for event in older["events"]] == whole[-6:-3]
    assert (rest["events"], rest["searched"]) == ([], {"after": whole[-1], "until": whole[-1]})


async def test_filters_apply_to_json_and_to_downloads(service: Service) -> None:
    log = await a_log(service.context.store, service.context.database)
    wanted = {
        "actor=user:b": [event for event in log if event.actor == "user:b"],
        "type=failed": [event for event in log if word(event.event) == "failed"],
        f"jobId={log[-1].job_id}": [event for event in log if event.job_id == log[-1].job_id],
    }

    for query, matching in wanted.items():
        answer = await service.as_admin.get(f"{ADDRESS}?{query}")
        lines = await service.as_admin.get(f"{ADDRESS}?{query}&limit=2", headers={"Accept": "application/x-ndjson"})

        assert [event["position"] for event in answer.json()["events"]] == [event.position for event in matching]
        assert [orjson.loads(line) for line in lines.text.splitlines()] == answer.json()["events"][:2]


async def test_a_bad_search_is_refused_by_the_name_of_its_field(service: Service) -> None:
    cases = {
        "type=nonsense": (422, "type"),
        "jobId=x": (400, "jobId"),
        "latest=perhaps": (400, "latest"),
        "until=-1": (422, "until"),
        f"actor={'x' * 301}": (422, "actor"),
    }

    assert {query: blamed(await service.as_admin.get(f"{ADDRESS}?{query}")) for query in cases} == cases
    lines = await service.as_admin.get(f"{ADDRESS}?latest=true", headers={"Accept": "application/x-ndjson"})
    assert blamed(lines) == (422, "latest")
