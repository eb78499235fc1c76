"""Finds a Chromium, or installs one.

It uses the first of these that starts: the path in `CHROMIUM`, a browser on this machine, Debian's package, Playwright's
download.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ON_A_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")

ARGUMENTS = [
    "--no-sandbox",  # Chromium refuses to run as root with a sandbox.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

TO_INSTALL = 600  # seconds to install a package with its dependencies


class NoBrowser(Exception):
    """No Chromium starts here, and none could be installed. The message names each try."""


def find_chromium() -> Path:
    """Returns the path of a Chromium that starts. Raises `NoBrowser` if there is none."""
    if given := os.environ.get("CHROMIUM"):
        path = Path(given)
        if not _starts(path):
            raise NoBrowser(f"CHROMIUM names {given}, which does not start")
        return path
    # All processes of the test run call this. The first process installs a Chromium, and the others wait for it and find it.
    with _alone():
        tried = []
        for way, find in _WAYS.items():
            found = find()
            if found is not None and _starts(found):
                return found
            tried.append(way)
    raise NoBrowser(f"no Chromium: {', '.join(tried)}. Install one, or name it in CHROMIUM")


def _on_this_machine() -> Path | None:
    found = [path for name in NAMES if (path := shutil.which(name))]
    return Path(found[0]) if found else ON_A_MAC if ON_A_MAC.exists() else None


def _from_debian() -> Path | None:
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        if not _succeeds(["apt-get", "-qq", *command]):
            return None
    return _on_this_machine()


def _from_playwright() -> Path | None:
    if not _succeeds([sys.executable, "-m", "playwright", "install", "chromium"]):
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


_WAYS: dict[str, Callable[[], Path | None]] = {
    "none on this machine": _on_this_machine,
    "none from Debian": _from_debian,
    "none from Playwright": _from_playwright,
}


def _starts(path: Path) -> bool:
    # The browser is started, because a file named `chromium` may be a script that only tells how to install Chromium.
    return _succeeds([str(path), "--version"], within=60)


def _succeeds(command: list[str], *, within: float = TO_INSTALL) -> bool:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        return (
            subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=within).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextmanager
def _alone() -> Iterator[None]:
    path = Path(tempfile.gettempdir()) / f"rireki-tests-browser-{os.getuid()}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
