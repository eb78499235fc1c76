"""Prepares the environment of each other queue, when it is first needed.

Each is a virtual environment under `bench/.venv`, because the queues need different versions of the
same libraries. BullMQ's packages are installed in the folder of its program.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from service.web.build import CannotBuildError, environment, path_with_node

ROOT = Path(__file__).resolve().parent.parent
BULLMQ = ROOT / "bench" / "peers" / "bullmq"
OURS = sys.executable


class NotThereError(Exception):
    """The environment of a queue cannot be made. The message is one line with the reason."""


def python_of(lock: str) -> str:
    """Returns the Python of an environment that has exactly the packages of this lock file."""
    home = ROOT / "bench" / ".venv" / Path(lock).stem
    stamp = home / "ready"
    wanted = f"{home} {hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()}"
    python = str(home / "bin" / "python")
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Preparing {home.relative_to(ROOT)} from {lock} (a minute the first time)", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(home)], f"no virtual environment could be made in {home}")
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes", "-r", lock]
    _run(pip, f"the packages of {lock} could not be fetched from the Python package index")
    stamp.write_text(wanted)
    return python


def node_with_bullmq() -> str:
    """Installs BullMQ's packages. Returns the PATH with the Node that builds the page."""
    try:
        path = path_with_node()
    except CannotBuildError as error:
        raise NotThereError(str(error)) from error
    stamp = BULLMQ / "node_modules" / ".installed"
    wanted = hashlib.sha256((BULLMQ / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print("Installing BullMQ", file=sys.stderr, flush=True)
        npm = ["npm", "ci", "--ignore-scripts", "--loglevel=error"]
        _run(npm, "BullMQ could not be fetched from the npm registry", cwd=BULLMQ, path=path)
        stamp.write_text(wanted)
    return path


def _run(command: list[str], what_if_not: str, *, cwd: Path = ROOT, path: str | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment(path) if path else None, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise NotThereError(f"{what_if_not} ({error})") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"status {done.returncode}")
        raise NotThereError(f"{what_if_not} ({reason})")
