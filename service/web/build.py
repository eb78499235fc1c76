"""Builds the page into `service/static` if its sources have changed since the last build.

With `--check` it lints the page's TypeScript and CSS, checks the types and runs the tests instead. With `--update` it pins the
newest versions of the page's packages instead. It runs in our virtual environment, with the machine's Node, or with a Node from
a wheel that it installs there. An error is one line, because the service also runs without the page.
"""

import hashlib
import json
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

# The oldest Node that Vite supports ("engines" in its package.json).
OLDEST_NODE = (20, 19)
MADE_HERE = {"node_modules", "__pycache__"}
NOT_SOURCES = {".built", "biome.jsonc", ".openapi.json", "api-types.ts", "README.md", "openapi.py"}


class CannotBuildError(Exception):
    """The page cannot be built. The message names what is missing, for the person who ran make."""


def main() -> int:
    try:
        if "--check" in sys.argv:
            return check()
        if "--update" in sys.argv:
            update()
            return 0
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
    """Return the exit status of the checks. They print their own findings."""
    path = path_with_node()
    install(path, everything=True)
    document = subprocess.run([sys.executable, WEB / "openapi.py"], cwd=ROOT, check=True, capture_output=True).stdout
    (WEB / ".openapi.json").write_bytes(document)
    run(["npm", "run", "--silent", "types"], path, "openapi-typescript failed")
    return subprocess.run(["npm", "run", "--silent", "check"], cwd=WEB, env=environment(path), check=False).returncode


def update() -> None:
    """Pins the newest versions that fit together in package.json, and locks what they need.

    Installs nothing.
    """
    path = path_with_node()
    package = json.loads((WEB / "package.json").read_text("utf-8"))
    for kind, option in (("dependencies", "--save-prod"), ("devDependencies", "--save-dev")):
        versions: dict[str, str] = package[kind]
        try:
            pin(list(versions), option, path)
        except CannotBuildError:
            # One of the newest versions does not fit the others yet, so each package is updated
            # alone.
            for name, version in versions.items():
                try:
                    pin([name], option, path)
                except CannotBuildError as error:
                    print(f"{name} stays at {version}: {error}", flush=True)


def pin(names: list[str], option: str, path: str) -> None:
    """Pins the newest versions of these packages, or changes nothing and raises `CannotBuildError`."""
    files = [WEB / "package.json", WEB / "package-lock.json"]
    before = [file.read_bytes() for file in files]
    complaint = "its newest version does not fit the other packages"
    npm = ["npm", "install", option, "--save-exact", "--package-lock-only", "--ignore-scripts", "--loglevel=error"]
    try:
        run([*npm, *(f"{name}@latest" for name in names)], path, complaint)
        # `npm install` also locks versions that contradict each other, and only `npm ci` refuses them.
        run(["npm", "ci", "--dry-run", "--ignore-scripts", "--loglevel=error"], path, complaint)
    except CannotBuildError:
        for file, content in zip(files, before, strict=True):
            file.write_bytes(content)
        raise


def source_files() -> list[Path]:
    """The files that the build reads.

    They are compared by content, because a checkout changes all their times.
    """
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


def path_with_node() -> str:
    """A PATH on which `node` and `npm` are found."""
    path = os.environ.get("PATH", os.defpath)
    return path if has_node(path) else f"{install_node()}{os.pathsep}{path}"


def has_node(path: str) -> bool:
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if not node or not npm:
        return False
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
        major, minor = (int(number) for number in version.strip().lstrip("v").split(".")[:2])
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return (major, minor) >= OLDEST_NODE and (major, minor) not in [(21, minor), *((22, older) for older in range(12))]


def install_node() -> Path:
    """Installs Node from its wheel, checked by the lock file. Returns its programs' folder."""
    folder = Path(sys.prefix, "bin")
    if not has_node(str(folder)):
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
    if not has_node(str(folder)):
        raise CannotBuildError("there is no Node 20 or newer here, and the one in the wheel does not run on this machine")
    return folder


def install(path: str, *, everything: bool) -> None:
    """Installs the packages of package-lock.json.

    `everything` includes those that only the checks need.
    """
    lock = fingerprint([WEB / "package-lock.json", WEB / "package.json"])
    if read(INSTALLED) in ({f"{lock} everything"} if everything else {f"{lock} everything", f"{lock} build"}):
        return
    npm = ["npm", "ci", "--ignore-scripts", "--loglevel=error", *([] if everything else ["--omit=dev"])]
    run(npm, path, "its packages could not be fetched from the npm registry")
    INSTALLED.write_text(f"{lock} {'everything' if everything else 'build'}")


def run(command: list[str], path: str, complaint: str) -> None:
    done = subprocess.run(command, cwd=WEB, env=environment(path), capture_output=True, text=True, check=False)
    if done.returncode:
        # npm's first line with "error" says what happened. Its last lines only name the log file.
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"status {done.returncode}")
        raise CannotBuildError(f"{complaint} ({reason})")


def environment(path: str) -> dict[str, str]:
    return os.environ | {"PATH": path, "CI": "1", "NO_COLOR": "1", "npm_config_update_notifier": "false"}


if __name__ == "__main__":
    sys.exit(main())
