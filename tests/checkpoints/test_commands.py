"""`rireki audit keygen`, `key`, `checkpoint` and `new-log`."""

import json
from pathlib import Path

import pytest

from events.database import Database
from events.store import Store
from projections import checkpoints
from projections.proof.checkpoint import Checkpoint, read_checkpoint
from projections.proof.signed_note import open_note, read_signer, read_verifier, sign
from projections.proof.succession import ABANDONS, FOLLOWS, named_by
from service.checkpoints.copies_in_file import CopiesInFile
from tests.checkpoints.signers import SignedLog, copies_in
from tests.histories import new
from tests.process.test_start_faults import is_one_line, run

NOTHING_LISTENS = "postgresql://127.0.0.1:1/x"


async def test_keygen_prints_a_private_key_for_the_log_of_the_database(log: SignedLog, tmp_path: Path) -> None:
    status, told, complained = await run("audit", "keygen", home=tmp_path, DATABASE_URL=log.database.url)

    assert status == 0
    key = read_signer(told.removesuffix("\n"))
    assert key.name == log.key.name
    assert str(key.verifier) in complained


async def test_keygen_with_a_name_needs_no_database(tmp_path: Path) -> None:
    status, told, _ = await run(
        "audit", "keygen", "--name", "log.example.com", "--json", home=tmp_path, DATABASE_URL=NOTHING_LISTENS
    )

    document = json.loads(told)
    key = read_signer(document.pop("privateKey"))
    assert status == 0
    assert document == {"origin": "log.example.com", "verifierKey": str(key.verifier)}


async def test_keygen_refuses_a_name_that_no_key_may_have(tmp_path: Path) -> None:
    is_one_line(
        *await run("audit", "keygen", "--name", "a b", home=tmp_path), named="The name of a key", about="without spaces"
    )


async def test_key_prints_the_verifier_keys_the_newest_last(log: SignedLog, tmp_path: Path) -> None:
    older = await a_further_key(log, tmp_path)
    settings = {"AUDIT_SIGNING_KEY": f"{log.key.to_text()}\n{older}", "DATABASE_URL": NOTHING_LISTENS}

    assert (await run("audit", "key", home=tmp_path, **settings))[:2] == (
        0, f"{read_signer(older).verifier}\n{log.key.verifier}\n",
    )  # fmt: skip
    _, told, _ = await run("audit", "key", "--json", home=tmp_path, **settings)
    assert json.loads(told)["verifierKeys"][-1] == str(log.key.verifier)


async def a_further_key(log: SignedLog, home: Path) -> str:
    return (await run("audit", "keygen", home=home, DATABASE_URL=log.database.url))[1].strip()


async def test_key_without_any_key_says_which_variables_to_set(tmp_path: Path) -> None:
    is_one_line(*await run("audit", "key", home=tmp_path), named="no key is set", about="set AUDIT_VERIFIER_KEYS")


async def test_development_signs_with_a_key_of_its_own(database: Database, store: Store, tmp_path: Path) -> None:
    await store.create(new(), actor="user:x")
    settings = {"APP_ENV": "development", "DATABASE_URL": database.url}

    status, note, complained = await run("audit", "checkpoint", home=tmp_path, **settings)
    _, keys, _ = await run("audit", "key", home=tmp_path, **settings)

    assert (status, complained) == (0, "")
    assert read_checkpoint(open_note(note.encode(), [read_verifier(keys.strip())])).size == 1


async def test_checkpoint_seals_and_signs_and_copies_and_prints_the_note(log: SignedLog, store: Store, tmp_path: Path) -> None:
    await store.create(new(), actor="user:x")
    settings = {
        "DATABASE_URL": log.database.url,
        "AUDIT_SIGNING_KEY": log.key.to_text(),
        "AUDIT_CHECKPOINT_URL": log.file.as_uri(),
    }

    status, note, complained = await run("audit", "checkpoint", home=tmp_path, **settings)

    assert (status, complained) == (0, "")
    assert read_checkpoint(open_note(note.encode(), [log.key.verifier])).size == 1
    assert [each.size for each in copies_in(log.file)] == [1]
    _, told, _ = await run("audit", "checkpoint", "--json", home=tmp_path, **settings)
    document = json.loads(told)
    assert (document["origin"], document["size"], document["note"]) == (log.key.name, 1, note)
    assert document["copiedAt"] >= document["signedAt"]


async def test_checkpoint_of_an_empty_log_says_so(log: SignedLog, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": log.database.url, "AUDIT_SIGNING_KEY": log.key.to_text()}

    status, told, complained = await run("audit", "checkpoint", home=tmp_path, **settings)

    assert (status, told) == (1, "")
    assert complained == "rireki: the log has no sealed events, so there is nothing to sign\n"


async def test_checkpoint_without_a_key_names_the_variable(database: Database, tmp_path: Path) -> None:
    ended = await run("audit", "checkpoint", home=tmp_path, DATABASE_URL=database.url)

    is_one_line(*ended, named="no checkpoint of the log is signed, because no key is set", about="AUDIT_SIGNING_KEY")


@pytest.mark.parametrize("command", [("serve",), ("seal",), ("audit", "checkpoint")], ids=" ".join)
async def test_a_key_for_another_log_is_one_line_and_status_2(log: SignedLog, tmp_path: Path, command: tuple[str, ...]) -> None:
    _, other, _ = await run("audit", "keygen", "--name", "another", home=tmp_path)

    ended = await run(*command, home=tmp_path, DATABASE_URL=log.database.url, AUDIT_SIGNING_KEY=other.strip())

    is_one_line(*ended, named="AUDIT_SIGNING_KEY: the key is for the log another", about=log.key.name)


async def test_new_log_goes_on_where_an_inconsistent_log_has_stopped(log: SignedLog, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": log.database.url, "AUDIT_CHECKPOINT_URL": log.file.as_uri()}
    await log.grow()
    async with log.signer() as signer:
        signed = await signer.sign()
    assert signed is not None
    ahead = Checkpoint(log.key.name, 9, b"\x11" * 32)
    await CopiesInFile(log.file).add(ahead.origin, ahead.size, sign(ahead.to_text(), [log.key]).to_bytes().decode())
    key = {"AUDIT_SIGNING_KEY": log.key.to_text()}
    status, _, complained = await run("audit", "checkpoint", home=tmp_path, **settings, **key)
    assert status == 1
    assert "does not extend the checkpoint of size 9" in complained
    assert complained.count("\n") == 1

    status, told, _ = await run(
        "audit", "new-log", "--reason", "restored from the backup of Monday", "--json", home=tmp_path, **settings
    )

    document = json.loads(told)
    origin = document["origin"]
    assert status == 0
    assert (document["follows"]["size"], document["abandons"]["size"]) == (4, 9)
    assert origin.startswith("rireki/")
    _, key_text, _ = await run("audit", "keygen", home=tmp_path, **settings)
    status, note, complained = await run("audit", "checkpoint", home=tmp_path, **settings, AUDIT_SIGNING_KEY=key_text)
    assert (status, complained) == (0, "")
    first = read_checkpoint(open_note(note.encode(), [read_signer(key_text.strip()).verifier]))
    assert (first.origin, named_by(first, FOLLOWS), named_by(first, ABANDONS)) == (origin, signed.checkpoint, ahead)
    assert (
        await log.database.fetch_val("select reason from log_origins where number = 2") == "restored from the backup of Monday"
    )


async def test_new_log_says_what_to_do_next(log: SignedLog, tmp_path: Path) -> None:
    status, told, _ = await run(
        "audit", "new-log", "--reason", "why not", "--origin", "log.example.com", home=tmp_path, DATABASE_URL=log.database.url
    )

    assert status == 0
    assert told.splitlines() == [
        "the log has a new name: log.example.com",
        f"it follows the log {log.key.name} from its checkpoint of size 0 on",
        "now make its key with `rireki audit keygen`, give it to the process that seals, and restart that process",
    ]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--reason", " "), "--reason must have 1 to 1000 visible characters"),
        (("--reason", "a\nb"), "--reason must have 1 to 1000 visible characters"),
        (("--reason", "x", "--origin", "a b"), "--origin must be a name"),
    ],
)
async def test_new_log_refuses_what_it_cannot_keep(
    log: SignedLog, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    ended = await run("audit", "new-log", *options, home=tmp_path, DATABASE_URL=log.database.url)

    is_one_line(*ended, named=named, about="characters")
    async with log.database.raw() as connection:
        assert await checkpoints.current_origin(connection) == log.key.name


async def test_new_log_is_refused_while_the_copies_cannot_be_read(log: SignedLog, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": log.database.url, "AUDIT_CHECKPOINT_URL": log.file.as_uri()}
    log.file.symlink_to(log.file)

    status, told, complained = await run("audit", "new-log", "--reason", "why not", home=tmp_path, **settings)

    assert (status, told) == (1, "")
    assert "cannot be read, and the new log must name the newest one" in complained
