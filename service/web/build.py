"""Builds the page into `service/static`, if its sources have changed since; with `--check`, checks its types and runs its tests.

Runs in our virtual environment, with the machine's Node or, where there is none that will do, one out of a wheel, installed
there. Whatever goes wrong is one line: the service runs without the page too.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "static"
ROOT = WEB.parent.parent
BUILT = WEB / ".built"
INSTALLED = WEB / "node_modules" / ".installed"
NODE_LOCK = ROOT / "requirements-node.lock"

# What Vite asks of Node (its package.json, "engines").
OLDEST_NODE = (20, 19)
MADE_HERE = {"node_modules", "__pycache__"}
NOT_SOURCES = {".built", ".openapi.json", "api-types.ts", "README.md", "openapi.py"}


class CannotBuildError(Exception):
    """What is missing, in words for the person who ran make."""


def main() -> int:
    try:
        if "--check" in sys.argv:
            return check()
        build()
    except CannotBuildError as error:
        print(f"The page was not built: {error}", file=sys.stderr)
        return 1
    return 0


def build() -> None:
    sources = fingerprint(source_files())
    if (STATIC / "index.html").exists() and read(BUILT) == sources:
        return
    print("Building the page (a minute the first time)", flush=True)
    path = path_with_node()
    install(path, everything=False)
    run(["npm", "run", "--silent", "build"], path, "its build failed")
    BUILT.write_text(sources)


def check() -> int:
    """The exit status of the first check that fails; the checks speak for themselves."""
    path = path_with_node()
    install(path, everything=True)
    document = subprocess.run([sys.executable, WEB / "openapi.py"], cwd=ROOT, check=True, capture_output=True).stdout
    (WEB / ".openapi.json").write_bytes(document)
    run(["npm", "run", "--silent", "types"], path, "openapi-typescript failed")
    return subprocess.run(["npm", "run", "--silent", "check"], cwd=WEB, env=environment(path), check=False).returncode


# Whether it must be built ----------------------------------------------------------------------------------------------------


def source_files() -> list[Path]:
    """By content, not by time: a checkout gives every file the time of the checkout."""
    files = (path for path in WEB.rglob("*") if not MADE_HERE.intersection(path.relative_to(WEB).parts))
    return sorted(path for path in files if path.is_file() and path.name not in NOT_SOURCES and ".test." not in path.name)


def fingerprint(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(WEB).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


# Node ------------------------------------------------------------------------------------------------------------------------


def path_with_node() -> str:
    """A PATH on which `node` and `npm` are found."""
    path = os.environ.get("PATH", os.defpath)
    return path if will_do(path) else f"{node_of_our_own()}{os.pathsep}{path}"


def will_do(path: str) -> bool:
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if not node or not npm:
        return False
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
        major, minor = (int(number) for number in said.strip().lstrip("v").split(".")[:2])
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return (major, minor) >= OLDEST_NODE and (major, minor) not in [(21, minor), *((22, older) for older in range(12))]


def node_of_our_own() -> Path:
    """The folder of the wheel's programs, which pip has checked against the hashes of our lock file."""
    folder = Path(sys.prefix, "bin")
    if not will_do(str(folder)):
        print("No Node 20 or newer here: installing one into .venv", flush=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-qq",
            "--retries",
            "1",
            "--timeout",
            "20",
            "--require-hashes",
            "-r",
            NODE_LOCK,
        ]
        if subprocess.run(pip, capture_output=True, check=False).returncode:
            raise CannotBuildError(
                "there is no Node 20 or newer here, and it could not be fetched from the Python package index"
            )
    if not will_do(str(folder)):
        raise CannotBuildError("there is no Node 20 or newer here, and the one in the wheel does not run on this machine")
    return folder


def install(path: str, *, everything: bool) -> None:
    """The packages of package-lock.json; those that only checks need if `everything` is wanted."""
    lock = fingerprint([WEB / "package-lock.json", WEB / "package.json"])
    if read(INSTALLED) in ({f"{lock} everything"} if everything else {f"{lock} everything", f"{lock} build"}):
        return
    npm = ["npm", "ci", "--ignore-scripts", "--loglevel=error", *([] if everything else ["--omit=dev"])]
    run(npm, path, "its packages could not be fetched from the npm registry")
    INSTALLED.write_text(f"{lock} {'everything' if everything else 'build'}")


def run(command: list[str], path: str, what_if_not: str) -> None:
    done = subprocess.run(command, cwd=WEB, env=environment(path), capture_output=True, text=True, check=False)
    if done.returncode:
        # The last lines say where the log is, the first what happened.
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"status {done.returncode}")
        raise CannotBuildError(f"{what_if_not} ({reason})")


def environment(path: str) -> dict[str, str]:
    return os.environ | {"PATH": path, "CI": "1", "NO_COLOR": "1", "npm_config_update_notifier": "false"}


if __name__ == "__main__":
    sys.exit(main())
