"""The API runs verifications in the background, one at a time, and stores the results."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from events.database import Database, connect
from events.job import Job, cancel, start
from projections.proof.signed_note import Signer, new_signer
from projections.verify import Trust
from service.live import verifier as verifier_module
from service.live.verifier import INTERRUPTED, Verifier
from tests.histories import give_positions
from tests.service_fixture import Service, service
from tests.tamper.world import ORIGIN, sign_checkpoint

__all__ = ["service"]

ADDRESS = "/api/audit/verify"
LEFT_BEHIND = """
insert into verifications (actor, started_at, last_seen) values ('user:x', now() - interval '1 hour', now() - interval '1 hour')
"""


def started(job: Job) -> Any:
    return start(job, attempt=job.attempt, worker="w1")


@contextlib.asynccontextmanager
async def held_up(url: str) -> AsyncIterator[None]:
    """Locks the view, so that a verification waits until the block ends."""
    connection = await connect(url, idle_in_transaction_session_timeout="0")
    try:
        async with connection.transaction():
            await connection.execute("lock table jobs in access exclusive mode")
            yield
    finally:
        await connection.close()


async def finished(service: Service) -> Any:
    give_up = time.monotonic() + 20
    while (last := (await service.as_admin.get(ADDRESS)).json()["verification"])["finishedAt"] is None:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.02)
    return last


async def test_a_verification_without_findings_is_reported(service: Service, database: Database) -> None:
    assert (await service.as_admin.get(ADDRESS)).json() == {"verification": None}
    await service.run(await service.job_of(service.employee), started)
    await service.job_of(None)
    await give_positions(database)

    begun = await service.as_admin.post(ADDRESS)
    last = await finished(service)

    assert begun.status_code == 202
    assert begun.json()["verification"]["id"] == last["id"]
    assert last["actor"] == f"user:{service.admin.id}"
    assert (last["jobs"], last["events"], last["lastPosition"]) == (2, 3, 3)
    assert (last["differences"], last["findings"], last["differenceCount"], last["error"]) == ([], [], 0, None)


async def test_one_job_is_verified_with_a_proof_for_each_event_that_a_checkpoint_covers(
    service: Service, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await service.run(await service.job_of(service.employee), started)
    await give_positions(database)
    connection = await connect(database_url)
    signer = new_signer(await connection.fetchval(ORIGIN))
    await sign_checkpoint(connection, signer)
    await service.run(job, lambda job: cancel(job, reason="asked"))
    await give_positions(database)
    monkeypatch.setattr(service.context.verifier, "_trust", trusting(signer))

    sound = (await service.as_admin.post(f"/api/audit/verify/{job.id}")).json()["verification"]
    await connection.execute("alter table job_events disable trigger all")
    await connection.execute("update job_events set request_id = 'another' where seq = 1")
    changed = (await service.as_admin.post(f"/api/audit/verify/{job.id}")).json()["verification"]
    await connection.close()

    assert (sound["events"], sound["findings"]) == (3, [])
    assert sound["covers"]["size"] == 2
    assert [(leaf["seq"], leaf["position"], leaf["included"]) for leaf in sound["leaves"]] == [
        (1, 1, True), (2, 2, True), (3, 3, None),
    ]  # fmt: skip
    assert [(finding["name"], finding["seq"], finding["position"]) for finding in changed["findings"]] == [("MODIFIED", 1, 1)]


def trusting(signer: Signer) -> Callable[[], Awaitable[Trust]]:
    async def trust() -> Trust:
        return Trust(keys=[signer.verifier])

    return trust


async def test_a_verification_reports_a_limited_number_of_findings(
    service: Service, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier_module, "MOST_DIFFERENCES", 2)
    jobs = [await service.job_of(service.employee) for _ in range(3)]
    await database.execute("update jobs set status = 'canceled'")

    await service.as_admin.post(ADDRESS)
    last = await finished(service)

    assert last["differenceCount"] == 3
    assert len(last["differences"]) == 2
    assert last["differences"][0].startswith(f"{min(job.id for job in jobs)}: status is ")
    assert [finding["name"] for finding in last["findings"]] == ["VIEW_DRIFT"] * 2
    assert last["findings"][0]["jobId"] == min(job.id for job in jobs)


async def test_one_verification_runs_at_a_time_in_the_whole_service(
    service: Service, database: Database, database_url: str
) -> None:
    elsewhere = Verifier(database)
    async with held_up(database_url):
        answers = await asyncio.gather(*(service.as_admin.post(ADDRESS) for _ in range(5)))
        there = await elsewhere.start("user:x")
    first = await finished(service)
    await service.as_admin.post(ADDRESS)
    second = await finished(service)

    assert {answer.json()["verification"]["id"] for answer in answers} == {there["id"]} == {first["id"]}
    assert second["id"] != first["id"]


async def test_a_failed_verification_reports_its_error(service: Service, database: Database) -> None:
    await database.execute("alter table log_tail rename to elsewhere")

    await service.as_admin.post(ADDRESS)
    last = await finished(service)

    assert last["error"] == "The verification stopped with an error: UndefinedTableError."
    assert (last["jobs"], last["differenceCount"]) == (None, None)


async def test_the_verification_of_a_dead_process_counts_as_ended_and_the_next_may_start(
    service: Service, database: Database
) -> None:
    await database.execute(LEFT_BEHIND)

    lost = await finished(service)
    again = (await service.as_admin.post(ADDRESS)).json()["verification"]

    assert lost["error"] == INTERRUPTED
    assert again["id"] != lost["id"]
    assert (await finished(service))["error"] is None
    kept = await database.fetch_one("select * from verifications where id = :id", {"id": lost["id"]})
    assert kept is not None
    assert kept["error"] == INTERRUPTED
    assert kept["finished_at"] - kept["started_at"] < timedelta(minutes=1)


async def test_a_stopping_process_ends_its_verification_as_interrupted(database: Database, database_url: str) -> None:
    verifier = Verifier(database)

    async with held_up(database_url):
        async with verifier.running():
            await verifier.start("user:x")
        last = await verifier.last()

    assert last is not None
    assert last["finished_at"] is not None
    assert last["error"] == INTERRUPTED


async def test_only_admins_may_verify(service: Service) -> None:
    job = await service.job_of(service.employee)
    await service.run(job, lambda job: cancel(job, reason="x"))

    assert (await service.as_employee.post(ADDRESS)).status_code == 403
    assert (await service.as_employee.get(ADDRESS)).status_code == 403
    assert (await service.as_admin.get(ADDRESS)).json() == {"verification": None}
