"""Run the API, with or without a worker inside, or a worker alone, to a clean end.

SIGTERM gives running jobs a grace period. Ctrl-C returns them to the queue at once. After a second
signal the process ends within 3 seconds. It ends even if its event loop is blocked, because then
the watchdog kills it (`service/process/watchdog.py`).
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from events.concurrency import end, lasting
from service.api.app import create_app
from service.config import ConfigError, Settings
from service.http.context import ApiContext
from service.http.headers import IN_PRODUCTION
from service.http.protocol import HttpProtocol
from service.process.assembly import (
    Core,
    api_context,
    first_sign_in,
    keep_what_is_loaded,
    opened,
    sealing,
    warn_of_variables_without_effect,
    worker_of,
)
from service.process.shutdown import Stop
from workers.worker import Worker

log = structlog.get_logger("rireki")

METRICS_TOKEN_CHARACTERS = 16  # 64 random bits in hexadecimal, because nothing limits the tries to guess the token


class CannotListen(Exception):
    """The address is in use, or this user may not listen on it."""


def listen(settings: Settings) -> socket.socket:
    """Returns a socket that listens on HOST and PORT, for the API.

    Raises `CannotListen`; `ConfigError` if HOST is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            reason = (error.strerror or str(error)).partition(" (while")[0]
            raise ConfigError(
                f"HOST: cannot listen on {settings.host!r}: {reason}. It is the name or the IP address of one of this machine's"
                " interfaces, such as 127.0.0.1 or 0.0.0.0"
            ) from error
        reason = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise CannotListen(
            f"PORT: cannot listen on {settings.host}:{settings.port}: {reason}. Set PORT to another number (or HOST)."
        ) from error


async def serve(settings: Settings, url: str, listening: socket.socket) -> None:
    """Runs the API on this socket until a signal.

    Also runs a worker and a sealer, if the settings ask for them.
    """
    warn_of_variables_without_effect(settings)
    if settings.production:
        _warn_of_open_doors(settings)
    stop = Stop(settings.worker_shutdown_grace_seconds)
    with stop.listening():
        async with opened(settings, url, seals=settings.sealer_enabled) as core:
            sign_in = await first_sign_in(settings, core.database)
            context = api_context(core)
            worker = worker_of(core) if settings.job_worker_enabled else None
            async with _watching_the_model(core), _working(worker, stop), answering(context, listening) as address:
                print(f"Rireki is at {address}", flush=True)
                if sign_in is not None:
                    print(f"sign in: {sign_in[0]} {sign_in[1]}", flush=True)
                await until_asked(stop)


def _warn_of_open_doors(settings: Settings) -> None:
    if settings.allowed_hosts is None:
        log.warning("ALLOWED_HOSTS is not set, so the API answers to every host name: list the names of this service")
    if settings.metrics_token is not None and len(settings.metrics_token) < METRICS_TOKEN_CHARACTERS:
        log.warning("METRICS_TOKEN has fewer than 16 characters and can be guessed: `openssl rand -hex 16` makes a better one")


async def work(settings: Settings, url: str) -> None:
    """Run a worker without the API until a signal."""
    warn_of_variables_without_effect(settings)
    stop = Stop(settings.worker_shutdown_grace_seconds)
    with stop.listening():
        async with opened(settings, url) as core:
            worker = worker_of(core)
            async with _watching_the_model(core), _working(worker, stop):
                keep_what_is_loaded()
                await until_asked(stop)


async def seal(settings: Settings, url: str) -> None:
    """Seal the log until a signal, without the API and without a worker."""
    stop = Stop(grace=0)
    with stop.listening():
        async with sealing(settings, url):
            log.info("sealing")
            await until_asked(stop)


@contextlib.asynccontextmanager
async def answering(context: ApiContext, listening: socket.socket) -> AsyncIterator[str]:
    """Answer requests on this socket while the block lasts.

    Gives the API's address, such as http://127.0.0.1:8000.
    """
    server = http_server(create_app(context), production=context.settings.production)
    running = lasting(server.serve(sockets=[listening]), "http")
    while not server.started:
        await asyncio.sleep(0.005)
        if running.done():
            running.result()
            raise RuntimeError("the HTTP server did not start")
    keep_what_is_loaded()
    host, port = listening.getsockname()[:2]
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        # Streams and waiting responses must end first, because the server waits for them.
        context.job_watches.close()
        server.should_exit = True
        await running


def http_server(app: ASGIApp, *, production: bool = False) -> uvicorn.Server:
    """A uvicorn server with our settings. In production all its responses demand TLS (HSTS)."""
    return _Server(
        uvicorn.Config(
            app, loop="none", http=HttpProtocol, ws="none", log_config=None, access_log=False, lifespan="on", server_header=False,
            proxy_headers=False, headers=list(IN_PRODUCTION.items()) if production else [],
            timeout_keep_alive=30, timeout_graceful_shutdown=5,
        )
    )  # fmt: skip


class _Server(uvicorn.Server):
    """A server that leaves the signals to `Stop`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def _working(worker: Worker | None, stop: Stop) -> AsyncIterator[None]:
    if worker is None:
        yield
        return
    await worker.start()
    try:
        yield
    finally:
        await worker.stop(grace=stop.grace)


@contextlib.asynccontextmanager
async def _watching_the_model(core: Core) -> AsyncIterator[None]:
    watching = lasting(core.resources.summariser.watch.run(), "model watch")
    try:
        yield
    finally:
        await end(watching)


async def until_asked(stop: Stop) -> None:
    """Wait for a signal. If a part of the process ends by an error first, raise that error."""
    waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.asked.wait()), stop.broken]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if stop.broken.done():
        stop.begin()
        stop.broken.result()
    log.info("stopping", grace=stop.grace)
