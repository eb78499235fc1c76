"""Runs a witness: an HTTP server that cosigns the checkpoints of other logs.

It needs the witness's key and a folder, and no PostgreSQL and no Redis.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from events.concurrency import lasting
from events.secret_redaction import hide
from projections.proof.cosignature import Cosigner, new_cosigner, read_cosigner
from projections.proof.signed_note import BadKey, Verifier, read_verifier
from projections.proof.witness_request import LONGEST_REQUEST
from service.checkpoints.witness import PLAIN, Witness
from service.checkpoints.witness_state import BadState, WitnessState
from service.config import ConfigError
from service.process.serve import CannotListen, http_server, until_asked
from service.process.shutdown import Stop

log = structlog.get_logger("rireki.witness")

LONGEST_KEY_FILE = 4_096  # bytes
ARRIVES_WITHIN = 10.0  # seconds for the whole body of a request
MOST_AT_ONCE = 64  # requests that are answered at the same time; a further request gets 503


def make_key(name: str, key_file: Path, folder: Path) -> Cosigner:
    """Makes the key and the empty state of a new witness. The key file has mode 0600.

    Raises `ConfigError`: the name cannot be one, the file exists, or the folder is not empty.
    """
    try:
        cosigner = new_cosigner(name)
    except BadKey as error:
        raise ConfigError(f"--init: {error}") from None
    if key_file.exists():
        raise ConfigError(f"--key-file: {key_file} exists already, and a key is never replaced: name another file")
    try:
        WitnessState.make(folder, cosigner.witness)
        with os.fdopen(
            os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(f"{cosigner.to_text()}\n")
            file.flush()
            os.fsync(file.fileno())
    except BadState as error:
        raise ConfigError(f"--state: {error}") from error
    except OSError as error:
        raise ConfigError(f"--key-file: {key_file} cannot be written: {error.strerror}") from error
    return cosigner


def read_key(key_file: Path) -> Cosigner:
    """Reads the key of a witness. Raises `ConfigError`."""
    try:
        with key_file.open("rb") as file:
            text = file.read(LONGEST_KEY_FILE).decode("utf-8", "replace").strip()
    except OSError as error:
        raise ConfigError(f"--key-file: {key_file} cannot be read: {error.strerror}. `--init NAME` makes a key") from error
    hide([text])
    try:
        return read_cosigner(text)
    except BadKey as error:
        raise ConfigError(f"--key-file: {key_file} is not the key of a witness. {error}") from None


def read_logs(keys: Sequence[str]) -> list[Verifier]:
    """Reads the verifier keys of the logs. Raises `ConfigError`."""
    try:
        logs = list(map(read_verifier, keys))
    except BadKey as error:
        raise ConfigError(f"--log: it must be a verifier key of the log, as `rireki audit key` prints it. {error}") from None
    if not logs:
        raise ConfigError("--log is required: the verifier key of the log, as `rireki audit key` prints it")
    return logs


def listen_at(address: str) -> socket.socket:
    """Returns a socket that listens at HOST:PORT. Raises `ConfigError`, `CannotListen`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError("--listen: it must be a host and a port, such as 127.0.0.1:8080 or [::1]:8080")
    host = host.removeprefix("[").removesuffix("]")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise CannotListen(f"--listen: cannot listen at {address}: {os.strerror(error.errno)}") from error
        raise ConfigError(f"--listen: cannot listen at {address}: {error.strerror or error}") from error


async def run_witness(cosigner: Cosigner, logs: Sequence[Verifier], folder: Path, listening: socket.socket) -> None:
    """Answers requests on this socket until a signal. Raises `ConfigError`."""
    try:
        state = WitnessState.open(folder, cosigner.witness)
    except BadState as error:
        raise ConfigError(f"--state: {error}") from error
    stop = Stop(grace=0)
    with stop.listening():
        server = http_server(witness_app(Witness(cosigner, logs, state)))
        running = lasting(server.serve(sockets=[listening]), "http")
        host, port = listening.getsockname()[:2]
        print(f"The witness {cosigner.witness} is at http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        await until_asked(stop)
        server.should_exit = True
        await running
    state.close()


def witness_app(witness: Witness) -> ASGIApp:
    """Returns the application of a witness.

    It answers `add-checkpoint`, the newest checkpoint of each log, and `healthz`.
    """
    busy = asyncio.Semaphore(MOST_AT_ONCE)

    async def add_checkpoint(request: Request) -> Response:
        if busy.locked():
            return _text(503, "The witness is busy. Try again.", {"retry-after": "1"})
        async with busy:
            try:
                async with asyncio.timeout(ARRIVES_WITHIN):
                    body = await _body(request)
            except TimeoutError:
                return _text(408, f"A request must arrive within {ARRIVES_WITHIN:.0f} s.", {"connection": "close"})
            if body is None:
                return _text(413, f"A request has at most {LONGEST_REQUEST} bytes.")
            try:
                answer = await asyncio.to_thread(witness.add_checkpoint, body)
            except OSError as error:
                log.exception("a checkpoint could not be remembered, so it was not cosigned", reason=error.strerror)
                return _text(503, "The witness cannot write to its disk. Try again later.", {"retry-after": "60"})
            return Response(answer.body, answer.status, {"content-type": answer.media_type})

    async def newest(request: Request) -> Response:
        note = witness.newest(request.path_params["origin_hash"])
        return _text(404, "No checkpoint of this log was cosigned.") if note is None else Response(note, media_type=PLAIN)

    async def healthz(_: Request) -> Response:
        return _text(200, "ok")

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/{origin_hash}/checkpoint", newest, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
        ]
    )


async def _body(request: Request) -> bytes | None:
    """Returns the body, or None if it is longer than allowed."""
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST_REQUEST:
                return None
    except ClientDisconnect:
        return b""
    return bytes(body)


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(f"{text}\n", status, headers, PLAIN)
