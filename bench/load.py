"""An HTTP client for load. Each connection sends the next request at once after an answer.

`python -m bench.load` reads a `Plan` from standard input and prints an `Outcome`, both as JSON. It
is a separate process, so that its CPU time is not counted as the server's.
"""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import uvloop


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan of requests for the load client.

    `%d` in the path is replaced by a number: `first` in the first request, and one more in each request after it.
    """

    ports: list[int]
    path: str
    token: str = ""
    body: str = ""
    first: int = 0
    connections: int = 50
    seconds: float = 4.0


@dataclass(frozen=True, slots=True)
class Outcome:
    answered: int
    seconds: float
    statuses: dict[str, int]
    p50: float
    p99: float
    client_cpu: float
    """The CPU seconds that the client has used."""

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds


async def load(plan: Plan) -> Outcome:
    """Runs the plan in a separate process.

    Raises `RuntimeError` if any answer is not 2xx.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    answer, _ = await process.communicate(orjson.dumps(asdict(plan)))
    outcome = Outcome(**orjson.loads(answer))
    if any(not status.startswith("2") for status in outcome.statuses):
        raise RuntimeError(f"{plan.path}: {outcome.statuses}")
    return outcome


class _Connection(asyncio.Protocol):
    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._answer = b""
        self._asked = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data if self._answer else data
        head = answer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = answer.find(b"ontent-", 0, head)
        while at >= 0 and answer[at + 7 : at + 14].lower() != b"length:":
            at = answer.find(b"ontent-", at + 7, head)
        length = int(answer[at + 14 : answer.find(b"\r", at)]) if at >= 0 else 0
        if len(answer) < head + 4 + length:
            return
        self._answer = b""
        self._run.answered(answer[9:12], time.perf_counter() - self._asked)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._run.over:
            self._run.answered(b"cut", 0)

    def _ask(self) -> None:
        if not self._run.over:
            self._asked = time.perf_counter()
            self._transport.write(self._run.next_request())


class _Run:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.over = False
        self.statuses: Counter[bytes] = Counter()
        self.seconds: list[float] = []
        lines = [f"POST {plan.path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        lines += [f"Authorization: Bearer {plan.token}"] if plan.token else []
        lines += [f"Content-Length: {len(plan.body)}", "", plan.body]
        self._request = "\r\n".join(lines).encode()
        self._numbered = b"%d" in self._request
        self._number = plan.first

    def next_request(self) -> bytes:
        self._number += 1
        return self._request % self._number if self._numbered else self._request

    def answered(self, status: bytes, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.append(seconds)


async def _ask_for(plan: Plan) -> Outcome:
    run, loop = _Run(plan), asyncio.get_running_loop()
    began = time.perf_counter()
    opened = [
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", plan.ports[number % len(plan.ports)])
        for number in range(plan.connections)
    ]
    await asyncio.sleep(plan.seconds)
    run.over = True
    seconds = time.perf_counter() - began
    for transport, _ in opened:
        transport.close()
    times = sorted(run.seconds) or [0.0]
    return Outcome(
        len(run.seconds), seconds, {status.decode(): count for status, count in run.statuses.items()},
        times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000, time.process_time(),
    )  # fmt: skip


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(asdict(uvloop.run(_ask_for(Plan(**orjson.loads(sys.stdin.buffer.read())))))))
