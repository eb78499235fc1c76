"""The record of access has one entry for each read, export or change that counts.

These are: reading another person's jobs, exporting and verifying the log, pausing job types and the
like, and changing accounts, companies and rooms.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog.testing

from events.database import Database
from events.job import JobError, cancel, fail, start
from service.accounts import access_records
from service.accounts.access_records import Access, Action
from tests.api.test_changes_stream import changes
from tests.api.test_job_stream import stream
from tests.service_fixture import PASSWORD, Service, service

__all__ = ["service"]

NDJSON = {"Accept": "application/x-ndjson"}


async def on_record(service: Service, **query: str) -> list[tuple[str, str, str | None]]:
    """Returns actor, action and target of the records, the oldest first."""
    answer = await service.as_auditor.get("/api/audit/access", params={"limit": "100"} | query)
    assert answer.status_code == 200, answer.text
    return [(each["actor"], each["action"], each["target"]) for each in reversed(answer.json()["records"])]


def by(service: Service, who: str = "admin") -> str:
    return f"user:{getattr(service, who).id}"


@pytest.mark.parametrize("who", ["admin", "auditor"])
@pytest.mark.parametrize("address", ["", "?seq=1", "/events", "/waiting"])
async def test_a_read_of_another_persons_job_is_recorded(service: Service, who: str, address: str) -> None:
    job = await service.job_of(service.employee)

    answer = await getattr(service, f"as_{who}").get(f"/api/jobs/{job.id}{address}", headers={"X-Request-Id": "r-1"})

    assert answer.status_code == 200
    (record,) = (await service.as_auditor.get("/api/audit/access")).json()["records"]
    assert record == {
        "id": record["id"], "at": record["at"], "actor": by(service, who), "action": "read_job", "target": f"job:{job.id}",
        "requestId": "r-1", "address": "127.0.0.1",
    }  # fmt: skip


async def test_reads_of_own_jobs_of_system_jobs_and_of_hidden_jobs_are_not_recorded(service: Service) -> None:
    theirs, own, systems = [await service.job_of(user) for user in (service.employee, service.admin, None)]

    for client, job in (
        (service.as_employee, theirs), (service.as_other, theirs), (service.as_admin, own), (service.as_admin, systems),
    ):  # fmt: skip
        for address in ("", "/events", "/waiting"):
            await client.get(f"/api/jobs/{job.id}{address}")
    await service.as_employee.get("/api/jobs")
    await service.as_admin.get("/api/jobs", params={"userId": service.admin.id})
    await service.as_admin.get("/api/jobs", params={"ids": f"{own.id},{systems.id}"})

    assert await on_record(service) == []


async def test_the_same_read_is_recorded_once_a_minute(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await service.job_of(service.employee)
    for _ in range(3):
        await service.as_admin.get(f"/api/jobs/{job.id}")
        await service.as_auditor.get(f"/api/jobs/{job.id}")
    expected = [(by(service, who), "read_job", f"job:{job.id}") for who in ("admin", "auditor")]
    assert await on_record(service) == expected

    monkeypatch.setattr(access_records, "QUIET_FOR", 0.0)
    await service.as_admin.get(f"/api/jobs/{job.id}")

    assert await on_record(service) == [*expected, expected[0]]


async def test_a_list_is_recorded_with_its_filters_once_for_all_its_pages(service: Service) -> None:
    jobs = [await service.job_of(service.employee) for _ in range(3)]

    first = (await service.as_admin.get("/api/jobs", params={"limit": 1, "status": "queued"})).json()
    await service.as_admin.get("/api/jobs", params={"limit": 1, "status": "queued", "cursor": first["nextCursor"]})
    await service.as_admin.get("/api/jobs", params={"userId": service.employee.id})
    await service.as_admin.get("/api/jobs", params={"ids": ",".join(job.id for job in jobs)})

    assert await on_record(service) == [
        (by(service), "read_jobs", "jobs?status=queued"),
        (by(service), "read_jobs", f"jobs?userId={service.employee.id}"),
        (by(service), "read_jobs", "jobs?ids=" + ",".join(sorted(job.id for job in jobs))),
    ]


async def test_streams_of_other_peoples_jobs_are_recorded(service: Service) -> None:
    job = await service.job_of(service.employee)

    async with changes(service.as_auditor), changes(service.as_employee), stream(service.as_auditor, job) as events:
        await events.next()

    assert await on_record(service) == [
        (by(service, "auditor"), "watch_jobs", "jobs"), (by(service, "auditor"), "read_job", f"job:{job.id}"),
    ]  # fmt: skip


async def test_the_log_is_recorded_as_read_once_a_minute_and_as_exported_each_time(service: Service) -> None:
    job = await service.job_of(service.employee)
    log = {"jobId": job.id, "type": "queued"}

    for after in (0, 1):
        await service.as_auditor.get("/api/events", params=log | {"after": str(after)})
    for _ in range(2):
        await service.as_auditor.get("/api/events", params={"after": "1"}, headers=NDJSON)

    asked = f"events?jobId={job.id}&type=queued"
    assert await on_record(service) == [
        (by(service, "auditor"), "read_log", asked),
        *[(by(service, "auditor"), "export_log", "events?after=1&latest=False")] * 2,
    ]


async def test_the_download_of_a_history_is_an_export_also_of_an_own_job(service: Service) -> None:
    job = await service.job_of(service.employee)

    for _ in range(2):
        await service.as_employee.get(f"/api/jobs/{job.id}/events", headers=NDJSON)

    assert await on_record(service) == [(by(service, "employee"), "export_job", f"job:{job.id}")] * 2


async def test_operators_acts_are_recorded(service: Service) -> None:
    running = await service.run(await service.job_of(None), lambda job: start(job, attempt=1, worker="w1"))
    waiting = await service.job_of(None)
    as_admin = service.as_admin

    await as_admin.post("/api/job-types/summary_draft/pause", json={"reason": "広告"})
    await as_admin.post("/api/job-types/summary_draft/resume")
    await as_admin.post(f"/api/jobs/{running.id}/force-fail", json={"reason": "stuck"})
    await as_admin.post("/api/jobs/bulk", json={"action": "cancel", "filter": {"status": "queued"}, "dryRun": True})
    await as_admin.post("/api/jobs/bulk", json={"action": "cancel", "filter": {"status": "queued"}})
    await as_admin.post("/api/jobs/bulk", json={"action": "retry", "ids": [waiting.id]})
    verification = (await as_admin.post("/api/audit/verify")).json()["verification"]

    assert await on_record(service) == [
        (by(service), "pause_type", "job-type:summary_draft?reason=%E5%BA%83%E5%91%8A"),
        (by(service), "resume_type", "job-type:summary_draft"),
        (by(service), "force_fail_job", f"job:{running.id}"),
        (by(service), "change_jobs", "jobs?status=queued action=cancel done=1"),
        (by(service), "change_jobs", "1 jobs action=retry done=1"),
        (by(service), "verify_log", f"verification:{verification['id']}"),
    ]


async def test_changes_of_companies_and_rooms_are_recorded(service: Service) -> None:
    room = "insert into chatwork_rooms (room_id, name, is_active) values ('42', 'room', true) returning id"
    room_id = await service.context.database.fetch_val(room)
    as_admin, seen = service.as_admin, {"lastErrorAt": "2026-11-30T00:00:00Z"}

    company = (await service.as_employee.post("/api/companies", json={"name": "会社"})).json()["company"]["id"]
    linked_rooms = f"/api/companies/{company}/chatwork-rooms"
    assert (await as_admin.post(linked_rooms, json={"roomId": "42"})).status_code == 201
    assert (await as_admin.delete(f"{linked_rooms}/42")).status_code == 204
    assert (await as_admin.patch(f"/api/chatwork/rooms/{room_id}", json={"isActive": False})).status_code == 200
    assert (await as_admin.post(f"/api/chatwork/rooms/{room_id}/error/seen", json=seen)).status_code == 200

    assert await on_record(service) == [
        (by(service, "employee"), "add_company", f"company:{company}"),
        (by(service), "link_room", f"company:{company} room:42"),
        (by(service), "unlink_room", f"company:{company} room:42"),
        (by(service), "switch_room", "room:42 active=false"),
        (by(service), "confirm_room_error", "room:42 until=2026-11-30T00:00:00.000000Z"),
    ]


async def test_refused_acts_are_not_recorded(service: Service) -> None:
    job = await service.job_of(service.employee)

    await service.as_employee.post("/api/job-types/summary_draft/pause")
    await service.as_auditor.patch(f"/api/users/{service.auditor.id}", json={"role": "admin"})
    await service.as_admin.patch(f"/api/users/{service.admin.id}", json={"role": "employee"})
    await service.as_admin.post(f"/api/jobs/{job.id}/force-fail", json={})
    await service.as_employee.patch(f"/api/chatwork/rooms/{job.id}", json={"isActive": False})
    await service.as_admin.patch(f"/api/chatwork/rooms/{job.id}", json={"isActive": False})
    await service.as_admin.post(f"/api/companies/{job.id}/chatwork-rooms", json={"roomId": "42"})
    await service.as_admin.delete(f"/api/companies/{job.id}/chatwork-rooms/42")

    assert await on_record(service) == []


async def test_every_change_of_an_account_is_recorded_without_names_and_passwords(service: Service) -> None:
    new = {"email": "new@example.com", "role": "employee", "name": "秘密", "password": PASSWORD}
    user_id = (await service.as_admin.post("/api/users", json=new)).json()["user"]["id"]
    address = f"/api/users/{user_id}"
    await service.as_admin.patch(address, json={"role": "auditor", "name": "秘密", "password": PASSWORD + "!"})
    await service.as_admin.patch(address, json={"disabled": True})
    await service.as_admin.patch(address, json={"disabled": False})
    await service.as_admin.post(f"{address}/sign-out")
    link = (await service.as_admin.post(f"{address}/invitation")).json()["invitation"]["link"]
    await service.as_nobody.post("/api/auth/invitation", json={"token": link.partition("#")[2], "password": PASSWORD})
    await service.as_employee.post("/api/auth/password", json={"current": PASSWORD, "new": PASSWORD + "!"})

    user, admin = f"user:{user_id}", by(service)
    assert await on_record(service) == [
        (admin, "add_user", f"{user} role=employee"),
        (admin, "change_user", f"{user} name role=auditor password"),
        (admin, "change_user", f"{user} disabled=true"),
        (admin, "change_user", f"{user} disabled=false"),
        (admin, "sign_user_out", user),
        (admin, "invite_user", user),
        (user, "accept_invitation", user),
        (by(service, "employee"), "change_own_password", by(service, "employee")),
    ]


# Reading the record -----------------------------------------------------------------------------------------------------------


async def test_the_record_is_for_admins_and_auditors(service: Service) -> None:
    assert (await service.as_admin.get("/api/audit/access")).status_code == 200
    assert (await service.as_employee.get("/api/audit/access")).status_code == 403
    assert (await service.as_nobody.get("/api/audit/access")).status_code == 401


async def test_the_record_is_read_page_by_page_newest_first(service: Service) -> None:
    await written(service, *[Access("system:test", Action.VERIFY_LOG, str(n)) for n in range(5)])

    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await service.as_auditor.get("/api/audit/access", params=query)).json()
        found += [record["target"] for record in page["records"]]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]

    assert found == ["4", "3", "2", "1", "0"]


async def test_records_of_the_same_moment_are_not_lost_between_two_pages(service: Service) -> None:
    """All records of one transaction have the same time."""
    insert = (
        "insert into access_records (actor, action, target) select 'system:test', 'read_job', n from generate_series(1, 5) n"
    )
    await service.context.database.execute(insert)

    first = (await service.as_auditor.get("/api/audit/access", params={"limit": 2})).json()
    rest = (await service.as_auditor.get("/api/audit/access", params={"cursor": first["nextCursor"]})).json()

    assert [record["target"] for record in first["records"] + rest["records"]] == ["5", "4", "3", "2", "1"]


async def test_the_record_is_filtered_by_actor_action_and_time(service: Service) -> None:
    await written(
        service,
        Access("user:a", Action.READ_JOB, "job:1"),
        Access("user:a", Action.PAUSE_TYPE, "job-type:x"),
        Access("user:b", Action.READ_JOB, "job:2"),
    )
    now = datetime.now(UTC)
    past, future = (now - timedelta(hours=1)).isoformat(), (now + timedelta(hours=1)).isoformat()

    assert [target for _, _, target in await on_record(service, actor="user:a")] == ["job:1", "job-type:x"]
    assert [target for _, _, target in await on_record(service, action="read_job")] == ["job:1", "job:2"]
    assert [target for _, _, target in await on_record(service, actor="user:a", action="read_job")] == ["job:1"]
    assert len(await on_record(service, **{"from": past, "to": future})) == 3
    assert await on_record(service, to=past) == await on_record(service, **{"from": future}) == []


@pytest.mark.parametrize(
    ("query", "status", "path"),
    [
        ({"cursor": "x"}, 400, "cursor"), ({"cursor": "MjAyNg"}, 400, "cursor"), ({"action": "steal"}, 422, "action"),
        ({"from": "yesterday"}, 400, "from"), ({"limit": "101"}, 422, "limit"), ({"target": "x"}, 422, "target"),
        ({"actor": "\0"}, 400, "actor"),
    ],
)  # fmt: skip
async def test_a_bad_query_names_its_field(service: Service, query: dict[str, str], status: int, path: str) -> None:
    answer = await service.as_auditor.get("/api/audit/access", params=query)

    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (status, path)


# A record that cannot be written ----------------------------------------------------------------------------------------------


async def test_an_access_that_cannot_be_recorded_is_logged_and_answered(service: Service, database: Database) -> None:
    job = await service.job_of(service.employee)
    await database.execute("alter table access_records rename to access_records_of_old")

    with structlog.testing.capture_logs() as lines:
        answer = await service.as_admin.get(f"/api/jobs/{job.id}")

    assert (answer.status_code, answer.json()["job"]["id"]) == (200, job.id)
    (line,) = [line for line in lines if line["event"] == "an access could not be recorded in access_records"]
    assert (line["actor"], line["action"], line["target"], line["fault"]) == (
        by(service), "read_job", f"job:{job.id}", "UndefinedTableError",
    )  # fmt: skip


async def test_a_record_that_waits_for_a_lock_holds_no_answer_for_long(
    service: Service, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_records, "WRITTEN_WITHIN", 0.2)
    async with database.transaction():
        await database.execute("lock table access_records in access exclusive mode")

        # Another task gets another connection, which waits for the lock.
        access = Access("user:a", Action.READ_JOB)
        fault = await asyncio.create_task(service.context.access_records.try_to_write(access))

    assert fault == "TimeoutError"


async def test_a_record_is_never_changed_nor_deleted(service: Service, database: Database) -> None:
    await written(service, Access("user:a", Action.READ_JOB, "job:1"))

    for statement in (
        "update access_records set actor = 'user:b'", "delete from access_records", "truncate access_records",
        "merge into access_records r using users u on r.actor = 'user:a' when matched then delete",
    ):  # fmt: skip
        with pytest.raises(Exception, match="access_records is append-only"):
            await database.execute(statement)

    assert len(await on_record(service)) == 1


async def test_an_admins_cancel_and_retry_of_another_persons_job_is_recorded_as_a_read(service: Service) -> None:
    """Their answers show the job. The act itself is an event of the job."""
    failed = await service.run(
        await service.job_of(service.employee),
        lambda job: start(job, attempt=1, worker="w1"),
        lambda job: fail(job, attempt=1, worker="w1", error=JobError("E", "m"), retry_in=None),
    )
    canceled = await service.run(await service.job_of(service.employee, payload={"n": 1}), lambda job: cancel(job, reason="x"))

    await service.as_admin.post(f"/api/jobs/{failed.id}/retry")
    await service.as_admin.post(f"/api/jobs/{canceled.id}/again")

    assert [(action, target) for _, action, target in await on_record(service)] == [
        ("read_job", f"job:{failed.id}"), ("read_job", f"job:{canceled.id}"),
    ]  # fmt: skip


async def written(service: Service, *accesses: Access) -> None:
    for access in accesses:
        await service.context.access_records.write(access)
