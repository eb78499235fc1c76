"""Copies of checkpoints in a file that is only appended to."""

import asyncio
import os
from pathlib import Path

import pytest

from projections.proof.notes import notes_in
from projections.proof.signed_note import Signer
from service.checkpoints.copies import CheckpointCopies, CopyDiffers, CopyFailed, open_copies
from tests.checkpoints.logs import ORIGIN, Log
from workers.outgoing_http import Outgoing

LOG = Log()


def copies_at(path: Path) -> CheckpointCopies:
    return open_copies(f"file://{path}", Outgoing())


def contents(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


async def test_copies_follow_one_another_with_an_empty_line_between(path: Path) -> None:
    copies = copies_at(path)

    assert await copies.newest(ORIGIN) is None
    for size in (1, 2, 300):
        await copies.add(ORIGIN, size, LOG.note(size))

    assert contents(path).decode() == "\n".join(LOG.note(size) for size in (1, 2, 300))
    assert await copies.newest(ORIGIN) == LOG.note(300)


async def test_another_process_reads_the_newest_copy_of_each_log(path: Path) -> None:
    other = Log(signer=Signer("other.example/log", bytes(32)))
    await copies_at(path).add(ORIGIN, 7, LOG.note(7))
    await copies_at(path).add("other.example/log", 9, other.note(9))

    assert await copies_at(path).newest(ORIGIN) == LOG.note(7)
    assert await copies_at(path).newest("other.example/log") == other.note(9)
    assert await copies_at(path).newest("a third") is None


async def test_the_same_note_is_not_written_twice(path: Path) -> None:
    for _ in range(2):
        await copies_at(path).add(ORIGIN, 7, LOG.note(7))

    assert contents(path).decode() == LOG.note(7)


async def test_another_note_of_the_same_size_is_refused(path: Path) -> None:
    await copies_at(path).add(ORIGIN, 7, LOG.note(7))

    with pytest.raises(CopyDiffers) as refused:
        await copies_at(path).add(ORIGIN, 7, Log(face="other").note(7))

    assert refused.value.found == LOG.note(7)
    assert contents(path).decode() == LOG.note(7)


async def test_a_write_that_was_cut_off_anywhere_hides_no_copy(path: Path) -> None:
    """The file keeps the piece that was cut off, and the whole note follows it."""
    whole, torn = LOG.note(7), LOG.note(11)
    cuts = range(len("\n" + torn) + 1)
    for cut in cuts:
        write(path, (whole + ("\n" + torn)[:cut]).encode())

        before = await copies_at(path).newest(ORIGIN)
        await copies_at(path).add(ORIGIN, 11, torn)

        assert before in (whole, torn)
        assert (before == torn) == (cut == cuts[-1])
        assert await copies_at(path).newest(ORIGIN) == torn
        assert list(notes_in([contents(path)])) == [whole.encode(), torn.encode()]


async def test_blocks_of_zeros_after_a_power_cut_hide_no_copy(path: Path) -> None:
    write(path, LOG.note(7).encode() + bytes(5_000))

    await copies_at(path).add(ORIGIN, 11, LOG.note(11))

    assert list(notes_in([contents(path)])) == [LOG.note(7).encode(), LOG.note(11).encode()]


async def test_the_newest_copy_is_found_at_the_end_of_a_large_file(path: Path) -> None:
    other = Log(signer=Signer("other.example/log", bytes(32)))
    write(path, "\n".join([LOG.note(5), *[other.note(size) for size in range(1_000)], LOG.note(9)]).encode())
    assert await copies_at(path).newest(ORIGIN) == LOG.note(9)

    write(path, "\n".join([LOG.note(5), *[other.note(size) for size in range(1_000)]]).encode())
    assert await copies_at(path).newest(ORIGIN) == LOG.note(5)


async def test_many_processes_append_at_once(path: Path) -> None:
    await asyncio.gather(*(copies_at(path).add(ORIGIN, size, LOG.note(size)) for size in range(1, 40)))

    assert sorted(notes_in([contents(path)])) == sorted(LOG.note(size).encode() for size in range(1, 40))


async def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    copies = copies_at(folder / "checkpoints")
    folder.rmdir()

    with pytest.raises(CopyFailed, match=r"^The file of copies cannot be used: No such file or directory\.$"):
        await copies.add(ORIGIN, 1, LOG.note(1))


async def test_a_disk_that_does_not_answer_holds_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO without a reader stands for the disk: opening it never returns."""
    monkeypatch.setattr("service.checkpoints.copies_in_file.ENDS_WITHIN", 0.1)
    os.mkfifo(path)
    copies = copies_at(path)

    with pytest.raises(CopyFailed, match="has not answered"):
        await copies.newest(ORIGIN)
    with pytest.raises(CopyFailed, match="still has not answered"):
        await copies.newest(ORIGIN)

    os.close(os.open(path, os.O_RDWR))  # lets the thread go on, and end
    await copies.close()
