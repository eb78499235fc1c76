"""Measures procrastinate on PostgreSQL: `python -m bench.peers.procrastinate '<json>'`.

As documented: `PsycopgConnector` with a pool of the default size, and a worker with `concurrency`
(from procrastinate's how-to on concurrency) that listens for notifications. At its best: a pool with
a connection for each caller, and jobs are deleted when they succeed (`delete_jobs`).
"""

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import AsyncIterator

import uvloop
from procrastinate import App, PsycopgConnector

from bench.measure import Clock, Contestant, Parameters, Usage, run

logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
BULK = 1_000


class Procrastinate(Contestant):
    can_bulk = can_cancel = True

    def __init__(self, parameters: Parameters, clock: Clock, app: App, elsewhere: App) -> None:
        super().__init__(parameters, clock)
        self._app, self._elsewhere = app, elsewhere
        self._nothing = app.task(name="nothing")(self._do_nothing)
        self._endless = app.task(name="endless")(self._wait_for_ever)
        self._ids: dict[int, int] = {}

    async def enqueue(self, number: int) -> None:
        await self._nothing.defer_async(number=number)

    async def enqueue_bulk(self, numbers: range) -> None:
        for first in range(0, len(numbers), BULK):
            await self._nothing.batch_defer_async(*({"number": number} for number in numbers[first : first + BULK]))

    async def enqueue_endless(self, number: int) -> None:
        self._ids[number] = await self._endless.defer_async(number=number)

    async def cancel(self, number: int) -> None:
        await self._elsewhere.job_manager.cancel_job_by_id_async(self._ids[number], abort=True)

    async def drain(self, jobs: int) -> None:
        # `run_worker_async` returns after procrastinate has recorded the end of the last job.
        await self._app.run_worker_async(wait=False, install_signal_handlers=False, **self.parameters.settings["worker"])
        self.clock.drained = Usage.now(self.parameters)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        running = asyncio.create_task(
            self._app.run_worker_async(install_signal_handlers=False, **self.parameters.settings["worker"])
        )
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def analyze(self) -> None:
        await self._app.connector.execute_query_async("analyze")

    async def _do_nothing(self, number: int) -> dict[str, bool]:
        self.clock.start(number)
        return {"ok": True}

    async def _wait_for_ever(self, number: int) -> None:
        self.clock.start(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.clock.cancel(number)
            raise


@contextlib.asynccontextmanager
async def procrastinate(parameters: Parameters, clock: Clock) -> AsyncIterator[Procrastinate]:
    apps = [App(connector=PsycopgConnector(conninfo=parameters.postgres_url, **parameters.settings["pool"])) for _ in range(2)]
    async with apps[0].open_async() as app, apps[1].open_async() as elsewhere:
        await app.schema_manager.apply_schema_async()
        yield Procrastinate(parameters, clock, app, elsewhere)


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("procrastinate", "psycopg", "psycopg-pool", "uvloop")}


if __name__ == "__main__":
    run(procrastinate, versions, uvloop.run)
