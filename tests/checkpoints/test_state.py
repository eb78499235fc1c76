"""The state of signing in /readyz, the metrics and the API."""

import dataclasses

import httpx2 as httpx
import pytest

from events.database import Database
from projections import checkpoints
from projections.checkpoints import SigningState
from service import readiness
from service.readiness import late_checkpoints
from tests.checkpoints.signers import SignedLog
from tests.service_fixture import Service, service, serving

__all__ = ["service"]

METRICS = ("size", "age_seconds", "lag_seconds", "copies_waiting")


async def metrics_of(service: Service) -> dict[str, float]:
    lines = (await service.as_nobody.get("/metrics")).text.splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
    found = {name: values[f"rireki_checkpoint_{name}"] for name in METRICS}
    return found | {"stopped": values["rireki_signing_stopped"]}


async def test_a_log_that_nobody_signs_is_no_warning_outside_production(service: Service, log: SignedLog) -> None:
    await log.grow()

    assert (await service.as_nobody.get("/readyz")).json() == {"status": "ok"}
    answer = (await service.as_auditor.get("/api/audit/log")).json()
    assert (answer["origin"], answer["sealedSize"], answer["checkpoint"]) == (log.key.name, 4, None)
    assert (answer["signing"]["state"], answer["protectedSince"]) == ("unknown", None)
    assert await late_checkpoints(log.database, production=True) == [readiness.NO_KEY]


async def test_the_newest_checkpoint_is_shown_with_its_copy(service: Service, log: SignedLog) -> None:
    async with log.signer() as signer:
        for _ in range(2):
            await log.grow()
            signed = await signer.sign()
        waiting = (await service.as_auditor.get("/api/audit/log")).json()
        assert waiting["copies"] == {"enabled": True, "waiting": 2}
        assert (await metrics_of(service))["copies_waiting"] == 2
        await signer.copy()
    assert signed is not None
    await log.grow()

    answer = (await service.as_admin.get("/api/audit/log")).json()

    checkpoint = answer["checkpoint"]
    assert (checkpoint["size"], answer["sealedSize"], checkpoint["cosignatures"]) == (8, 12, 0)
    assert checkpoint["copiedAt"] >= checkpoint["signedAt"] > answer["protectedSince"]
    assert answer["lagSeconds"] > 0
    assert answer["signing"] | {"since": ""} == {"state": "signing", "finding": None, "detail": "", "since": ""}
    assert answer["copies"] == {"enabled": True, "waiting": 0}
    metrics = await metrics_of(service)
    assert (metrics["size"], metrics["copies_waiting"], metrics["stopped"]) == (8, 0, 0)
    assert metrics["lag_seconds"] > 0
    assert metrics["age_seconds"] > 0


async def test_signing_that_has_stopped_is_a_warning_a_metric_and_a_finding(service: Service, log: SignedLog) -> None:
    async with log.database.raw() as connection:
        await checkpoints.set_signing_state(connection, SigningState.STOPPED, "INCONSISTENT: it differs", copies=False)

    (warning,) = (await service.as_nobody.get("/readyz")).json()["warnings"]
    assert warning.startswith("no checkpoint of the log is signed since 20")
    assert warning.endswith(" UTC: INCONSISTENT: it differs")
    assert (await metrics_of(service))["stopped"] == 1
    signing = (await service.as_auditor.get("/api/audit/log")).json()["signing"]
    assert (signing["state"], signing["finding"]) == ("stopped", "INCONSISTENT")


async def test_signing_that_waits_is_a_warning(service: Service, log: SignedLog) -> None:
    async with log.database.raw() as connection:
        await checkpoints.set_signing_state(connection, SigningState.WAITING, "the copies cannot be read", copies=False)

    assert (await service.as_nobody.get("/readyz")).json()["warnings"] == [
        "no checkpoint of the log is signed for now: the copies cannot be read"
    ]


async def test_events_and_copies_that_wait_long_are_warnings(log: SignedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.grow()
    async with log.signer() as signer:
        await signer.sign()
    await log.grow()
    assert await late_checkpoints(log.database, production=False) == []
    monkeypatch.setattr(readiness, "LATE_CHECKPOINT", 0.0)

    late, copies = await late_checkpoints(log.database, production=False)

    assert late.startswith("the oldest event without a checkpoint of the log has waited ")
    assert copies.startswith("1 checkpoints have no copy at AUDIT_CHECKPOINT_URL, the oldest since ")


async def test_the_trouble_of_this_process_is_a_warning_of_its_own(service: Service, log: SignedLog) -> None:
    async with log.signer() as signer:
        signer._trouble = "the signing key is for another log"
        context = dataclasses.replace(service.context, signing=signer)

        async with serving(context) as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/readyz")).json()["warnings"] == ["the signing key is for another log"]


async def test_the_lag_is_that_of_the_first_event_without_a_checkpoint(log: SignedLog, database: Database) -> None:
    await log.grow(300)
    async with log.signer() as signer:
        await signer.sign()
    assert (await checkpoints.signing_status(database)).lag == 0
    old = "insert into job_events (job_id, seq, attempt, type, data, salt, actor, at) values"
    old += " (gen_random_uuid(), 1, 1, 'queued', '{}', decode(md5('salt'), 'hex'), 'user:x', now() - interval '2 minutes')"
    await database.execute(old)
    await log.grow(300)

    assert 120 <= (await checkpoints.signing_status(database)).lag < 600


async def test_without_the_names_of_the_log_everything_else_still_works(service: Service, database: Database) -> None:
    async with database.raw() as connection:
        await connection.execute("alter table log_origins disable trigger all; delete from log_origins")

    assert (await service.as_auditor.get("/api/audit/log")).status_code == 503
    assert "rows of log_origins" in (await service.as_nobody.get("/readyz")).json()["warnings"][0]
    assert (await service.as_nobody.get("/metrics")).status_code == 200
