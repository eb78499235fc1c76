"""The code behind Go's checksum database verifies an exported directory (`go/check.go`).

It needs Debian's packages `golang-go` and `golang-golang-x-mod-dev`. With GO_TESTS=required these tests fail where Go is missing,
else they are skipped.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from events.database import Connection, Database
from projections.export_directory import export_directory
from projections.proof.signed_note import Verifier
from tests.histories import give_positions
from tests.projections.conftest import superuser
from tests.projections.tiled_logs import append
from tests.signed_log import sign_checkpoint

__all__ = ["superuser"]

SOURCE = Path(__file__).parent / "go" / "check.go"
PACKAGES = Path("/usr/share/gocode")  # where Debian keeps the sources of its Go packages
SIZE = 3_001
MOST_SECONDS = 110


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the program without a network. Returns its path."""
    go = shutil.which("go")
    if go is None or not (PACKAGES / "src/golang.org/x/mod/sumdb").is_dir():
        reason = "Debian's packages golang-go and golang-golang-x-mod-dev are not installed"
        if os.environ.get("GO_TESTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("go")
    variables = {"GO111MODULE": "off", "GOPATH": str(PACKAGES), "GOCACHE": str(folder / "cache"), "GOPROXY": "off"}
    command = [go, "build", "-o", str(folder / "check"), str(SOURCE)]
    subprocess.run(command, env=os.environ | variables, check=True, timeout=MOST_SECONDS)
    return folder / "check"


@pytest.fixture
async def exported(database: Database, superuser: Connection, tmp_path: Path) -> tuple[Path, Verifier]:
    await append(superuser, "a", jobs=SIZE // 4 + 1)
    await give_positions(database)
    verifier = await sign_checkpoint(superuser, SIZE)
    await export_directory(database, tmp_path / "log")
    return tmp_path / "log", verifier


def checked(check: Path, directory: Path, key: str) -> "subprocess.CompletedProcess[str]":
    command = [str(check), str(directory), key]
    return subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)


def test_gos_checksum_database_accepts_an_exported_log(check: Path, exported: tuple[Path, Verifier]) -> None:
    directory, verifier = exported

    ended = checked(check, directory, str(verifier))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"ok: {SIZE} events, 1000 inclusions, 100 consistencies\n"


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/003", "tile/1/000.p/11", "tile/entries/005"])
def test_gos_checksum_database_refuses_a_changed_log(check: Path, exported: tuple[Path, Verifier], name: str) -> None:
    directory, verifier = exported
    contents = bytearray((directory / name).read_bytes())
    contents[len(contents) // 2] ^= 1
    (directory / name).write_bytes(contents)

    ended = checked(check, directory, str(verifier))

    assert (ended.returncode, ended.stdout) == (1, "")


def test_gos_checksum_database_refuses_another_key(check: Path, exported: tuple[Path, Verifier]) -> None:
    directory, verifier = exported

    assert checked(check, directory, str(Verifier(verifier.name, bytes(32)))).returncode == 1
