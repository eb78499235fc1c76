"""The whole chain with real processes: PostgreSQL, a sealer that signs, and a witness."""

import signal
from pathlib import Path

import httpx2 as httpx

from events.database import Database
from events.store import Store
from projections.proof.cosignature import cosigned_at, new_cosigner
from projections.proof.signed_note import Signer, read_note, verified_by
from service.readiness import late_witnesses
from tests.checkpoints.signed_logs import published_note
from tests.checkpoints.signers import SignedLog
from tests.checkpoints.witnesses import WitnessFiles, new_witness, running_witness
from tests.histories import new, until
from tests.process.test_processes import Rireki
from tests.process.test_sealer import two_roles

__all__ = ["two_roles"]

SIGNED_LONG_AGO = """
insert into checkpoints (origin, size, root, note, signed_at) values ($1, 4, sha256(''), '', now() - interval '10 minutes')
"""


async def is_cosigned(log: SignedLog, files: WitnessFiles, size: int) -> bool:
    """Returns whether the published note is of this size and has the signatures of the log and of the witness."""
    async with log.database.raw() as connection:
        text = await published_note(connection, log.key.name)
    if text is None or f"\n{size}\n" not in text:
        return False
    note = read_note(text.encode())
    assert verified_by(note, [log.key.verifier])
    return cosigned_at(note, files.cosigner.witness) is not None


async def test_what_the_sealer_signs_is_cosigned_before_and_after_both_were_killed(
    log: SignedLog, store: Store, two_roles: tuple[str, str], tmp_path: Path
) -> None:
    files, listen = new_witness(tmp_path / "witness"), "127.0.0.1:0"
    for size in (1, 2):
        await store.create(new(), actor="user:x")
        async with running_witness(files, log.key.verifier, listen=listen) as (witness, http):
            url = str(http.base_url).rstrip("/")
            listen = url.removeprefix("http://")
            settings = {"AUDIT_SIGNING_KEY": log.key.to_text(), "AUDIT_WITNESSES": f"{files.cosigner.witness} {url}"}
            async with Rireki.running("seal", home=tmp_path, SEALER_DATABASE_URL=two_roles[1], **settings) as sealer:
                await until(lambda: is_cosigned(log, files, size), seconds=60)  # noqa: B023 (it is awaited here)
                sealer.send(signal.SIGKILL)
            await witness.kill()


async def test_a_witness_that_is_away_holds_up_no_signature_and_is_seen(log: SignedLog, store: Store, tmp_path: Path) -> None:
    silent = new_cosigner("silent").witness
    settings = {"AUDIT_SIGNING_KEY": log.key.to_text(), "AUDIT_WITNESSES": f"{silent} http://127.0.0.1:9"}
    settings |= {"DATABASE_URL": log.database.url, "JOB_WORKER_ENABLED": "false"}
    await store.create(new(), actor="user:x")
    running = Rireki.running("serve", home=tmp_path, **settings)
    async with running as process, httpx.AsyncClient(base_url=await process.address()) as client:
        await until(lambda: _lags(client), seconds=60)
        await until(lambda: _logged(tmp_path / "serve.log", "a witness has not cosigned"), seconds=60)

    assert [each.size for each in await log.signed()] == [1]


async def _logged(file: Path, line: str) -> bool:
    return line in file.read_text()  # noqa: ASYNC240 (the file is short)


async def _lags(client: httpx.AsyncClient) -> bool:
    lines = (await client.get("/metrics")).text.splitlines()
    return any(line.startswith('rireki_witness_lag_seconds{witness="silent"} ') and not line.endswith(" 0.0") for line in lines)


async def test_a_late_witness_is_a_warning(database: Database, log: SignedLog) -> None:
    witnesses = [new_cosigner("silent").witness]
    assert await late_witnesses(database, witnesses) == []
    async with database.raw() as connection:
        await connection.execute(SIGNED_LONG_AGO, log.key.name)

    (warning,) = await late_witnesses(database, witnesses)

    assert warning.startswith("the witness silent has not cosigned the checkpoints of the last 6")
    assert await late_witnesses(database, []) == []


def test_the_log_and_its_witness_need_different_keys() -> None:
    """A text that the log's key has signed is not valid as a text of the witness, and the other way round."""
    cosigner = new_cosigner("both")
    signer = Signer("both", cosigner.secret)

    assert signer.verifier.id != cosigner.witness.id
