"""Data are printed as plain text: without control characters, line breaks or markup."""

import asyncio
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata
from datetime import timedelta
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.database import Database
from events.job import JobError, cancel, fail
from events.store import Store
from service.commands.plain_text import plain, visible
from tests.histories import new, reporting, starting

HOSTILE = (
    "[/oops] [bold red]x[/] \x1b[31mred\x1b]0;title\x07\r\nforged\tline\x85\x9b2J\x7f\u2028\u2029"
    "\u202eevil\u2066\u200b\u200d\ufeff\ufe0f\u3164\U000e0041 :smile: \\n 部屋　😀"
)
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
OWN_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ROOT = Path(__file__).parents[2]
RETRY = timedelta(0)


def hidden(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in HIDDEN or char in "\ufe0f\u3164"}


@given(st.text(st.characters(exclude_categories=[]) | st.sampled_from(HOSTILE + "\\ux1bn")))
def test_every_character_is_shown_and_different_texts_look_different(text: str) -> None:
    shown = plain(text)

    assert hidden(shown) == hidden(visible(text)) == set()
    assert unescaped(shown) == text
    shown.encode()


def unescaped(shown: str) -> str:
    names = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
    escape = re.compile(r"\\(?:([nrt\\])|x(..)|u(.{4})|U(.{8}))")
    return escape.sub(lambda found: names.get(found[1]) or chr(int(found[2] or found[3] or found[4], 16)), shown)


@pytest.mark.parametrize("text", ["", "株式会社サンプル　部屋", "Ελληνικά ½ 😀 [bold] {x}"])
def test_visible_characters_are_printed_as_they_are(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("\u202e\u2066\u200b\u2028", r"\u202e\u2066\u200b\u2028"),
        ("\ud800\udcff", r"\ud800\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("a\u00a0b\u2003c", r"a\xa0b\u2003c"),
        (r"C:\new", r"C:\\new"),
    ],
)
def test_an_invisible_character_is_printed_as_its_number(text: str, shown: str) -> None:
    assert plain(text) == shown


async def hostile_job(store: Store) -> str:
    job = await store.create(new(f"type {HOSTILE}", payload={HOSTILE: HOSTILE}), actor=f"user:{HOSTILE}")
    worker = f"w {HOSTILE}"
    job = await store.append(job, starting(worker), actor=f"worker:{worker}")
    job = await store.append(job, reporting({"at": HOSTILE}, worker), actor=f"worker:{worker}")
    error = JobError(HOSTILE, HOSTILE, HOSTILE)
    job = await store.append(
        job, lambda job: fail(job, attempt=1, worker=worker, error=error, retry_in=RETRY), actor=f"worker:{worker}"
    )
    job = await store.append(job, lambda job: cancel(job, reason=HOSTILE), actor="user:x")
    return job.id


def environment(database: Database, tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "LC_ALL", "PYTHONUTF8")}
    return {**kept, "APP_ENV": "production", "DATABASE_URL": database.url, "JWT_SECRET": "x" * 40, "RIREKI_HOME": str(tmp_path),
            "REDIS_URL": "redis://127.0.0.1:9/0", **more}  # fmt: skip


def in_pipe(variables: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "service.cli", *arguments]
    return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, timeout=60, check=False)


def on_terminal(variables: dict[str, str], *arguments: str, columns: int = 80) -> tuple[int, str]:
    """Runs a command on a terminal. Returns its exit status and everything that it printed."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "service.cli", *arguments]
    process = subprocess.Popen(command, env=variables | {"TERM": "xterm"}, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    sent = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            piece = b""
        if not piece:
            break
        sent += piece
    os.close(ours)
    return process.wait(60), sent.decode()


async def run(function: Any, *arguments: Any, **more: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **more)


@pytest.mark.parametrize("language", ["C.UTF-8", "C", "xx_XX"])
async def test_a_history_is_replayed_in_a_pipe_with_one_line_for_each_event(
    store: Store, database: Database, tmp_path: Path, language: str
) -> None:
    job_id = await hostile_job(store)

    done = await run(in_pipe, environment(database, tmp_path, LANG=language), "audit", "replay", job_id)

    lines = done.stdout.decode().removesuffix("\n").split("\n")
    assert (done.returncode, done.stderr, len(lines)) == (0, b"", 6)
    assert [line.split("\t")[0] for line in lines] == ["1", "2", "3", "4", "5", "6"]
    assert [line.count("\t") for line in lines] == [6, 6, 6, 6, 7, 6]
    assert lines[4].endswith(f"\tcause {job_id}/4")
    assert hidden("".join(lines)) == {"\t"}
    assert "[/oops] [bold red]x[/]" in lines[1]


@pytest.mark.parametrize("columns", [80, 40, 200])
@pytest.mark.parametrize("language", ["C.UTF-8", "C"])
async def test_a_history_is_replayed_on_a_terminal(
    store: Store, database: Database, tmp_path: Path, columns: int, language: str
) -> None:
    job_id = await hostile_job(store)

    status, sent = await run(
        on_terminal, environment(database, tmp_path, LANG=language), "audit", "replay", job_id, columns=columns
    )

    assert status == 0, sent
    assert hidden(OWN_COLOURS.sub("", sent)) == {"\r", "\n"}
    flat = re.sub(r"[\s│]", "", OWN_COLOURS.sub("", sent))
    assert "[/oops]" in flat or columns < 80


async def test_json_output_keeps_every_value_and_escapes_invisible_characters(
    store: Store, database: Database, tmp_path: Path
) -> None:
    job_id = await hostile_job(store)

    done = await run(in_pipe, environment(database, tmp_path), "audit", "replay", job_id, "--json")

    text = done.stdout.decode()
    steps = [json.loads(line) for line in text.removesuffix("\n").split("\n")]
    assert done.returncode == 0
    assert hidden(text) == {"\n"}
    assert steps[0]["event"]["data"]["payload"] == {HOSTILE: HOSTILE}
    assert steps[3]["job"]["error"] == {"name": HOSTILE, "message": HOSTILE, "stack": HOSTILE}


async def test_a_verification_and_an_export_show_no_hidden_character(store: Store, database: Database, tmp_path: Path) -> None:
    await hostile_job(store)
    await database.execute("update jobs set type = :type", {"type": HOSTILE})

    verified = await run(in_pipe, environment(database, tmp_path), "audit", "verify")
    exported = await run(in_pipe, environment(database, tmp_path), "audit", "export")
    status, sent = await run(on_terminal, environment(database, tmp_path), "audit", "verify")

    assert (verified.returncode, exported.returncode, status) == (1, 0, 1)
    assert hidden(verified.stdout.decode()) == hidden(exported.stdout.decode()) == {"\n"}
    assert hidden(OWN_COLOURS.sub("", sent)) == {"\r", "\n"}
    assert len(exported.stdout.splitlines()) == 6


async def test_workers_with_odd_names_are_listed(database: Database, tmp_path: Path) -> None:
    # `last_seen` is in the future, so that the workers count as alive on a slow machine, too.
    add = (
        "insert into workers (id, host, pid, job_types, slots, stuck, last_seen)"
        " values (:id, 'h', 1, '{}', 3, '[]', now() + interval '1 hour')"
    )
    await database.execute(add, {"id": f"w1 {HOSTILE}"})
    await database.execute(add, {"id": "w2 \udcff".encode("utf-8", "replace").decode()})

    piped = await run(in_pipe, environment(database, tmp_path), "workers")
    status, sent = await run(on_terminal, environment(database, tmp_path), "workers")

    assert piped.returncode == status == 0
    assert len(piped.stdout.decode().removesuffix("\n").split("\n")) == 2
    assert hidden(piped.stdout.decode()) == {"\t", "\n"}
    assert hidden(OWN_COLOURS.sub("", sent)) == {"\r", "\n"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "replay", HOSTILE.replace("\0", "")),
        ("audit", "replay", "--until", HOSTILE, "00000000-0000-0000-0000-000000000000"),
        ("audit", HOSTILE),
        (HOSTILE,),
        (f"--{HOSTILE}",),
        ("pause", HOSTILE),
        ("pause", "summary_draft", "--for", HOSTILE),
        ("resume", HOSTILE),
        ("workers", HOSTILE),
    ],
)
async def test_an_error_about_an_argument_is_printed_in_one_line(
    database: Database, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = await run(in_pipe, environment(database, tmp_path), *arguments)

    assert done.returncode == 2
    assert done.stdout == b""
    assert hidden(done.stderr.decode()) == {"\n"}
    assert done.stderr.count(b"\n") == 1


async def test_an_error_about_a_user_is_printed_in_one_line(database: Database, tmp_path: Path) -> None:
    done = await run(in_pipe, environment(database, tmp_path), "users", "add", "--role", "admin", HOSTILE, "--password-stdin")

    assert done.returncode == 2
    assert hidden(done.stderr.decode()) == {"\n"}
    assert done.stderr.count(b"\n") == 1
