"""Auditors get checkpoint, tiles, entries and consistency proofs; whoever sees a job gets proofs of its events."""

import base64
from collections.abc import Mapping
from uuid import uuid4

import httpx2 as httpx
import pytest

from events.job import Job, JobError, fail, start
from projections import tree
from projections.proof.checkpoint import read_checkpoint
from projections.proof.merkle import is_consistent, leaf_hash
from projections.proof.signed_note import Verifier, open_note
from projections.proof.tiles import entries_in, tile_at
from projections.verify_proof import verify_proof
from tests.api.things import STACK
from tests.histories import give_positions
from tests.projections.tiled_logs import append
from tests.service_fixture import Service, service, user_of
from tests.signed_log import sign_checkpoint, sign_log

__all__ = ["service"]

LOG = "/api/audit/log"


async def filled(service: Service, jobs: int = 100) -> Verifier:
    """Makes a signed log with four events for each job, and one event beyond the checkpoint."""
    database = service.context.database
    async with database.raw() as connection:
        await append(connection, "log", jobs=jobs)
    await give_positions(database)
    async with database.raw() as connection:
        verifier = await sign_checkpoint(connection, jobs * 4)
        await append(connection, "later", jobs=1, seqs=1)
    await give_positions(database)
    return verifier


async def a_failed_job(service: Service) -> Job:
    job = await service.job_of(service.employee)
    error = JobError("Error", "it broke", STACK)
    return await service.run(
        job,
        lambda job: start(job, attempt=1, worker="w1"),
        lambda job: fail(job, attempt=1, worker="w1", error=error, retry_in=None),
    )


async def client_of(service: Service, role: str) -> httpx.AsyncClient:
    user = await user_of(service.context.database, f"{uuid4()}@elsewhere.example", role, role)
    service.as_nobody.headers["Authorization"] = f"Bearer {service.context.users.new_token(user)}"
    return service.as_nobody


async def test_the_checkpoint_is_a_note_that_no_cache_keeps(service: Service) -> None:
    verifier = await filled(service)

    answer = await service.as_admin.get(f"{LOG}/checkpoint")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "no-cache" in answer.headers["cache-control"]
    assert read_checkpoint(open_note(answer.content, [verifier])).size == 400


async def test_the_checkpoint_has_the_signatures_of_witnesses(service: Service) -> None:
    verifier = await filled(service)
    line = "— witness.example " + base64.b64encode(bytes(76)).decode()
    query = "insert into cosignatures (origin, size, witness, line) values (:origin, 400, 'witness.example', :line)"
    await service.context.database.execute(query, {"origin": verifier.name, "line": line})

    answer = await service.as_admin.get(f"{LOG}/checkpoint")

    assert answer.text.endswith(f"\n{line}\n")
    assert open_note(answer.content, [verifier])


async def test_tiles_and_entries_of_the_checkpoint_are_served_for_ever(service: Service) -> None:
    await filled(service)
    for path in ("0/000", "0/001.p/144", "0/001.p/7", "1/000.p/1"):
        answer = await service.as_admin.get(f"{LOG}/tile/{path}")
        tile = tile_at(f"tile/{path}")
        assert tile is not None
        async with service.context.database.raw() as connection:
            assert answer.content == await tree.tile_contents(connection, tile)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


async def test_the_entries_hash_to_the_leaves(service: Service) -> None:
    await filled(service)
    for name, width in (("000", 256), ("001.p/144", 144)):
        leaves = (await service.as_admin.get(f"{LOG}/tile/0/{name}")).content

        bundle = await service.as_admin.get(f"{LOG}/tile/entries/{name}")
        plain = await service.as_admin.get(f"{LOG}/tile/entries/{name}", headers={"Accept-Encoding": "identity"})

        assert bundle.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert bundle.content == plain.content
        assert b"".join(map(leaf_hash, entries_in(plain.content, width))) == leaves


@pytest.mark.parametrize(
    "path", ["0/001.p/145", "0/001", "1/000", "1/000.p/2", "2/000.p/1", "entries/001.p/145", "entries/x999/x999/x999/999",
             "7/x999/x999/999", "0/1", "8/000", "0/000.p/256", "entries/000/", "0/%2e%2e/x"],
)  # fmt: skip
async def test_what_the_checkpoint_does_not_cover_is_not_there(service: Service, path: str) -> None:
    await filled(service)

    assert (await service.as_admin.get(f"{LOG}/tile/{path}")).status_code == 404


async def test_a_log_without_a_checkpoint_serves_nothing(service: Service) -> None:
    await service.job_of(service.employee)

    for path in (f"{LOG}/checkpoint", f"{LOG}/tile/0/000.p/1", "/api/audit/consistency?from=0"):
        answer = await service.as_admin.get(path)
        assert answer.status_code == 404
        assert "no signed checkpoint yet" in answer.json()["detail"]


async def test_the_growth_of_the_log_is_proved(service: Service) -> None:
    await filled(service)
    roots: dict[int, bytes] = {}
    for old, size in ((1, 400), (256, 400), (100, 300), (400, 400), (0, 400)):
        answer = (await service.as_admin.get(f"/api/audit/consistency?from={old}&to={size}")).json()
        first, second = base64.b64decode(answer["fromRoot"]), base64.b64decode(answer["toRoot"])
        assert is_consistent(old, first, size, second, [base64.b64decode(each) for each in answer["hashes"]])
        assert roots.setdefault(size, second) == second
    newest = (await service.as_admin.get("/api/audit/consistency?from=300")).json()
    assert newest["toSize"] == 400


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "from"), ("from=5&to=401", "to"), ("from=401", "from"), ("from=5&to=4", "from"), ("from=-1", "from"),
     ("from=x", "from"), ("from=99999999999999999999", "from")],
)  # fmt: skip
async def test_impossible_sizes_are_named(service: Service, query: str, field: str) -> None:
    await filled(service)

    answer = await service.as_admin.get(f"/api/audit/consistency?{query}")

    assert answer.status_code in (400, 422)
    assert answer.json()["errors"][0]["path"] == field


async def test_the_owner_proves_an_event_of_their_job(service: Service) -> None:
    job = await a_failed_job(service)
    verifier = await sign_log(service.context.database)

    answer = await service.as_employee.get(f"/api/audit/proof/{job.id}/1")

    proved = verify_proof(answer.content, [verifier])
    assert (str(proved.entry.job_id), proved.entry.seq, proved.entry.type) == (job.id, 1, "queued")
    assert proved.data is not None
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{job.id}-1.tlog-proof"'


async def test_only_who_may_see_all_data_of_an_event_gets_its_salt_and_data(service: Service) -> None:
    job = await a_failed_job(service)
    verifier = await sign_log(service.context.database)
    path = f"/api/audit/proof/{job.id}/3"

    by_admin = verify_proof((await service.as_admin.get(path)).content, [verifier])
    assert by_admin.data is not None
    assert STACK.encode() in by_admin.data
    for client in (service.as_employee, await client_of(service, "auditor")):
        proved = verify_proof((await client.get(path)).content, [verifier])
        assert proved.entry == by_admin.entry
        assert proved.data is None


async def test_an_event_that_nobody_has_signed_yet_has_no_proof(service: Service) -> None:
    await sign_log(service.context.database)
    job = await service.job_of(service.employee)

    answer = await service.as_employee.get(f"/api/audit/proof/{job.id}/1")

    assert answer.status_code == 409
    assert "has no position yet" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "60"


@pytest.mark.parametrize("seq", ["0", "2", "-1", "x", "1e0", "99999999999999999999", "٣"])
async def test_an_event_that_is_not_there_has_no_proof(service: Service, seq: str) -> None:
    job = await service.job_of(service.employee)
    await sign_log(service.context.database)

    assert (await service.as_employee.get(f"/api/audit/proof/{job.id}/{seq}")).status_code == 404


async def test_proofs_of_other_peoples_jobs_are_on_record(service: Service) -> None:
    job = await service.job_of(service.employee)
    await sign_log(service.context.database)
    await service.as_employee.get(f"/api/audit/proof/{job.id}/1")
    assert await accesses(service, "export_job") == []

    await service.as_admin.get(f"/api/audit/proof/{job.id}/1")
    await service.as_admin.get(f"{LOG}/tile/entries/000.p/1")

    assert await accesses(service, "export_job") == [f"proof:{job.id}/1"]
    assert await accesses(service, "read_log") == ["log entries"]


async def accesses(service: Service, action: str) -> list[str]:
    answer: Mapping[str, list[dict[str, str]]] = (await service.as_admin.get(f"/api/audit/access?action={action}")).json()
    return [record["target"] for record in answer["records"]]
