"""`rireki --version` prints the installed version, even with a wrong environment."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RIREKI = "from service.cli import main; main()"


def test_the_version_is_printed_without_any_setting() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RIREKI, "--version"],
        cwd=ROOT,
        env={"APP_ENV": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"rireki {metadata.version('rireki')}\n"


def test_the_installed_version_is_the_one_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert metadata.version("rireki") == project["version"]
    assert project["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")
