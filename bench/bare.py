"""A Starlette route that answers a constant, on the server that `rireki serve` runs on: what HTTP itself costs."""

import asyncio
import signal
import socket

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.serve import http_server


async def answer(request: Request) -> Response:
    return JSONResponse({"jobId": "0190b1a0-0000-7000-8000-000000000000", "status": "queued"}, 202)


async def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = http_server(Starlette(routes=[Route("/", answer, methods=["POST"])]))

    def stop() -> None:
        server.should_exit = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    await server.serve(sockets=[listening])


if __name__ == "__main__":
    uvloop.run(main())
