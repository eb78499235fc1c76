"""Measures taskiq on Redis streams: `python -m bench.peers.taskiq '<json>'`.

As documented: `RedisStreamBroker` with results that stay in Redis for a limited time (the README of
taskiq-redis recommends both), 100 tasks at the same time, and uvloop (both are the defaults of the
command line). At its best: no results, a larger prefetch, more entries for each read of the stream,
and no validation of parameters (`--no-parse`). taskiq cannot cancel a running task, and has no call
that enqueues many tasks.
"""

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import uvloop
from redis.asyncio import Redis
from taskiq import AckableMessage
from taskiq.receiver import Receiver
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.measure import Clock, Contestant, Parameters, run

logging.getLogger("taskiq").setLevel(logging.CRITICAL)


class CountingBroker(RedisStreamBroker):
    """Counts a task as ended when it is acknowledged."""

    clock: Clock

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        async for message in super().listen():
            yield AckableMessage(data=message.data, ack=self._counting(message))

    def _counting(self, message: AckableMessage) -> object:
        async def acknowledge() -> None:
            await message.ack()
            self.clock.finish()

        return acknowledge


class TaskIq(Contestant):
    def __init__(self, parameters: Parameters, clock: Clock, broker: CountingBroker) -> None:
        super().__init__(parameters, clock)
        self._nothing = self._register(broker)

    async def enqueue(self, number: int) -> None:
        await self._nothing.kiq(number)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with Redis.from_url(self.parameters.redis_url) as redis:
            # A canceled listener may leave a lock, and the next listener would wait for it for ever. It is safe to delete
            # the lock, because no listener runs now.
            await redis.delete("autoclaim:taskiq:taskiq")
        # Each worker gets a separate broker. If its listener does not end, it at least loses its connections with the broker.
        broker = _broker(self.parameters, self.clock)
        self._register(broker)
        broker.is_worker_process = True
        await broker.startup()
        ending = asyncio.Event()
        receiver = Receiver(broker, run_startup=False, **self.parameters.settings["worker"])
        running = asyncio.create_task(receiver.listen(ending))
        try:
            yield
        finally:
            ending.set()
            # The worker is canceled several times, because it may take the first cancel for the end of a read of the stream.
            for _ in range(50):
                if (await asyncio.wait({running}, timeout=0.1))[0]:
                    break
                running.cancel()
            await broker.shutdown()
            # Wait until the last blocking read of the worker (xread_block, 2 s) has ended. It could take entries of the
            # stream, and no worker would run them.
            await asyncio.sleep(2.2)

    def _register(self, broker: CountingBroker) -> Any:
        clock = self.clock

        async def nothing(number: int) -> dict[str, bool]:
            clock.start(number)
            return {"ok": True}

        return broker.register_task(nothing, task_name="nothing")


def _broker(parameters: Parameters, clock: Clock) -> CountingBroker:
    broker = CountingBroker(parameters.redis_url, **parameters.settings.get("broker", {}))
    broker.clock = clock
    if "results" in parameters.settings:
        broker.with_result_backend(RedisAsyncResultBackend(parameters.redis_url, **parameters.settings["results"]))
    return broker


@contextlib.asynccontextmanager
async def taskiq(parameters: Parameters, clock: Clock) -> AsyncIterator[TaskIq]:
    broker = _broker(parameters, clock)
    await broker.startup()
    try:
        yield TaskIq(parameters, clock, broker)
    finally:
        await broker.shutdown()


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")}


if __name__ == "__main__":
    run(taskiq, versions, uvloop.run)
