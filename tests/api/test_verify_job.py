"""`POST /api/audit/verify/{id}` verifies one job at once, for admins and auditors, and is on record."""

import hashlib

import pytest

from events.database import Connection, Database
from events.job import Job, complete, start
from tests.histories import give_positions
from tests.projections.conftest import superuser
from tests.projections.histories_in_log import unguarded
from tests.service_fixture import Service, service

__all__ = ["service", "superuser"]

CHECKPOINT = """
insert into checkpoints (origin, size, root, note)
select origin, $1, $2, 'a note' from log_origins order by number desc limit 1
returning origin
"""


async def completed(service: Service) -> Job:
    return await service.run(
        await service.job_of(service.employee),
        lambda job: start(job, attempt=1, worker="w1"),
        lambda job: complete(job, attempt=1, worker="w1", result={"n": 1}),
    )


@pytest.mark.parametrize("who", ["admin", "auditor"])
async def test_a_sound_job_has_no_findings_and_is_not_covered_before_the_first_checkpoint(service: Service, who: str) -> None:
    job = await completed(service)

    answer = await getattr(service, f"as_{who}").post(f"/api/audit/verify/{job.id}")

    verification = answer.json()["verification"]
    assert answer.status_code == 200
    assert [(leaf["seq"], leaf["included"]) for leaf in verification.pop("leaves")] == [(1, None), (2, None), (3, None)]
    assert verification == {
        "jobId": job.id, "verifiedAt": verification["verifiedAt"], "events": 3, "findings": [], "findingCount": 0, "covers": None,
    }  # fmt: skip
    [record] = (await service.as_auditor.get("/api/audit/access?action=verify_log")).json()["records"]
    assert (record["actor"], record["target"]) == (f"user:{getattr(service, who).id}", f"job:{job.id}")


async def test_faults_are_named_with_their_place(service: Service, superuser: Connection) -> None:
    job = await completed(service)
    async with unguarded(superuser):
        await superuser.execute("delete from job_events where job_id = $1 and seq = 2", job.id)

    verification = (await service.as_auditor.post(f"/api/audit/verify/{job.id}")).json()["verification"]

    assert verification["findingCount"] == len(verification["findings"]) > 0
    assert ("SEQ_GAP", job.id, 3) in [(each["name"], each["jobId"], each["seq"]) for each in verification["findings"]]


async def test_the_answer_says_how_many_events_the_newest_checkpoint_covers(
    service: Service, database: Database, superuser: Connection
) -> None:
    other, job = await completed(service), await completed(service)
    await give_positions(database)
    origin = await superuser.fetchval(CHECKPOINT, 4, hashlib.sha256().digest())

    covers = [
        (await service.as_auditor.post(f"/api/audit/verify/{each.id}")).json()["verification"]["covers"]
        for each in (other, job)
    ]

    assert [(each["origin"], each["size"], each["events"], each["copiedAt"]) for each in covers] == [
        (origin, 4, 3, None), (origin, 4, 1, None),
    ]  # fmt: skip


async def test_an_unknown_job_and_a_malformed_id_are_refused(service: Service) -> None:
    unknown = await service.as_auditor.post("/api/audit/verify/0190b1a0-0000-7000-8000-000000000000")
    malformed = await service.as_auditor.post("/api/audit/verify/all")

    assert (unknown.status_code, malformed.status_code) == (404, 400)
