"""`rireki audit proof`, `export --to`, and their verification offline, as a person runs them."""

import json
import os
from pathlib import Path

import orjson
import pytest

from events.database import Database
from events.job import Job
from events.store import Store
from projections.proof.signed_note import Verifier
from service.api.documents import event_json
from tests.commands import run_command
from tests.histories import completing, new, starting
from tests.signed_log import sign_log

OFFLINE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nowhere", "APP_ENV": "production"}


async def rireki(database: Database, *arguments: str) -> tuple[int, str, str]:
    return await run_command(*arguments, environment=os.environ | {"DATABASE_URL": database.url, "APP_ENV": "test"})


async def offline(*arguments: str) -> tuple[int, str, str]:
    return await run_command(*arguments, environment=os.environ | OFFLINE)


@pytest.fixture
async def job(store: Store) -> Job:
    job = await store.create(new(payload={"名": "秘密\x1b[31m"}), actor="user:x")
    for step in (starting(), completing()):
        job = await store.append(job, step, actor="worker:w1")
    return job


@pytest.fixture
async def verifier(database: Database, job: Job) -> Verifier:
    return await sign_log(database)


async def test_the_proof_of_an_event_is_verified_offline(
    database: Database, job: Job, verifier: Verifier, tmp_path: Path
) -> None:
    status, proof, errors = await rireki(database, "audit", "proof", job.id, "1")
    assert (status, errors) == (0, "")
    file = tmp_path / "event.tlog-proof"
    file.write_text(proof)

    status, text, _ = await offline("audit", "verify-proof", str(file), "--key", str(verifier))
    assert status == 0
    assert text.startswith("the signed log holds this event\n")
    assert f"job        {job.id}\n" in text
    assert "\x1b" not in text
    told = json.loads((await offline("audit", "verify-proof", str(file), "--key", str(verifier), "--json"))[1])
    assert (told["event"]["jobId"], told["event"]["position"], told["covers"]["size"]) == (job.id, 1, 3)
    assert json.loads(told["event"]["data"])["payload"] == {"名": "秘密\x1b[31m"}


async def test_a_false_proof_and_an_unreadable_one_have_their_status(
    database: Database, job: Job, verifier: Verifier, tmp_path: Path
) -> None:
    proof, file = (await rireki(database, "audit", "proof", job.id, "2"))[1], tmp_path / "event.tlog-proof"
    key = ("--key", str(verifier))
    for changed, status, told in (
        (proof.replace("index 1", "index 0"), 1, "MODIFIED: "),
        (proof.replace("\n3\n", "\n4\n"), 1, "BAD_SIGNATURE: "),
        ("hello", 2, "rireki: "),
    ):
        file.write_text(changed)
        ended = await offline("audit", "verify-proof", str(file), *key)
        assert ended[0] == status, changed
        assert (ended[1] + ended[2]).startswith(told)
    unread = await offline("audit", "verify-proof", str(tmp_path / "none"), *key)
    assert unread == (2, "", f"rireki: {tmp_path / 'none'} cannot be verified: No such file or directory\n")
    assert (await offline("audit", "verify-proof", str(file), "--key", "x"))[0] == 2
    assert (await offline("audit", "verify-proof", str(file)))[0] == 2


async def test_an_event_without_a_proof_is_one_line(database: Database, store: Store, job: Job, verifier: Verifier) -> None:
    later = await store.create(new(), actor="user:x")
    for job_id, seq in ((job.id, "9"), ("01990000-0000-7000-8000-000000000001", "1"), (later.id, "1")):
        status, out, errors = await rireki(database, "audit", "proof", job_id, seq)
        assert (status, out, errors.count("\n")) == (1, "", 1)
    assert "try again after the next checkpoint" in errors


async def test_an_exported_directory_is_verified_offline(
    database: Database, job: Job, verifier: Verifier, tmp_path: Path
) -> None:
    log = str(tmp_path / "log")
    status, out, errors = await rireki(database, "audit", "export", "--to", log)
    assert (status, errors) == (0, "")
    assert out.startswith(f"3 events of the log {verifier.name} were exported into ")

    assert (await offline("audit", "verify-export", log, "--key", str(verifier)))[:2] == (
        0, f"no findings: the checkpoint of {verifier.name} covers 3 events, 3 of them are in events.ndjson\n",
    )  # fmt: skip
    events = tmp_path / "log" / "events.ndjson"
    events.write_bytes(events.read_bytes().replace(b"worker:w1", b"worker:w2"))
    status, out, _ = await offline("audit", "verify-export", log, "--key", str(verifier), "--json")
    told = json.loads(out)
    assert (status, told["findingCounts"]) == (1, {"MODIFIED": 2})
    assert told["findings"][0]["position"] == 2
    (tmp_path / "log" / "checkpoint").unlink()
    assert (await offline("audit", "verify-export", log, "--key", str(verifier)))[0] == 2


async def test_an_export_into_a_used_directory_is_one_line(database: Database, verifier: Verifier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    status, out, errors = await rireki(database, "audit", "export", "--to", str(tmp_path))

    assert (status, out, errors.count("\n")) == (1, "", 1)
    assert "choose an empty directory" in errors


async def test_an_export_to_standard_output_has_every_event_as_the_api_shows_it(
    database: Database, store: Store, job: Job, verifier: Verifier
) -> None:
    status, out, errors = await rireki(database, "audit", "export")

    assert (status, errors) == (0, "")
    assert "\x1b" not in out
    history = await store.history.events(job.id)
    assert [orjson.loads(line) for line in out.splitlines()] == [event_json(each, with_stack=True) for each in history]
    assert [orjson.loads(line) for line in (await rireki(database, "audit", "export", "--after", "2"))[1].splitlines()] == [
        event_json(history[2], with_stack=True)
    ]
