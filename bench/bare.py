"""Bare Starlette routes on the server of `rireki serve`, to compare with our endpoints.

`/` answers a constant, which shows the cost of HTTP itself. `/queue/{room}` only queues a durable
job and tells the workers about it over Redis: it does not authenticate, validate, log or count.
"""

import asyncio
import signal
import socket

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.processes import ADMIN
from service.config import Settings
from service.http.logs import configure_logs
from service.process.assembly import Core, keep_what_is_loaded, opened
from service.process.serve import http_server
from workers.chatwork.messages_sync import CHATWORK_MESSAGES_SYNC
from workers.delivery.enqueue import enqueue


async def answer(request: Request) -> Response:
    return JSONResponse({"jobId": "0190b1a0-0000-7000-8000-000000000000", "status": "queued"}, 202)


async def queue(request: Request) -> Response:
    core: Core = request.app.state.core
    payload = {"roomId": request.path_params["room"]}
    job = await enqueue(core.store, core.wire, CHATWORK_MESSAGES_SYNC, payload, user_id=ADMIN.id, actor=f"user:{ADMIN.id}")
    return JSONResponse({"jobId": job.id, "status": job.status}, 202)


async def main() -> None:
    configure_logs()  # Logs go to standard error, because the first line on standard output must be the address.
    settings = Settings()
    assert settings.database_url is not None
    async with opened(settings, settings.database_url, seals=True) as core:
        listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
        app = Starlette(routes=[Route("/", answer, methods=["POST"]), Route("/queue/{room}", queue, methods=["POST"])])
        app.state.core = core
        server = http_server(app)

        def stop() -> None:
            server.should_exit = True

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        keep_what_is_loaded()
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        await server.serve(sockets=[listening])


if __name__ == "__main__":
    uvloop.run(main())
