"""A witness in a process of its own, and a log that asks it over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx

from projections.proof.cosignature import Cosigner, read_cosignatures, read_cosigner
from projections.proof.signed_note import Verifier, read_note
from projections.proof.witness_request import CosignRequest
from service.process.witness import make_key
from tests.checkpoints.logs import SIGNER, Log
from tests.commands import Command, running
from tests.http_client import http_client

NAME = "witness.example/w1"


@dataclass
class WitnessFiles:
    """The key file and the state of a witness."""

    home: Path

    @property
    def key_file(self) -> Path:
        return self.home / "witness-key"

    @property
    def state(self) -> Path:
        return self.home / "witness-state"

    @property
    def cosigner(self) -> Cosigner:
        return read_cosigner(self.key_file.read_text().strip())

    def arguments(self, *logs: Verifier, listen: str = "127.0.0.1:0") -> list[str]:
        named = [argument for log in logs for argument in ("--log", str(log))]
        files = ["--key-file", str(self.key_file), "--state", str(self.state)]
        return ["audit", "witness", *named, *files, "--listen", listen]


def new_witness(home: Path, name: str = NAME) -> WitnessFiles:
    home.mkdir(parents=True, exist_ok=True)
    files = WitnessFiles(home)
    make_key(name, files.key_file, files.state)
    return files


@asynccontextmanager
async def running_witness(
    files: WitnessFiles, *logs: Verifier, listen: str = "127.0.0.1:0"
) -> AsyncIterator[tuple[Command, httpx.AsyncClient]]:
    """Runs the command, without a database. Yields it, and a client of its address."""
    command = running(*files.arguments(*(logs or [SIGNER.verifier]), listen=listen), home=files.home)
    async with command as process, http_client(await process.address()) as client:
        yield process, client


async def ask(client: httpx.AsyncClient, log: Log, old_size: int, size: int) -> httpx.Response:
    """Asks for a cosignature of this size."""
    note = read_note(log.note(size).encode())
    body = CosignRequest(old_size, log.consistency(min(old_size, size), size), note).to_bytes()
    return await client.post("/add-checkpoint", content=body)


def is_cosigned(answer: httpx.Response, log: Log, size: int, files: WitnessFiles) -> bool:
    text = read_note(log.note(size).encode()).text
    return answer.status_code == 200 and bool(read_cosignatures(answer.text, text, files.cosigner.witness))
