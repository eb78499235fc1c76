"""Operators' work: pauses, the list of workers, failing a stuck job, metrics."""

import asyncio
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from events.bus import Bus
from events.database import Database
from events.job import JSON, rfc3339, start
from events.store import Store
from projections.jobs import JobsView
from tests.chatwork_server import sandbox_of
from tests.commands import run_command
from tests.job_types import (
    HANG,
    QUICK,
    claim_of,
    ended,
    job_type,
    queue,
    running,
    until,
    wait_deaf_to_cancellation,
    words,
    working,
)
from tests.service_fixture import Service, service
from tests.short_waits import short_waits
from workers.chatwork.client import Chatwork, ChatworkSettings
from workers.delivery.wire import LocalWire
from workers.job_type import Context
from workers.liveness.worker_table import Presence, workers_seen
from workers.pauses import OverAlready, Pauses
from workers.registry import JOB_TYPES, types_that_call

__all__ = ["service"]

SYNC = "chatwork_rooms_sync"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with short_waits(monkeypatch, seconds_between_heartbeats=0.1):
        yield


@pytest.fixture
def wire() -> LocalWire:
    return LocalWire()


async def test_no_job_of_a_paused_type_is_started_until_it_is_resumed(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    pauses, other = Pauses(database), job_type("other", QUICK.run)
    async with working(database, store, bus, wire, [QUICK, other]):
        await pauses.pause("quick", until=None, reason="maintenance", actor="user:1")
        waiting = [await queue(store, wire, QUICK), await queue(store, None, QUICK)]
        for _ in range(3):
            await ended(database, await queue(store, wire, other))
        assert [await words(store, job) for job in waiting] == [["queued"], ["queued"]]

        await pauses.resume("quick")

        for job in waiting:
            assert (await ended(database, job)).attempt == 1


async def test_a_pause_ends_by_itself_at_its_time(database: Database, store: Store, bus: Bus, wire: LocalWire) -> None:
    until_then = datetime.now(UTC) + timedelta(seconds=1)
    await Pauses(database).pause("quick", until=until_then, reason="a moment", actor="system:test")
    async with working(database, store, bus, wire, [QUICK]):
        job = await ended(database, await queue(store, wire, QUICK))

    assert job.started_at is not None
    assert job.started_at >= until_then
    assert await Pauses(database).in_force() == {}


async def test_a_running_job_goes_on_while_its_type_is_paused(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    finish = asyncio.Event()

    async def wait(context: Context, payload: Any) -> JSON:
        await finish.wait()
        return "done"

    waiting_type = job_type("waits", wait)
    async with working(database, store, bus, wire, [waiting_type]):
        job = await running(database, await queue(store, wire, waiting_type))
        await Pauses(database).pause("waits", until=None, reason="maintenance", actor="user:1")
        finish.set()

        assert (await ended(database, job)).result == "done"


async def test_an_automatic_pause_never_shortens_an_operators_pause(database: Database) -> None:
    pauses = Pauses(database)
    for_good, for_long = "a", datetime.now(UTC) + timedelta(hours=1)
    await pauses.pause(for_good, until=None, reason="by hand", actor="user:1")
    await pauses.pause("b", until=for_long, reason="by hand", actor="user:1")

    await pauses.pause_at_least(["a", "b", "c"], 60, reason="429", actor="system:Chatwork")
    await pauses.pause_at_least(["c"], 30, reason="429 again", actor="system:Chatwork")

    in_force = await pauses.in_force()
    assert (in_force["a"].until, in_force["b"].until) == (None, for_long)
    assert (in_force["c"].reason, in_force["c"].actor) == ("429", "system:Chatwork")
    with pytest.raises(OverAlready):
        await pauses.pause("d", until=datetime.now(UTC) - timedelta(seconds=1), reason="late", actor="user:1")


async def test_a_chatwork_limit_pauses_the_syncs_only_if_its_reset_is_far_away(database: Database) -> None:
    pauses, told = Pauses(database), []

    async def left_alone(seconds: float) -> None:
        told.append(seconds)
        await pauses.pause_at_least(types_that_call("Chatwork"), seconds, reason="429", actor="system:Chatwork")

    async with sandbox_of({"10": ["おはよう"]}) as sandbox:
        settings = ChatworkSettings(base_url=sandbox.base_url, token=sandbox.token)
        chatwork = Chatwork(settings, database, left_alone=left_alone)
        sandbox.answer(b"{}", status=429, headers={"x-ratelimit-reset": str(int(time.time()) + 1)})
        await chatwork.rooms()
        assert (told, await pauses.in_force()) == ([], {})

        sandbox.answer(b"{}", status=429, headers={"x-ratelimit-reset": str(int(time.time()) + 200)})
        reading = asyncio.create_task(chatwork.rooms())
        in_force = await until(pauses.in_force)

        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await chatwork.close()
    assert set(in_force) == {"chatwork_rooms_sync", "chatwork_messages_sync"}
    assert 180 < told[0] <= 201
    ends = {pause.until and round((pause.until - pause.since).total_seconds()) for pause in in_force.values()}
    assert ends <= {round(told[0]), round(told[0]) + 1}


async def test_an_admin_pauses_and_resumes_a_type_and_every_user_sees_it(service: Service) -> None:
    later = rfc3339(datetime.now(UTC) + timedelta(minutes=10))

    answer = await service.as_admin.post(f"/api/job-types/{SYNC}/pause", json={"until": later, "reason": "月次処理のため"})

    assert answer.status_code == 200, answer.text
    paused = answer.json()["jobType"]["paused"]
    assert (paused["until"], paused["reason"], paused["actor"]) == (later, "月次処理のため", f"user:{service.admin.id}")
    seen = {one["name"]: one for one in (await service.as_employee.get("/api/job-types")).json()["jobTypes"]}
    assert set(seen) == set(JOB_TYPES)
    assert seen[SYNC]["paused"] == paused
    draft = {key: value for key, value in seen["summary_draft"].items() if key != "schema"}
    assert draft == {
        "name": "summary_draft", "title": "Summary draft", "maxAttempts": 3, "deadline": 900.0, "role": "employee",
        "paused": None, "schedule": None, "limits": None,
    }  # fmt: skip

    answer = await service.as_admin.post(f"/api/job-types/{SYNC}/resume")

    assert answer.json()["jobType"]["paused"] is None
    assert (await service.as_admin.post(f"/api/job-types/{SYNC}/resume")).status_code == 200


@pytest.mark.parametrize(
    ("who", "name", "body", "status"),
    [
        ("as_employee", SYNC, {}, 403),
        ("as_nobody", SYNC, {}, 401),
        ("as_admin", "no_such_type", {}, 404),
        ("as_admin", SYNC, {"until": "2020-01-01T00:00:00Z"}, 422),
        ("as_admin", SYNC, {"until": "tomorrow"}, 422),
        ("as_admin", SYNC, {"reason": ""}, 422),
        ("as_admin", SYNC, {"for": "ever"}, 422),
    ],
)
async def test_a_forbidden_or_invalid_pause_changes_nothing(
    service: Service, who: str, name: str, body: dict[str, str], status: int
) -> None:
    answer = await getattr(service, who).post(f"/api/job-types/{name}/pause", json=body)

    assert answer.status_code == status, answer.text
    assert await Pauses(service.context.database).in_force() == {}


async def test_the_workers_are_listed_with_their_running_jobs(
    service: Service, database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    async with working(database, store, bus, wire, [HANG, QUICK], slots=7) as worker:
        job = await running(database, await queue(store, wire, HANG))
        await database.execute(
            "insert into workers (id, host, pid, job_types, slots, gone_at) values ('w-gone', 'h', 1, '{quick}', 1, now()),"
            " ('w-forgotten', 'h', 1, '{quick}', 1, now() - interval '3 days')"
        )
        await database.execute(
            "insert into workers (id, host, pid, job_types, slots, last_seen)"
            " values ('w-silent', 'h', 1, '{quick}', 1, now() - interval '11 s')"
        )

        answer = await service.as_admin.get("/api/workers")

        listed = {one["id"]: one for one in answer.json()["workers"]}
        assert {worker_id: one["state"] for worker_id, one in listed.items()} == {
            worker.runner.worker_id: "alive", "w-silent": "silent", "w-gone": "gone",
        }  # fmt: skip
        alive = listed[worker.runner.worker_id]
        assert (alive["slots"], sorted(alive["jobTypes"])[:1], alive["goneAt"], alive["stuck"]) == (7, ["hang"], None, [])
        assert alive["jobs"] == [
            {"id": job.id, "type": "hang", "attempt": 1, "startedAt": rfc3339(job.started_at or job.run_at)}
        ]
        assert (await service.as_employee.get("/api/workers")).status_code == 403


async def test_a_stuck_handler_is_in_the_list_and_the_metrics_until_it_ends(
    service: Service, database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    release = asyncio.Event()

    async def be_deaf(context: Context, payload: Any) -> JSON:
        await wait_deaf_to_cancellation(release)
        return None

    async def stuck() -> list[Any]:
        return [one for worker in (await service.as_admin.get("/api/workers")).json()["workers"] for one in worker["stuck"]]

    async def measured() -> str:
        return (await service.as_nobody.get("/metrics")).text

    deaf_type = job_type("deaf", be_deaf, deadline=0.1, max_attempts=1)
    async with working(database, store, bus, wire, [deaf_type]):
        job = await ended(database, await queue(store, wire, deaf_type))

        seen = await until(stuck)

        assert [(one["jobId"], one["type"], one["attempt"]) for one in seen] == [(job.id, "deaf", 1)]
        since = datetime.fromisoformat(seen[0]["since"])
        assert abs((since - job.updated_at).total_seconds()) < 5
        assert 'rireki_stuck_handlers{type="deaf"} 1.0' in await measured()
        assert 'rireki_workers{state="alive"} 1.0' in await measured()
        assert (job.error and job.error.name, await words(store, job)) == ("Timeout", ["queued", "started", "failed"])

        release.set()
        await until(lambda: _none(stuck))
        assert "rireki_stuck_handlers{" not in await measured()


async def test_two_workers_have_different_ids(database: Database, store: Store, bus: Bus) -> None:
    wires = LocalWire(), LocalWire()
    async with (
        working(database, store, bus, wires[0], [HANG]) as one,
        working(database, store, bus, wires[1], [HANG]) as other,
    ):
        job = await queue(store, None, HANG, delay=timedelta(hours=1))
        other.runner.run(claim_of(job), started=lambda: None)
        await running(database, job)

        seen = await workers_seen(database, lease=10, remembered=timedelta(0))

        assert {worker.id: len(worker.running) for worker in seen} == {one.runner.worker_id: 0, other.runner.worker_id: 1}
    seen = await workers_seen(database, lease=10, remembered=timedelta(minutes=1))
    assert {worker.presence for worker in seen} == {Presence.GONE}


async def test_the_command_line_lists_the_workers_and_says_whether_any_is_alive(
    database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    assert await rireki(database, "workers") == (1, ["no worker has run within the last day"])

    async with working(database, store, bus, wire, [HANG], slots=3) as worker:
        job = await running(database, await queue(store, wire, HANG))
        status, lines = await rireki(database, "workers")
        assert (status, lines[0].split("\t")[:3]) == (0, [worker.runner.worker_id, "alive", "1/3"])
        assert lines[1].startswith(f"\thang {job.id} attempt 1 since ")

        status, lines = await rireki(database, "workers", "--json")
        assert orjson.loads(lines[0])["workers"][0]["jobs"][0]["id"] == job.id

    assert (await rireki(database, "workers"))[0] == 1


async def test_the_command_line_pauses_and_resumes_a_type(database: Database) -> None:
    assert (await rireki(database, "pause", SYNC, "--for", "10m", "--reason", "点検"))[0] == 0
    pause = (await Pauses(database).in_force())[SYNC]
    assert pause.until is not None
    assert 590 < (pause.until - pause.since).total_seconds() <= 600
    assert (pause.reason, pause.actor) == ("点検", "system:operator")

    assert (await rireki(database, "resume", SYNC))[0] == 0
    assert await Pauses(database).in_force() == {}
    for wrong in (["pause", "no_such_type"], ["pause", SYNC, "--for", "10 minutes"], ["resume", "no_such_type"]):
        assert (await rireki(database, *wrong))[0] == 2


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["migrate", "--app-role", 'no"body'], b"", "rireki: the schema is up to date, but no role got any rights: "
            "PostgreSQL has no role 'no\"body': create it first"),
        (["users", "add", "a@example.com", "--role", "admin", "--password-stdin"], b"\xff\xfe long enough",
            "rireki: the password on standard input is not UTF-8: write it in UTF-8"),
        (["users", "add", "a@example.com", "--role", "admin", "--password-stdin"], b"with a \0 in it",
            "rireki: the password must not contain control characters, because nobody can type them into a form"),
        (["users", "add", "\udcff@example.com", "--role", "admin", "--password-stdin"], b"long enough",
            "rireki: an argument is not UTF-8: '\\udcff@example.com'"),
    ],
)  # fmt: skip
async def test_a_wrong_command_line_prints_one_line(database: Database, arguments: list[str], given: bytes, said: str) -> None:
    status, out, errors = await command(database, *arguments, given=given)

    assert (status, out, errors.splitlines()) == (2, "", [said])


async def rireki(database: Database, *arguments: str) -> tuple[int, list[str]]:
    """Runs `rireki` in this process's environment. Returns its exit status and output."""
    status, out, _ = await command(database, *arguments)
    return status, out.splitlines()


async def command(database: Database, *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
    """Runs a command with this input. Returns exit status, standard output and errors."""
    environment = os.environ | {"DATABASE_URL": database.url, "APP_ENV": "test"}
    return await run_command(*arguments, environment=environment, given=given)


async def test_a_force_fail_ends_a_running_job_and_tells_its_worker(
    service: Service, database: Database, store: Store, bus: Bus, wire: LocalWire
) -> None:
    async with working(database, store, bus, wire, [HANG]) as worker:
        job = await running(database, await queue(store, wire, HANG))

        answer = await service.as_admin.post(f"/api/jobs/{job.id}/force-fail", json={"reason": "応答なし"})

        assert answer.status_code == 200, answer.text
        ended_job = answer.json()["job"]
        assert (ended_job["status"], ended_job["error"]["name"], ended_job["error"]["message"]) == (
            "failed", "ForceFailed", "応答なし",
        )  # fmt: skip
        await until(lambda: not worker.runner.in_hand)
    history = await store.history.events(job.id)
    assert [recorded.actor for recorded in history][-1] == f"user:{service.admin.id}"
    assert await words(store, job) == ["queued", "started", "failed"]
    assert (await service.as_admin.post(f"/api/jobs/{job.id}/force-fail")).status_code == 409


async def test_only_an_admin_may_force_fail_and_only_a_running_job(service: Service) -> None:
    job = await service.job_of(service.employee)
    waiting = await service.as_admin.post(f"/api/jobs/{job.id}/force-fail")
    await service.run(job, lambda job: start(job, attempt=1, worker="w1"))

    assert waiting.status_code == 409
    assert (await service.as_employee.post(f"/api/jobs/{job.id}/force-fail")).status_code == 403
    assert (await service.as_other.post(f"/api/jobs/{job.id}/force-fail")).status_code == 403
    now = await JobsView(service.context.database).get(job.id)
    assert now is not None
    assert now.status == "processing"


async def _none(look: Any) -> bool:
    return not await look()
