"""A witness as a process: over HTTP, without PostgreSQL and Redis."""

import asyncio
import stat
from pathlib import Path

import pytest
from starlette.types import Message

from projections.proof.cosignature import read_witness
from projections.proof.signed_note import read_note
from service.checkpoints.witness import Witness
from service.checkpoints.witness_state import WitnessState, origin_hash
from service.process import witness as process_witness
from service.process.witness import witness_app
from tests.checkpoints.kill_witness import Judge, kill_witness
from tests.checkpoints.logs import ORIGIN, SIGNER, Log
from tests.checkpoints.witnesses import WitnessFiles, ask, is_cosigned, new_witness, running_witness
from tests.commands import run_command

LOG, FORK = Log(600), Log(600, face="other", same=20)


async def test_a_witness_cosigns_over_http_and_publishes_the_newest_checkpoint(tmp_path: Path) -> None:
    files = new_witness(tmp_path)
    async with running_witness(files) as (_, client):
        answer = await ask(client, LOG, 0, 30)
        refused = await ask(client, FORK, 30, 60)
        late = await ask(client, FORK, 0, 60)
        published = await client.get(f"/{origin_hash(ORIGIN)}/checkpoint")

        assert is_cosigned(answer, LOG, 30, files)
        assert refused.status_code == 422
        assert (late.status_code, late.text, late.headers["content-type"]) == (409, "30\n", "text/x.tlog.size")
        assert read_note(published.content).text == read_note(LOG.note(30).encode()).text
        assert (await client.get(f"/{origin_hash('other')}/checkpoint")).status_code == 404
        assert (await client.get("/add-checkpoint")).status_code == 405
        assert (await client.post("/add-checkpoint", content=b"x" * 70_000)).status_code == 413
        assert (await client.post("/add-checkpoint", content=b"x")).status_code == 400
        assert (await client.get("/healthz")).status_code == 200


async def test_a_restarted_witness_remembers_and_refuses_the_other_face(tmp_path: Path) -> None:
    files = new_witness(tmp_path)
    async with running_witness(files) as (process, client):
        assert is_cosigned(await ask(client, LOG, 0, 30), LOG, 30, files)
        await process.kill()

    async with running_witness(files) as (_, client):
        assert (await ask(client, FORK, 0, 30)).text == "30\n"
        assert (await ask(client, FORK, 30, 60)).status_code == 422
        assert is_cosigned(await ask(client, LOG, 30, 60), LOG, 60, files)


async def test_requests_that_never_end_do_not_keep_a_witness_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_witness, "ARRIVES_WITHIN", 0.05)
    files, never = new_witness(tmp_path), asyncio.Event()
    state = WitnessState.open(files.state, files.cosigner.witness)
    app = witness_app(Witness(files.cosigner, [SIGNER.verifier], state))

    async def receive() -> Message:
        await never.wait()
        raise AssertionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/add-checkpoint", "headers": [], "query_string": b""}
    await asyncio.wait_for(app(scope, receive, send), 20)
    state.close()

    assert sent[0]["status"] == 408


@pytest.mark.timeout(300)  # seconds; each start takes about one
async def test_a_witness_that_is_killed_forgets_nothing_that_it_has_cosigned(tmp_path: Path) -> None:
    """`python -m tests.checkpoints.kill_witness --kills 200` kills it more often."""
    judge = await kill_witness(tmp_path / "home", kills=4, seed=1)

    assert judge.faults == []
    assert judge.cosigned


def test_the_judge_sees_two_histories_and_a_loss_of_memory() -> None:
    judge = Judge((LOG, FORK), cosigned=[(30, LOG.root(30)), (60, FORK.root(60))])

    judge.judge_history()
    judge.judge_restart(30)

    assert len(judge.faults) == 2


async def test_init_makes_the_key_and_the_state_of_a_new_witness(tmp_path: Path) -> None:
    files = WitnessFiles(tmp_path)
    arguments = ["audit", "witness", "--init", "w.example", *_files(files)]

    status, out, errors = await run_command(*arguments, environment={})
    again = await run_command(*arguments, environment={})

    assert (status, errors) == (0, "")
    assert read_witness(out.strip()).name == "w.example"
    assert str(files.cosigner.witness) == out.strip()
    assert stat.S_IMODE(files.key_file.stat().st_mode) == 0o600
    assert again[0] == 2
    assert "exists already" in again[2]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"--log": "x"}, "--log: it must be a verifier key"),
        ({"--log": None}, "--log is required"),
        ({"--key-file": "/nowhere"}, "--key-file: /nowhere cannot be read"),
        ({"--key-file": "LOG"}, "is not the key of a witness"),
        ({"--state": "/nowhere"}, "--state: /nowhere is not the state of a witness"),
        ({"--listen": "8080"}, "--listen: it must be a host and a port"),
        ({"--listen": "192.0.2.1:0"}, "--listen: cannot listen"),
    ],
)
async def test_a_wrong_option_is_one_line(tmp_path: Path, change: dict[str, str | None], told: str) -> None:
    files = new_witness(tmp_path)
    (tmp_path / "log-key").write_text(SIGNER.to_text())
    options: dict[str, str | None] = {"--log": str(SIGNER.verifier), "--listen": "127.0.0.1:0"}
    options |= dict(zip(*[iter(_files(files))] * 2, strict=True)) | change
    options = {name: str(tmp_path / "log-key") if value == "LOG" else value for name, value in options.items()}
    arguments = [part for name, value in options.items() if value is not None for part in (name, value)]

    status, out, errors = await run_command("audit", "witness", *arguments, environment={})

    assert (status, out) == (2, "")
    assert errors.startswith(f"rireki: {told}") or told in errors
    assert errors.count("\n") == 1
    assert "PRIVATE" not in errors


def _files(files: WitnessFiles) -> list[str]:
    return ["--key-file", str(files.key_file), "--state", str(files.state)]
