"""`GET /api/job-types` has all that a form needs, also for a job type that was added."""

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from events.job import complete, start
from service.api.app import ENDPOINTS
from service.http.openapi import openapi_document
from tests.fourth_type import FURTHER, INVOICE_EXPORT, UNTITLED
from tests.service_fixture import Service, service
from workers.registry import JOB_TYPES

__all__ = ["service"]


@pytest.fixture(autouse=True)
def further_types(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, job_type in FURTHER.items():
        monkeypatch.setitem(JOB_TYPES, name, job_type)


async def job_types(service: Service) -> dict[str, Any]:
    answer = await service.as_employee.get("/api/job-types")
    assert answer.status_code == 200
    return {job_type["name"]: job_type for job_type in answer.json()["jobTypes"]}


async def test_every_type_is_listed_with_all_that_a_form_needs(service: Service) -> None:
    told = await job_types(service)

    assert list(told) == list(JOB_TYPES)
    assert {name: (one["title"], one["role"]) for name, one in told.items()} == {
        "chatwork_rooms_sync": ("Sync rooms", "admin"),
        "chatwork_messages_sync": ("Sync messages", "admin"),
        "summary_draft": ("Summary draft", "employee"),
        INVOICE_EXPORT.name: ("請求書の書き出し", "employee"),
        UNTITLED.name: ("untitled_work", "admin"),
    }
    assert {(one["schedule"], one["limits"]) for one in told.values()} == {(None, None)}


async def test_the_schema_accepts_what_the_model_accepts_and_nothing_else(service: Service) -> None:
    told = await job_types(service)
    samples: dict[str, list[dict[str, Any]]] = {
        "chatwork_rooms_sync": [{}, {"roomId": "7"}],
        "chatwork_messages_sync": [{}, {"roomId": "7"}, {"roomLimit": 3}, {"roomId": 7}, {"room_id": "7"}],
        INVOICE_EXPORT.name: [{"fiscalYear": 2026}, {"fiscalYear": 2026, "form": "pdf"}, {"fiscalYear": 1999}, {"form": "csv"}],
    }

    for name, payloads in samples.items():
        schema = told[name]["schema"]
        OAS31Validator.check_schema(schema)
        for payload in payloads:
            assert OAS31Validator(schema).is_valid(payload) == accepted(name, payload), (name, payload)
    assert told[INVOICE_EXPORT.name]["schema"]["properties"]["fiscalYear"]["description"]


async def test_a_further_type_is_filtered_paused_and_counted_like_any_other(service: Service) -> None:
    job = await service.job_of(service.employee, INVOICE_EXPORT.name, {"fiscalYear": 2026})
    await service.job_of(service.employee)
    await service.run(
        job, lambda job: start(job, attempt=1, worker="w1"), lambda job: complete(job, attempt=1, worker="w1", result={})
    )
    query = f"type={INVOICE_EXPORT.name}"

    listed = (await service.as_employee.get(f"/api/jobs?{query}")).json()["jobs"]
    counts = (await service.as_employee.get(f"/api/jobs/counts?{query}")).json()["counts"]
    chosen = {"action": "cancel", "filter": {"type": INVOICE_EXPORT.name}, "dryRun": True}
    bulk = await service.as_employee.post("/api/jobs/bulk", json=chosen)
    paused = await service.as_admin.post(f"/api/job-types/{INVOICE_EXPORT.name}/pause", json={})
    metrics = (await service.as_nobody.get("/metrics")).text

    assert [one["id"] for one in listed] == [job.id]
    assert counts["completed"] == 1
    assert (bulk.status_code, bulk.json()["matched"]) == (200, 0)
    assert paused.status_code == 200
    assert f'rireki_jobs{{status="completed",type="{INVOICE_EXPORT.name}"}} 1.0' in metrics
    assert f'rireki_paused{{type="{INVOICE_EXPORT.name}"}} 1.0' in metrics


async def test_an_unknown_type_is_refused_with_the_names_of_all_types(service: Service) -> None:
    answer = await service.as_employee.get("/api/jobs?type=unknown")

    assert answer.status_code == 422
    assert all(name in answer.json()["errors"][0]["detail"] for name in JOB_TYPES)


def test_the_openapi_document_names_a_further_type() -> None:
    found = list(enums(openapi_document(ENDPOINTS)))

    assert len(found) >= 5
    assert all(found_one == list(JOB_TYPES) for found_one in found)


def enums(node: Any) -> Iterator[list[str]]:
    """Yields every `enum` of the document that contains the name of a job type."""
    if isinstance(node, dict):
        if "summary_draft" in (node.get("enum") or ()):
            yield node["enum"]
        for child in node.values():
            yield from enums(child)
    elif isinstance(node, list):
        for child in node:
            yield from enums(child)


def accepted(name: str, payload: dict[str, Any]) -> bool:
    try:
        JOB_TYPES[name].payload.model_validate(payload, strict=True, by_name=False)
    except ValueError:
        return False
    return True
