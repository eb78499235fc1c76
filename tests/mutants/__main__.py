"""Breaks a copy of the code, one break at a time, and runs the tests that must notice.

    python -m tests.mutants [name …] [--list]

It prints a Markdown table, and prints to standard error how each test failed. It exits with 1 if a
break was not caught.

The tests must first pass on the unbroken copy. A break counts as caught if a test fails or hangs. It
does not count if the tests cannot be collected, or if they do not run on the copy: that is an error.
All runs share one PostgreSQL and one Redis (those of DATABASE_URL and REDIS_URL, else servers that
this command starts). Ending these servers also removes what a killed run has left behind.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.breaks import BREAKS, Break
from tests.servers import postgres_server, redis_server

ROOT = Path(__file__).resolve().parent.parent.parent
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", ".rireki", ".hypothesis", ".*_cache", "__pycache__", "node_modules")

OF_A_TEST = 100  # seconds after which a test counts as hanging
OF_A_RUN = 900  # seconds after which a whole run of the tests counts as hanging
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - (.*))?$", re.MULTILINE)

HANGS = -1
PASSED, SOME_FAILED = 0, 1  # exit statuses of pytest; every other status means that the tests could not be run


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run of the tests.

    `status` is the exit status of pytest, or `HANGS`. `first` is the first test that failed, and
    `reason` is its message.
    """

    status: int
    first: str
    reason: str
    seconds: float
    output: str


class Copy:
    """A copy of the whole project, in which breaks are made and tests are run."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        # Python writes no compiled files here. It would recognise a changed source only by a time
        # in whole seconds, and two breaks can follow within one second.
        self._environment = environment | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}

    @contextmanager
    def broken(self, by: Break) -> Iterator[None]:
        """Makes the break in the copy, and undoes it at the end of the block.

        Raises `LookupError` if the old text of an edit is not in its file exactly once.
        """
        originals = {edit.file: (self.folder / edit.file).read_text() for edit in by.edits}
        texts = dict(originals)
        for edit in by.edits:
            found = texts[edit.file].count(edit.old)
            if found != 1:
                raise LookupError(f"{by.name}: {edit.file} must have this text once, but has it {found} times: {edit.old!r}")
            texts[edit.file] = texts[edit.file].replace(edit.old, edit.new)
        try:
            self._write(texts)
            yield
        finally:
            self._write(originals)

    def test(self, tests: Sequence[str]) -> Run:
        began = time.monotonic()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-rfE", "--tb=no", "--no-header", "--timeout"),
                *(str(OF_A_TEST), "-p", "no:cacheprovider", "-p", "tests.mutants.only_the_copy", *tests),
            ],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=OF_A_RUN)
            status = process.returncode
        except subprocess.TimeoutExpired:
            status = HANGS
            output = "it hangs"
        finally:
            _end(process)
        found = FAILED.search(output)
        first, reason = (found[1].partition("::")[2], found[2] or "") if found else ("", "")
        return Run(status, first, reason, time.monotonic() - began, output)

    def _write(self, texts: dict[str, str]) -> None:
        for file, text in texts.items():
            (self.folder / file).write_text(text)


def main() -> int:
    arguments = _arguments()
    breaks = [each for each in BREAKS if not arguments.names or each.name in arguments.names]
    if unknown := set(arguments.names) - {each.name for each in breaks}:
        print(f"there are no breaks with these names: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    if arguments.list:
        for each in breaks:
            print(f"{each.name}: {each.why}")
        return 0
    # SIGTERM raises SystemExit, so that the servers are stopped, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with (
        tempfile.TemporaryDirectory(prefix="rireki-mutants-") as folder,
        postgres_server() as postgres,
        redis_server() as redis,
    ):
        copy = Copy(Path(folder) / "tree", os.environ | {"DATABASE_URL": postgres, "REDIS_URL": redis})
        shutil.copytree(ROOT, copy.folder, ignore=LEFT_OUT)
        return _break_and_test(copy, breaks)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="only these breaks")
    parser.add_argument("--list", action="store_true", help="list the breaks, and what each would do in production")
    return parser.parse_args()


def _break_and_test(copy: Copy, breaks: Sequence[Break]) -> int:
    whole = copy.test(sorted({test for each in breaks for test in each.tests}))
    if whole.status != PASSED:
        print(f"the tests fail on the unbroken code: {whole.first}\n{whole.output[-4000:]}", file=sys.stderr)
        return 1
    print("| break | caught by | seconds |\n| --- | --- | --- |", flush=True)
    caught = [_is_caught(copy, each) for each in breaks]
    print(f"\n{sum(caught)} of {len(caught)} caught", flush=True)
    return 0 if all(caught) else 1


def _is_caught(copy: Copy, each: Break) -> bool:
    with copy.broken(each):
        run = copy.test(each.tests)
    match run.status:
        case 0:
            by = "**nothing: it survives**"
        case 1:
            by = f"`{run.first}`"
        case -1:
            by = f"`{each.tests[0].partition('::')[2]}`, which hangs"
        case status:
            by = f"**nothing: the tests could not be run** (pytest's status {status})"
            print(run.output[-4000:], file=sys.stderr)
    print(f"| {each.name} | {by} | {run.seconds:.0f} |", flush=True)
    print(f"{each.name}: {run.reason}", file=sys.stderr, flush=True)
    return run.status in (SOME_FAILED, HANGS)


def _end(process: subprocess.Popen[str]) -> None:
    """Kills a process and all processes that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
