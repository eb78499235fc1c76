"""`rireki audit replay` shows who, request and cause, and fits a terminal of 80 columns."""

import json
import re
from pathlib import Path

from events.database import Database
from events.job import cancel, retry, rfc3339
from events.store import Store
from tests.histories import failing, new, reporting, starting
from tests.process.test_plain import OWN_COLOURS, environment, in_pipe, on_terminal, run
from tests.service_fixture import user_of

LONG_ID = "vm-tokyo-3.internal.example.com-28892-6c5950a0"


async def history(store: Store, database: Database) -> tuple[str, str]:
    """Makes a job with requests, causes, and a user who has an account. Returns the ids of both."""
    user = await user_of(database, "hanako@example.com", "employee", "花子")
    job = await store.create(new(), actor=f"user:{user.id}", request_id="r-1")
    job = await store.append(job, starting(LONG_ID), actor=f"worker:{LONG_ID}")
    job = await store.append(job, reporting({"text": "あ" * 90}, LONG_ID), actor=f"worker:{LONG_ID}")
    job = await store.append(job, failing(LONG_ID), actor=f"worker:{LONG_ID}")
    job = await store.append(job, lambda job: cancel(job, reason="no longer needed"), actor="user:no-account")
    job = await store.append(job, retry, actor=f"user:{user.id}", request_id="r-2")
    return job.id, user.id


async def test_a_replay_in_a_pipe_names_request_cause_and_email_after_the_other_fields(
    store: Store, database: Database, tmp_path: Path
) -> None:
    job_id, user_id = await history(store, database)

    done = await run(in_pipe, environment(database, tmp_path), "audit", "replay", job_id)

    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert done.returncode == 0
    assert [line[7:] for line in lines] == [
        ["request r-1", "email hanako@example.com"], [], [], [], [f"cause {job_id}/4"], [],
        ["request r-2", f"cause {job_id}/6", "email hanako@example.com"],
    ]  # fmt: skip
    assert [line[2] for line in lines] == [
        f"user:{user_id}", *[f"worker:{LONG_ID}"] * 4, "user:no-account", f"user:{user_id}",
    ]  # fmt: skip


async def test_a_replay_as_json_has_request_cause_and_email(store: Store, database: Database, tmp_path: Path) -> None:
    job_id, _ = await history(store, database)

    done = await run(in_pipe, environment(database, tmp_path), "audit", "replay", job_id, "--json")

    steps = [json.loads(line) for line in done.stdout.splitlines()]
    shown = [(step["event"]["requestId"], step["event"]["cause"], step["email"]) for step in steps]
    assert shown[0] == ("r-1", None, "hanako@example.com")
    assert shown[4:] == [(None, f"{job_id}/4", None), (None, None, None), ("r-2", f"{job_id}/6", "hanako@example.com")]


async def test_on_80_columns_each_event_begins_with_a_line_that_has_its_whole_time(
    store: Store, database: Database, tmp_path: Path
) -> None:
    job_id, user_id = await history(store, database)
    times = [rfc3339(event.at) for event in await store.history.events(job_id)]

    status, sent = await run(on_terminal, environment(database, tmp_path), "audit", "replay", job_id)

    lines = OWN_COLOURS.sub("", sent).splitlines()
    heads = [line for line in lines if re.match(r"\d+  ", line)]
    assert status == 0
    assert [head.split()[:2] for head in heads] == [[str(seq), time] for seq, time in enumerate(times, start=1)]
    assert max(map(len, lines)) <= 80
    flat = "".join(line.strip() for line in lines)
    assert f"by user:{user_id} (hanako@example.com)".replace(" ", "") in flat.replace(" ", "")
    assert f"cause {job_id}/6" in sent
    assert "request r-2" in sent
