"""The commands `rireki jobs`: list, show, cancel, retry and watch."""

import asyncio
import json
import os

from events.database import Database
from events.job import JobError, complete, fail, start
from events.store import Store
from events.writes import NewJob
from service.accounts.users import add_user
from tests.commands import run_command
from tests.service_fixture import PASSWORD

EMAIL = "sato@example.com"
PERIOD = {"periodStart": "2026-09-01T00:00:00Z", "periodEnd": "2026-12-01T00:00:00Z"}
NO_JOB = "0190b1a0-0000-7000-8000-000000000000"


async def rireki(database: Database, *arguments: str) -> tuple[int, str, str]:
    environment = os.environ | {"DATABASE_URL": database.url, "APP_ENV": "test"}
    return await run_command("jobs", *arguments, environment=environment)


async def a_draft(store: Store, database: Database, *, user_id: str | None = None) -> str:
    company = await database.fetch_val(
        "insert into companies (name) values ('あけぼの食品') on conflict do nothing returning id"
    )
    payload = {"companyId": str(company), **PERIOD}
    return (await store.create(NewJob("summary_draft", payload, user_id, max_attempts=3), actor="system:test")).id


async def a_failed_job(store: Store, unique_key: str | None = None) -> str:
    new = NewJob("chatwork_rooms_sync", {}, None, max_attempts=5, unique_key=unique_key)
    job = await store.create(new, actor="system:test")
    job = await store.append(job, lambda job: start(job, attempt=1, worker="w1"), actor="worker:w1")
    error = JobError("Refused", "Chatwork API error: 403")
    job = await store.append(job, lambda job: fail(job, attempt=1, worker="w1", error=error, retry_in=None), actor="worker:w1")
    return job.id


async def test_a_pipe_gets_every_field_uncut_with_the_filters_of_the_page(store: Store, database: Database) -> None:
    await add_user(database, EMAIL, "employee", PASSWORD, "佐藤")
    sato = str(await database.fetch_val("select id from users"))
    draft, failed = await a_draft(store, database, user_id=sato), await a_failed_job(store)

    status, out, errors = await rireki(database, "list")

    lines = [line.split("\t") for line in out.splitlines()]
    assert (status, errors) == (0, "")
    assert [line[:6] for line in lines] == [
        [failed, "chatwork_rooms_sync", "", "failed", "1/5", "system"],
        [draft, "summary_draft", "あけぼの食品 · 2026-09-01/2026-12-01", "queued", "1/3", EMAIL],
    ]
    assert lines[0][7] == "Refused: Chatwork API error: 403"
    for filters, found in (
        (("--status", "failed"), [failed]),
        (("--type", "summary_draft", "--since", "1h"), [draft]),
        (("--owner", EMAIL), [draft]),
        (("--to", "2020-01-01"), []),
        (("--limit", "1"), [failed]),
    ):
        out = (await rireki(database, "list", *filters))[1]
        assert [line.split("\t")[0] for line in out.splitlines()] == found, filters
    listed = json.loads((await rireki(database, "list", "--json"))[1])
    assert [job["id"] for job in listed["jobs"]] == [failed, draft]


async def test_wrong_filters_are_one_line_and_status_2(database: Database) -> None:
    for filters, told in (
        (("--status", "gone"), "'gone' is not a status: use one of queued, processing"),
        (("--type", "tea"), "'tea' is not a job type"),
        (("--since", "yesterday"), "--since must be a duration like 90s, 10m, 2h or 1d"),
        (("--from", "2026-13-01"), "--from must be a time like"),
        (("--from", "2026-11-01T00:00:00"), "--from must be a time like"),
        (("--since", "1h", "--from", "2026-11-01"), "--since and --from must not come together"),
    ):
        status, out, errors = await rireki(database, "list", *filters)
        assert (status, out, len(errors.splitlines())) == (2, "", 1), filters
        assert told in errors
    status, _, errors = await rireki(database, "list", "--owner", "nobody@example.com")
    assert (status, errors) == (1, "rireki: there is no user with the email nobody@example.com\n")


async def test_a_job_is_shown_by_its_short_id(store: Store, database: Database) -> None:
    failed = await a_failed_job(store)

    status, out, _ = await rireki(database, "show", failed[-8:].upper())

    told = dict(line.split("\t") for line in out.splitlines())
    assert (status, told["id"], told["status"], told["owner"]) == (0, failed, "failed", "system")
    assert (await rireki(database, "show", "00000000"))[::2] == (1, "rireki: there is no job 00000000\n")
    assert (await rireki(database, "show", NO_JOB))[::2] == (1, f"rireki: there is no job {NO_JOB}\n")
    assert (await rireki(database, "show", "one"))[0] == 2


async def test_jobs_are_canceled_and_retried_and_refusals_named(store: Store, database: Database) -> None:
    draft, failed = await a_draft(store, database), await a_failed_job(store)

    assert await rireki(database, "retry", failed[-8:]) == (0, f"{failed}\tqueued\n", "")
    assert await rireki(database, "cancel", failed, draft) == (0, f"{failed}\tcanceled\n{draft}\tcanceled\n", "")
    status, out, errors = await rireki(database, "cancel", failed, "00000000")

    assert (status, out) == (1, "")
    assert len(errors.splitlines()) == 2
    assert failed in errors
    actors = await database.fetch_all("select type, actor from job_events where job_id = :id order by seq", {"id": failed})
    assert [(row["type"], row["actor"]) for row in actors][3:] == [
        ("queued", "system:operator"),
        ("canceled", "system:operator"),
    ]
    recorded = await database.fetch_all("select target from access_records where action = 'change_jobs' order by id")
    assert recorded[0]["target"] == f"job:{failed} action=retry done=1"


async def test_a_second_active_job_of_one_kind_is_refused(store: Store, database: Database) -> None:
    first, second = await a_failed_job(store, "rooms"), await a_failed_job(store, "rooms")

    assert (await rireki(database, "retry", first))[0] == 0
    status, _, errors = await rireki(database, "retry", second)

    assert status == 1
    assert f"job {first} of the same kind is active" in errors


async def test_a_watched_job_is_printed_to_its_end(store: Store, database: Database) -> None:
    draft = await a_draft(store, database)
    watching = asyncio.create_task(rireki(database, "watch", draft[-8:], "--json"))

    await store.append(draft, lambda job: start(job, attempt=1, worker="w1"), actor="worker:w1")
    await store.append(draft, lambda job: complete(job, attempt=1, worker="w1", result={"id": "x"}), actor="worker:w1")

    status, out, _ = await watching
    assert (status, [json.loads(line)["type"] for line in out.splitlines()]) == (0, ["queued", "started", "completed"])
    failed = await a_failed_job(store)
    assert (await rireki(database, "watch", failed))[0] == 1
