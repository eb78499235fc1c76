"""The embedded PostgreSQL, used by real processes that start, end, die, and run as root."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.embedded.postgres import EmbeddedError, EmbeddedPostgres

ROOT = os.geteuid() == 0
REPOSITORY = Path(__file__).parents[2]

# A program that uses the server in a process of its own, until its standard input ends.
USER = """
import sys
from pathlib import Path
from service.embedded.binaries import EmbeddedError
from service.embedded.postgres import EmbeddedPostgres
try:
    server = EmbeddedPostgres.start(Path(sys.argv[1]), _durable=False)
except EmbeddedError as error:
    sys.exit(str(error))
print(server.url(), flush=True)
sys.stdin.read()
server.close()
"""


def everybody_may_enter(folder: Path) -> bool:
    return all(step.stat().st_mode & 0o001 for step in (folder, *folder.parents))


class User:
    def __init__(self, home: Path, *, python: str = sys.executable, flags: tuple[str, ...] = (), **options: Any) -> None:
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [python, *flags, "-c", USER, str(home)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def url(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, self.complaint()
        return line

    def complaint(self) -> str:
        return self.process.communicate(timeout=60)[1].strip()

    def leave(self) -> None:
        assert (self.process.communicate(timeout=60)[1], self.process.returncode) == ("", 0)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder that does not exist yet. A server that still runs at the end is killed."""
    home = tmp_path / "home"
    yield home
    for pid_file in home.glob("*/data/postmaster.pid"):
        end_server(int(pid_file.read_text().split()[0]))


def start(home: Path, *, version: int = 18) -> EmbeddedPostgres:
    return EmbeddedPostgres.start(home, version=version, _durable=False)


def ask(url: str, sql: str) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(run())


def server_pid(home: Path, *, version: int = 18) -> int:
    return int((home / f"postgresql-{version}" / "data" / "postmaster.pid").read_text().split()[0])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the condition did not become true in time"
        time.sleep(0.01)


def end_server(pid: int) -> None:
    """Kills this process with SIGKILL, but only if it is a PostgreSQL."""
    if is_running(pid) and b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes():
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid))


@pytest.mark.parametrize("version", [16, 18])
def test_a_new_home_gets_a_server_with_an_empty_database(home: Path, version: int) -> None:
    server = start(home, version=version)

    assert ask(server.url(), "select current_database()") == "rireki"
    assert ask(server.url(), "select current_setting('server_version_num')::int / 10000") == version
    assert ask(server.url(), "show server_encoding") == "UTF8"
    assert ask(server.url(), "show listen_addresses") == ""

    server.close()


def test_by_default_the_server_survives_a_power_cut(home: Path) -> None:
    server = EmbeddedPostgres.start(home)

    settings = [ask(server.url(), f"show {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")]

    assert settings == ["on", "on", "on"]
    server.close()


def test_a_path_with_spaces_and_japanese_works_under_a_locale_that_is_not_installed(tmp_path: Path) -> None:
    home = tmp_path / "わたしの 履歴 'q' 100%" / ".rireki"
    user = User(
        home, env={**os.environ, "LC_ALL": "ja_JP.UTF-8", "PGDATA": "/nowhere", "PGPORT": "1", "PGOPTIONS": "-c nonsense=1"}
    )

    assert ask(user.url(), "select 'ジョブ'") == "ジョブ"

    user.leave()


def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    server = start(tmp_path / ("long" * 30) / "home")

    assert ask(server.url(), "select 1") == 1

    server.close()


def test_processes_share_one_server_and_the_last_one_stops_it(home: Path) -> None:
    first, second = User(home), User(home)
    started = {ask(user.url(), "select pg_postmaster_start_time()") for user in (first, second)}
    pid = server_pid(home)

    first.leave()
    running_with_one_left = is_running(pid)
    second.leave()

    assert len(started) == 1
    assert running_with_one_left
    assert not is_running(pid)


def test_a_process_may_use_the_server_twice(home: Path) -> None:
    first = start(home)
    second = start(home)

    first.close()
    assert ask(second.url(), "select 1") == 1
    pid = server_pid(home)
    second.close()

    wait_until(lambda: not is_running(pid))


def test_a_server_may_be_closed_twice(home: Path) -> None:
    server = start(home)
    server.close()
    server.close()


def test_the_server_of_a_killed_process_is_used_and_stopped_by_the_next_process(home: Path) -> None:
    killed = User(home)
    killed.url()
    pid = server_pid(home)
    killed.kill()
    assert is_running(pid)

    server = start(home)

    assert server_pid(home) == pid
    assert ask(server.url(), "select 1") == 1
    server.close()
    wait_until(lambda: not is_running(pid))


def test_a_killed_server_recovers_what_was_committed(home: Path) -> None:
    user = User(home)
    ask(user.url(), "create table kept as select generate_series(1, 1000) n")
    user.kill()
    end_server(server_pid(home))

    server = start(home)

    assert ask(server.url(), "select count(*) from kept") == 1000
    server.close()


def test_a_server_that_dies_while_a_process_uses_it_can_be_started_again(home: Path) -> None:
    server = start(home)
    end_server(server_pid(home))

    server.ensure_running()

    assert ask(server.url(), "select 1") == 1
    server.close()


def test_a_process_killed_while_it_creates_the_data_folder_leaves_no_half_made_one(home: Path) -> None:
    user = User(home)
    wait_until(lambda: (home / "postgresql-18" / "data.new" / "PG_VERSION").exists())
    user.kill()

    server = start(home)

    assert ask(server.url(), "select 1") == 1
    assert not (home / "postgresql-18" / "data.new").exists()
    server.close()


def test_a_stale_pid_file_is_ignored_when_its_pid_belongs_to_another_program(home: Path) -> None:
    user = User(home)
    user.url()
    pid_file = home / "postgresql-18" / "data" / "postmaster.pid"
    user.kill()
    end_server(server_pid(home))
    # PostgreSQL takes any process of its own user for the old server, and refuses to start.
    other = subprocess.Popen(["sleep", "600"], user=pid_file.stat().st_uid if ROOT else None)
    pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().split()[0], str(other.pid), 1))

    server = start(home)

    assert ask(server.url(), "select 1") == 1
    server.close()
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize("garbage", ["", "garbage", "-1\n\n\n", "\x00\xff\n" * 20])
def test_a_pid_file_with_garbage_is_ignored(home: Path, garbage: str) -> None:
    start(home).close()
    data = home / "postgresql-18" / "data"
    (data / "postmaster.pid").write_text(garbage)
    (data / ".s.PGSQL.5432.lock").write_text(garbage)

    server = start(home)

    assert ask(server.url(), "select 1") == 1
    server.close()


def test_ctrl_c_on_the_terminal_does_not_reach_the_server(home: Path) -> None:
    server = start(home)

    assert os.getsid(server_pid(home)) != os.getsid(0)

    server.close()


def test_a_process_ends_although_its_home_was_removed_meanwhile(home: Path) -> None:
    server = start(home)
    pid = server_pid(home)
    shutil.rmtree(home)

    server.close()

    assert not is_running(pid)


def test_a_data_folder_without_a_version_is_reported_in_one_clear_line(home: Path) -> None:
    start(home).close()
    data = home / "postgresql-18" / "data"
    (data / "PG_VERSION").unlink()

    with pytest.raises(EmbeddedError) as refused:
        start(home)

    assert_clear(refused.value, f"{data} is damaged")
    assert (data / "base").exists()


def test_a_data_folder_of_another_version_is_reported_in_one_clear_line(home: Path) -> None:
    start(home).close()
    data = home / "postgresql-18" / "data"
    (data / "PG_VERSION").write_text("17\n")

    with pytest.raises(EmbeddedError) as refused:
        start(home)

    assert_clear(refused.value, f"{data} is from PostgreSQL 17, not 18")


def test_damaged_data_are_reported_in_one_line_with_postgresqls_reason(home: Path) -> None:
    start(home).close()
    (home / "postgresql-18" / "data" / "global" / "pg_control").write_bytes(b"\0" * 8192)

    with pytest.raises(EmbeddedError) as refused:
        start(home)

    assert_clear(refused.value, f"in {home / 'postgresql-18'} did not start")
    assert "server.log" in str(refused.value)


def test_a_home_that_is_a_file_is_reported_in_one_clear_line(home: Path) -> None:
    home.write_text("not a folder")

    with pytest.raises(EmbeddedError) as refused:
        start(home)

    assert_clear(refused.value, f"can't use {home}")


@pytest.mark.skipif(ROOT, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_reported_in_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(EmbeddedError) as refused:
        start(tmp_path / "home")
    tmp_path.chmod(0o700)

    assert_clear(refused.value, "Permission denied")


def test_a_missing_wheel_is_reported_in_one_line_that_names_the_remedy(home: Path) -> None:
    user = User(
        home,
        flags=(
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); del sys.argv[1]; exec(sys.argv.pop(1))",
        ),
    )

    assert "make setup" in (complaint := user.complaint())
    assert "DATABASE_URL" in complaint
    assert "\n" not in complaint


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_as_root_no_file_mode_outside_the_home_changes_and_no_server_runs_as_root(home: Path) -> None:
    assert home.parent.stat().st_mode & 0o777 == 0o700

    server = start(home)

    assert home.parent.stat().st_mode & 0o777 == 0o700
    assert pwd.getpwuid(Path(f"/proc/{server_pid(home)}").stat().st_uid).pw_name == "nobody"
    server.close()


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_as_root_the_server_is_started_without_roots_privileges() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = start(Path(folder))
        status = Path(f"/proc/{server_pid(Path(folder))}/status").read_text()
        server.close()

    assert "CapEff:\t0000000000000000" in status


@pytest.mark.skipif(not ROOT, reason="needs root")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs a Python that everyone may run")
@pytest.mark.skipif(not everybody_may_enter(REPOSITORY), reason="needs a checkout that other users may read")
def test_an_ordinary_user_and_root_each_use_only_their_own_home(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        roots, theirs = Path(folder) / "roots", Path(folder) / "theirs"
        Path(folder).chmod(0o755)
        theirs.mkdir()
        shutil.chown(theirs, "nobody")
        ordinary: dict[str, Any] = {
            "python": "/usr/bin/python3",
            "user": "nobody",
            "extra_groups": [],
            "env": {"PYTHONPATH": f"{REPOSITORY}:{Path(asyncpg.__file__).parent.parent}", "PYTHONDONTWRITEBYTECODE": "1"},
        }
        server, user = start(roots), User(theirs, **ordinary)

        assert ask(user.url(), "select 1") == ask(server.url(), "select 1")
        user.leave()
        server.close()
        assert_clear(User(roots, **ordinary).complaint(), "was made by root and you are nobody")
        with pytest.raises(EmbeddedError) as refused:
            start(theirs)

        assert_clear(refused.value, "was made by nobody and you are root")


def assert_clear(complaint: object, words: str) -> None:
    """Checks that the error is one line with these words, which name the fault and a remedy."""
    assert words in str(complaint)
    assert "RIREKI_HOME" in str(complaint)
    assert "\n" not in str(complaint)
