"""Known vulnerabilities in the packages of the lock files, from pip-audit and npm audit.

Both ask a database on the internet. A database that cannot be reached is told apart from one that knows nothing: the first
is `CannotAsk`, the second an empty list.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.web.build import WEB, environment, path_with_node
from supply.packages import ROOT

AUDIT_LOCK = ROOT / "requirements-audit.lock"
HOME = ROOT / "supply" / ".venv"
LONGEST = 200  # characters of another program's message
ASKED_WITHIN = 600.0  # seconds


class CannotAsk(Exception):
    """The vulnerabilities are not known. The message is one line with the reason."""


def pip_audit() -> list[str]:
    """Returns the command that runs pip-audit, as a list of arguments.

    The command uses an environment of its own, with exactly the packages of `requirements-audit.lock`.

    Raises `CannotAsk`.
    """
    stamp, python = HOME / "ready", HOME / "bin" / "python"
    wanted = f"{HOME} {hashlib.sha256(AUDIT_LOCK.read_bytes()).hexdigest()}"
    if not stamp.exists() or stamp.read_text() != wanted:
        print("Preparing supply/.venv from requirements-audit.lock", file=sys.stderr, flush=True)
        pip = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes", "-r", str(AUDIT_LOCK)]
        for command in ([sys.executable, "-m", "venv", "--clear", str(HOME)], [str(python), *pip]):
            if (done := _run(command)).returncode:
                raise CannotAsk(f"pip-audit could not be installed ({_reason(done.stderr)})")
        stamp.write_text(wanted)
    return [str(python), "-m", "pip_audit"]


def python_vulnerabilities(program: Sequence[str], lock: Path) -> list[str]:
    """Returns a line for each vulnerability that pip-audit knows in a lock file.

    Raises `CannotAsk`.
    """
    options = ["--disable-pip", "--require-hashes", "--vulnerability-service=osv", "--format=json", "--progress-spinner=off"]
    done = _run([*program, "--requirement", str(lock), *options])
    try:
        packages = json.loads(done.stdout)["dependencies"]
        return [
            f"{lock.name}: {package['name']} {package['version']} has {each['id']}"
            f" (fixed in {', '.join(each['fix_versions']) or 'no version'})"
            for package in packages
            for each in package.get("vulns", [])
        ]
    except (ValueError, KeyError, TypeError):
        raise CannotAsk(f"pip-audit could not reach its database for {lock.name} ({_reason(done.stderr)})") from None


def page_vulnerabilities(folder: Path = WEB, **variables: str) -> list[str]:
    """Returns a line for each vulnerability that npm audit knows in the page's lock file.

    Raises `CannotAsk`.
    """
    done = _run(["npm", "audit", "--json"], cwd=folder, variables=environment(path_with_node()) | variables)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        answer = {}
    if "vulnerabilities" not in answer:
        said = str(answer.get("message") or done.stderr)
        raise CannotAsk(f"npm audit could not reach its registry ({_reason(said)})")
    found = sorted(answer["vulnerabilities"].items())
    return [f"package-lock.json: {name} has {_titles(each)} ({each['severity']})" for name, each in found]


def _titles(vulnerable: Mapping[str, Any]) -> str:
    return "; ".join(each if isinstance(each, str) else f"{each['title']} {each['url']}" for each in vulnerable["via"])


def _run(
    command: Sequence[str], *, cwd: Path = ROOT, variables: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=ASKED_WITHIN, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotAsk(f"{command[0]} could not run ({_reason(str(error))})") from None


def _reason(said: str) -> str:
    """Returns the last line of a program's error output, without control characters."""
    line = next((line.strip() for line in reversed(said.splitlines()) if line.strip(" {}")), "it said nothing")
    return "".join(character if character.isprintable() else "?" for character in line)[:LONGEST]
