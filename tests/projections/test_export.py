"""An exported directory is a whole log that anybody can verify, and every change of it is found."""

import base64
import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from events.database import Connection, Database
from projections import export as export_module
from projections import export_directory as directory_module
from projections.export_directory import NothingSigned, UnfitDirectory, export_directory
from projections.proof.signed_note import Verifier, sign
from projections.proof.tiles import bundles_of, tiles_of
from projections.verify_export import CannotVerify, verify_export
from tests.histories import give_positions
from tests.projections.conftest import superuser
from tests.projections.histories_in_log import unguarded
from tests.projections.tiled_logs import append
from tests.proof import stranger
from tests.signed_log import erase, sign_checkpoint, sign_log, signer_of

__all__ = ["superuser"]

SIZE = 600


async def a_log(database: Database, superuser: Connection, name: str = "a", jobs: int = SIZE // 4) -> Verifier:
    await append(superuser, name, jobs=jobs)
    return await sign_log(database)


@pytest.fixture
async def exported(database: Database, superuser: Connection, tmp_path: Path) -> tuple[Path, Verifier]:
    verifier = await a_log(database, superuser)
    await export_directory(database, tmp_path / "log")
    return tmp_path / "log", verifier


def names_of(directory: Path, verifier: Verifier, **options: int) -> dict[str, int]:
    return dict(verify_export(directory, [verifier], **options).counts)


def lines_in(directory: Path) -> list[bytes]:
    return (directory / "events.ndjson").read_bytes().splitlines(keepends=True)


def test_an_exported_directory_is_verified(exported: tuple[Path, Verifier]) -> None:
    directory, verifier = exported

    verified = verify_export(directory, [verifier])

    assert (verified.findings, verified.events) == ([], SIZE)
    assert verified.checkpoint is not None
    assert verified.checkpoint.size == SIZE


def test_an_exported_directory_has_the_files_of_the_specification(exported: tuple[Path, Verifier]) -> None:
    directory, _ = exported
    files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}

    expected = {tile.path for tile in (*tiles_of(SIZE), *bundles_of(SIZE))}
    assert files == expected | {"checkpoint", "events.ndjson", ".export.json", ".lock"}


def test_the_second_implementation_verifies_an_exported_directory(exported: tuple[Path, Verifier]) -> None:
    directory, verifier = exported

    assert stranger.verified_directory(directory, str(verifier)) == SIZE


async def test_an_export_goes_on_from_an_earlier_one(
    database: Database, superuser: Connection, exported: tuple[Path, Verifier]
) -> None:
    directory, verifier = exported
    await a_log(database, superuser, "b", jobs=70)
    await export_directory(database, directory)

    assert names_of(directory, verifier) == {}
    assert len(lines_in(directory)) == SIZE + 280
    await export_directory(database, directory)
    assert names_of(directory, verifier) == {}


async def test_a_stopped_export_is_no_whole_one_and_goes_on(
    database: Database, superuser: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped after each number of files, also in an export that brings an earlier one up to date."""
    monkeypatch.setattr(export_module, "AT_ONCE", 256)
    monkeypatch.setattr(directory_module, "SYNC_EVERY", 0.0)
    verifier, write = await a_log(database, superuser), Path.write_bytes
    whole = tmp_path / "whole"
    await export_directory(database, whole)
    left = 0

    def write_some(path: Path, contents: bytes) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError("the process was stopped")
        return write(path, contents)

    monkeypatch.setattr(Path, "write_bytes", write_some)
    for until in range(7):
        directory, left = tmp_path / f"stopped after {until}", until
        with pytest.raises(OSError, match="stopped"):
            await export_directory(database, directory)
        with pytest.raises(CannotVerify, match="has not ended"):
            verify_export(directory, [verifier])
        left = 1_000
        await export_directory(database, directory)
        assert lines_in(directory) == lines_in(whole)

    assert names_of(directory, verifier) == {}
    await append(superuser, "b", jobs=200)
    await sign_log(database)
    left = 3
    with pytest.raises(OSError, match="stopped"):
        await export_directory(database, directory)
    with pytest.raises(CannotVerify, match="has not ended"):
        verify_export(directory, [verifier])
    left = 1_000
    await export_directory(database, directory)
    assert names_of(directory, verifier) == {}


async def test_lines_that_a_killed_export_has_left_are_cut(database: Database, exported: tuple[Path, Verifier]) -> None:
    directory, verifier = exported
    (directory / "checkpoint").unlink()
    with (directory / "events.ndjson").open("ab") as events:
        events.write(b'{"jobId":"0')

    await export_directory(database, directory)

    assert names_of(directory, verifier) == {}


async def test_after_limits_the_events_and_not_the_tree(database: Database, superuser: Connection, tmp_path: Path) -> None:
    verifier = await a_log(database, superuser)

    await export_directory(database, tmp_path / "log", after=300)

    verified = verify_export(tmp_path / "log", [verifier], after=300)
    assert (verified.findings, verified.events) == ([], 300)
    assert names_of(tmp_path / "log", verifier) == {"MISSING": 2}
    with pytest.raises(UnfitDirectory, match="--after 300"):
        await export_directory(database, tmp_path / "log")


async def test_events_beyond_the_checkpoint_are_left_out(database: Database, superuser: Connection, tmp_path: Path) -> None:
    await append(superuser, "a", jobs=SIZE // 4)
    await give_positions(database)
    verifier = await sign_checkpoint(superuser, 500)

    await export_directory(database, tmp_path / "log")

    verified = verify_export(tmp_path / "log", [verifier])
    assert (verified.findings, verified.events) == ([], 500)


async def test_a_log_without_a_checkpoint_is_not_exported(database: Database, superuser: Connection, tmp_path: Path) -> None:
    await append(superuser, "a", jobs=1)
    await give_positions(database)

    with pytest.raises(NothingSigned):
        await export_directory(database, tmp_path / "log")


async def test_a_directory_that_holds_something_else_is_left_alone(
    database: Database, superuser: Connection, tmp_path: Path, exported: tuple[Path, Verifier]
) -> None:
    directory, _ = exported
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(UnfitDirectory, match="not empty"):
        await export_directory(database, tmp_path / "other")
    query = (
        "insert into log_origins (number, origin, reason, old_origin, old_size, old_root)"
        " select 2, 'rireki/another', 'test', origin, 0, sha256('') from log_origins"
    )
    await superuser.execute(query)
    await a_log(database, superuser, "b", jobs=1)
    with pytest.raises(UnfitDirectory, match="this log is rireki/another"):
        await export_directory(database, directory)
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["file"]


async def test_a_log_that_does_not_go_on_from_the_directory_is_not_exported(
    database: Database, exported: tuple[Path, Verifier]
) -> None:
    directory, verifier = exported
    text = f"{verifier.name}\n599\n{base64.b64encode(bytes(32)).decode()}\n"
    (directory / "checkpoint").write_bytes(sign(text, [signer_of(verifier.name)]).to_bytes())

    with pytest.raises(UnfitDirectory, match="INCONSISTENT"):
        await export_directory(database, directory)


async def test_two_exports_do_not_write_one_directory(database: Database, exported: tuple[Path, Verifier]) -> None:
    directory, _ = exported
    with directory_module._locked(directory), pytest.raises(UnfitDirectory, match="another export"):
        await export_directory(database, directory)


# Tampering with a directory ----------------------------------------------------------------------------------------------------


def edit_line(number: int, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        lines = lines_in(directory)
        lines[number - 1 : number] = [edit(lines[number - 1])]
        (directory / "events.ndjson").write_bytes(b"".join(lines))

    return tamper


def edit_file(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        (directory / name).write_bytes(edit((directory / name).read_bytes()))

    return tamper


def remove(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def swap(one: int, other: int) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        lines = lines_in(directory)
        lines[one - 1], lines[other - 1] = lines[other - 1], lines[one - 1]
        (directory / "events.ndjson").write_bytes(b"".join(lines))

    return tamper


def without(first: int, last: int) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        lines = lines_in(directory)
        del lines[first - 1 : last]
        (directory / "events.ndjson").write_bytes(b"".join(lines))

    return tamper


def link(name: str) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        shutil.move(directory / name, directory / "elsewhere")
        (directory / name).symlink_to(directory / "elsewhere")

    return tamper


def pipe(name: str) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        (directory / name).unlink()
        os.mkfifo(directory / name)

    return tamper


def changed(byte: int) -> Callable[[bytes], bytes]:
    return lambda contents: contents[:byte] + bytes([contents[byte] ^ 1]) + contents[byte + 1 :]


TAMPERS: dict[str, tuple[Callable[[Path], None], dict[str, int]]] = {
    "data": (edit_line(7, lambda line: line.replace(b'"n"', b'"m"')), {"MODIFIED": 1}),
    "a space in the data": (edit_line(7, lambda line: line.replace(b'"data":{', b'"data":{ ')), {"MODIFIED": 1}),
    "actor": (edit_line(300, lambda line: line.replace(b"user:x", b"user:y")), {"MODIFIED": 1}),
    "time": (edit_line(300, lambda line: line.replace(b'"at":"2', b'"at":"1')), {"MODIFIED": 1}),
    "salt": (edit_line(300, lambda line: line.replace(b'"salt":"', b'"salt":"00')[:-1] + b"\n"), {"MODIFIED": 1}),
    "no JSON": (edit_line(9, lambda _: b"nonsense\n"), {"MODIFIED": 1}),
    "a key after data": (edit_line(9, lambda line: line[:-2] + b',"x":1}\n'), {"MODIFIED": 1}),
    "twice the data": (edit_line(9, lambda line: line[:-2] + b',"data":{"n":1}}\n'), {"MODIFIED": 1}),
    "one line less": (without(10, 10), {"MISSING": 1}),
    "some lines less": (without(10, 20), {"MISSING": 1}),
    "lines of two tiles less": (without(200, 300), {"MISSING": 2}),
    "the first line less": (without(1, 1), {"MISSING": 1}),
    "the tail less": (without(599, 600), {"TRUNCATED_TAIL": 1}),
    "all lines less": (without(1, 600), {"TRUNCATED_TAIL": 1}),
    "half a line": (edit_file("events.ndjson", lambda lines: lines[:-3]), {"MODIFIED": 1}),
    "a line twice": (edit_line(10, lambda line: line + line), {"REORDERED": 1}),
    "two lines swapped": (swap(10, 11), {"REORDERED": 1, "MISSING": 1}),
    "two far lines swapped": (swap(10, 500), {"REORDERED": 2}),
    "a line after the end": (
        edit_line(600, lambda line: line + line.replace(b'"position":600', b'"position":601')),
        {"INSERTED": 1},
    ),
    "nonsense after the end": (edit_file("events.ndjson", lambda lines: lines + b"{}\n"), {"INSERTED": 1}),
    "no events": (remove("events.ndjson"), {"MISSING": 1}),
    "an entry": (edit_file("tile/entries/001", changed(40)), {"MODIFIED": 2}),
    "a leaf": (edit_file("tile/0/001", changed(0)), {"MODIFIED": 1}),
    "an upper tile": (edit_file("tile/1/000.p/2", changed(0)), {"MODIFIED": 1}),
    "a short tile": (edit_file("tile/0/001", lambda contents: contents[:-1]), {"MODIFIED": 1}),
    "a long tile": (edit_file("tile/0/001", lambda contents: contents + b"x"), {"MODIFIED": 1}),
    "a long bundle": (edit_file("tile/entries/000", lambda contents: contents + b"x"), {"MODIFIED": 1}),
    "no tile": (remove("tile/0/000"), {"MISSING": 1}),
    "no bundle": (remove("tile/entries/000"), {"MISSING": 1}),
    "no upper tile": (remove("tile/1/000.p/2"), {"MISSING": 1}),
    "a linked tile": (link("tile/0/000"), {"MODIFIED": 1}),
    "a pipe": (pipe("tile/0/000"), {"MODIFIED": 1}),
    "linked events": (link("events.ndjson"), {"MISSING": 1}),
    "another size": (edit_file("checkpoint", lambda note: note.replace(b"\n600\n", b"\n599\n")), {"BAD_SIGNATURE": 1}),
}


@pytest.mark.parametrize("what", TAMPERS)
def test_every_change_of_a_directory_is_found(exported: tuple[Path, Verifier], what: str) -> None:
    directory, verifier = exported
    tamper, expected = TAMPERS[what]
    tamper(directory)

    assert names_of(directory, verifier) == expected


def test_tree_and_entries_changed_together_are_found(exported: tuple[Path, Verifier]) -> None:
    directory, verifier = exported
    edit_file("tile/entries/000", changed(40))(directory)
    contents = (directory / "tile/entries/000").read_bytes()
    leaves = b"".join(stranger.leaf(entry) for entry in stranger.bundle_entries(contents))
    (directory / "tile/0/000").write_bytes(leaves)

    assert names_of(directory, verifier) == {"MODIFIED": 1, "INCONSISTENT": 1}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("actor", '"\\ud800"'), ("requestId", '"\\udfff"'), ("redaction", '"\\ud800"'),
        ("at", '"99999999999999999999 microseconds since 2000"'), ("seq", "4294967296"), ("position", "1e400"),
    ],
)  # fmt: skip
def test_a_line_that_has_no_entry_is_a_finding(exported: tuple[Path, Verifier], key: str, value: str) -> None:
    directory, verifier = exported
    first, *others = lines_in(directory)
    line = b'{"%s":%s,' % (key.encode(), value.encode()) + re.sub(rb'"%s":("[^"]*"|null|\d+),' % key.encode(), b"", first[1:])
    (directory / "events.ndjson").write_bytes(b"".join([line, *others]))

    found = verify_export(directory, [verifier]).findings

    assert [(finding.name, finding.position) for finding in found] == [("MODIFIED", 1)]
    assert "cannot be read" in found[0].detail


def test_an_unfinished_or_foreign_directory_cannot_be_verified(exported: tuple[Path, Verifier], tmp_path: Path) -> None:
    directory, verifier = exported
    (directory / "checkpoint").write_bytes(b"hello\n")
    for wrong in (directory, tmp_path / "nowhere", directory / "events.ndjson"):
        with pytest.raises(CannotVerify):
            verify_export(wrong, [verifier])


def test_another_key_does_not_verify_a_directory(exported: tuple[Path, Verifier]) -> None:
    directory, verifier = exported

    assert names_of(directory, Verifier(verifier.name, bytes(32))) == {"BAD_SIGNATURE": 1}


# The database is not as it was sealed ------------------------------------------------------------------------------------------


PLACE = "(job_id, seq) = (select job_ids[{at}], seqs[{at}] from log_tiles where tile = {tile})"


async def test_an_event_that_was_changed_or_removed_after_sealing_is_found_in_its_export(
    database: Database, superuser: Connection, tmp_path: Path
) -> None:
    verifier = await a_log(database, superuser)
    async with unguarded(superuser):
        await superuser.execute(f"update job_events set actor = 'user:y' where {PLACE.format(at=5, tile=0)}")
        await superuser.execute(f"delete from job_events where {PLACE.format(at=9, tile=1)}")

    await export_directory(database, tmp_path / "log")

    verified = verify_export(tmp_path / "log", [verifier])
    found = {(each.name, each.position) for each in verified.findings}
    assert found == {("MODIFIED", 5), ("MISSING", 265)}


async def test_an_erased_event_is_told_and_is_no_fault(database: Database, superuser: Connection, tmp_path: Path) -> None:
    verifier = await a_log(database, superuser)
    await erase(superuser, verifier, 3)

    await export_directory(database, tmp_path / "log")

    verified = verify_export(tmp_path / "log", [verifier])
    assert [(each.name, each.position) for each in verified.findings] == [("REDACTED", 3)]
    assert verified.faults == 0
    assert stranger.verified_directory(tmp_path / "log", str(verifier)) == SIZE


async def test_an_erasure_whose_note_is_about_other_data_is_a_change(
    database: Database, superuser: Connection, tmp_path: Path
) -> None:
    verifier = await a_log(database, superuser)
    await erase(superuser, verifier, 3, named=b"{}")

    await export_directory(database, tmp_path / "log")

    assert names_of(tmp_path / "log", verifier) == {"MODIFIED": 1}


ODD_EVENT = """
insert into job_events (job_id, seq, attempt, type, data, salt, actor, cause, at)
values (md5('t')::uuid, $1::integer, 1, case $1::integer when 1 then 'queued' else 'progress' end,
    $2, decode(md5('s'), 'hex'), $3, $4, $5)
"""
LARGE = "123456789012345678901234567890"
ODD = ['{"a" : 1,\t"b":"\\u0041,\\"data\\":"}', '{"a":\n1}', '{"n":1e400}', f'{{"n":{LARGE}}}', '"\\ud800"', "[ ]"]


async def test_stored_text_is_exported_to_the_byte(database: Database, superuser: Connection, tmp_path: Path) -> None:
    for seq, text in enumerate(ODD, 1):
        at = datetime(2026, 1, seq, 9, 0, 0, seq, tzinfo=UTC)
        await superuser.execute(ODD_EVENT, seq, text, "user:" + ',"data":' * seq + "履歴" * 3000, "x" if seq > 1 else None, at)
    verifier = await sign_log(database)

    await export_directory(database, tmp_path / "log")

    assert names_of(tmp_path / "log", verifier) == {}
    lines = [json.loads(line) for line in lines_in(tmp_path / "log")]
    assert [line.get("dataText") for line in lines] == [None, ODD[1], None, None, None, None]
    assert b'"data":' + ODD[0].encode() + b"}\n" in lines_in(tmp_path / "log")[0]
    assert lines[0]["at"] == "2026-01-01T09:00:00.000001Z"
