"""Measures the page in a real Chromium against the real service.

It scrolls through 10,000 jobs, and shows 100 events a second. It prints one Markdown table. The table
has no verdict, because the figures also depend on other work on the machine.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvloop
from playwright.async_api import Page, async_playwright

from bench.record import add_save_option, publish
from bench.rooms import EMAIL, PASSWORD, _address, _rireki, _running
from bench.servers import fresh_database, versions_of
from events import job as rules
from events.bus import RedisBus
from events.database import Database
from events.job import Job, JobError
from events.store import Store
from events.writes import NewJob
from tests.browser.chromium import ARGUMENTS, find_chromium
from tests.servers import redis_server

TYPE, WORKER, ROOMS = "chatwork_messages_sync", "bench", 60
ERROR = JobError("Refused", "Chatwork API error: 500", "Traceback (most recent call last)")
LANES = 100  # jobs that run at the same time
AT_ONCE = 500  # jobs that are added at the same time
PIXELS_A_SECOND = 15_000  # about 230 rows: the speed of a swipe
CLICK_EVERY = 0.4  # seconds between two clicks
PATIENCE = 120_000  # milliseconds that an action in the page may take

# Counts the events of the stream without delaying them, because the page reads the same bytes.
LISTENS = """
globalThis.seen = 0
const ask = globalThis.fetch
globalThis.fetch = async (address, options) => {
  const answer = await ask(address, options)
  if (!answer.headers.get('content-type')?.startsWith('text/event-stream')) return answer
  const text = new TextDecoder()
  let rest = ''
  const counting = new TransformStream({
    transform(chunk, control) {
      const lines = (rest + text.decode(chunk, { stream: true })).split('\\n')
      rest = lines.pop()
      globalThis.seen += lines.filter((line) => line.startsWith('data:')).length
      control.enqueue(chunk)
    },
  })
  return new Response(answer.body.pipeThrough(counting), answer)
}
"""

# Records all frames, all tasks of more than 50 ms, and for each key press the times until it was handled and painted.
WATCHES = """
() => {
  const watch = { frames: [], long: [], heard: [], painted: [], empty: 0, on: true, seen: globalThis.seen }
  globalThis.watching = watch
  let before
  const frame = (now) => {
    if (before !== undefined) watch.frames.push(now - before)
    before = now
    if (watch.on) requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
  const observer = new PerformanceObserver((list) => watch.long.push(...list.getEntries().map(({ duration }) => duration)))
  observer.observe({ type: 'longtask' })
  const press = (event) => {
    watch.heard.push(performance.now() - event.timeStamp)
    requestAnimationFrame(() => setTimeout(() => watch.painted.push(performance.now() - event.timeStamp)))
  }
  addEventListener('pointerdown', press, true)
  watch.stop = () => {
    watch.on = false
    observer.disconnect()
    removeEventListener('pointerdown', press, true)
    const { frames, long, heard, painted, empty } = watch
    return { frames, long, heard, painted, empty, seen: globalThis.seen - watch.seen }
  }
}
"""

# Scrolls down until no further rows load, or back to the top. Resolves to the number of rows.
SCROLLS = """
([speed, down]) => new Promise((resolve) => {
  let before
  const frame = (now) => {
    const past = before === undefined ? 0 : Math.min(100, now - before)
    before = now
    scrollBy(0, (down ? speed : -speed) * past / 1000)
    const bottom = scrollY + innerHeight >= document.documentElement.scrollHeight - 2
    const done = down ? bottom && /\\d/.test(document.querySelector('.list-end')?.textContent ?? '') : scrollY <= 0
    if (document.querySelector('.jobs .rows-body')?.getBoundingClientRect().top < innerHeight / 2 && !bottom)
      if (!document.elementFromPoint(innerWidth / 2, innerHeight / 2)?.closest('.rows-row, .bulk, header')) watching.empty += 1
    if (done) resolve(Number(document.querySelector('.jobs[role=table]').getAttribute('aria-rowcount')) - 1)
    else requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
})
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """The work of the page during `seconds` seconds. All other times are milliseconds."""

    seconds: float
    frames: list[float]
    long: list[float]
    heard: list[float]
    painted: list[float]
    empty: int
    seen: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=100, help="events a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of events")
    add_save_option(parser)
    options = parser.parse_args()
    with fresh_database() as url, redis_server() as redis_url:
        table = uvloop.run(_measure(url, redis_url, options.rows, options.rate, options.seconds))
        publish("page", table, versions=versions_of(url, redis_url), save=options.save)


async def _measure(url: str, redis_url: str, rows: int, rate: int, seconds: float) -> str:
    async with AsyncExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="rireki-bench-"))
        environment = os.environ | {
            "APP_ENV": "test", "DATABASE_URL": url, "REDIS_URL": redis_url, "RIREKI_HOME": home, "PORT": "0",
            "JOB_WORKER_ENABLED": "false",
        }  # fmt: skip
        _rireki("users", "add", EMAIL, "--role", "admin", "--password-stdin", environment=environment)
        serve = stack.enter_context(_running("serve", environment))
        store = await stack.enter_async_context(_store(url, redis_url))
        page = await stack.enter_async_context(_page(await asyncio.to_thread(_address, serve)))
        await _fill(store, rows)
        return _table(
            [
                *await _scrolling(page, rows),
                *await _under_events(page, store, rate, seconds),
            ]
        )


@asynccontextmanager
async def _store(url: str, redis_url: str) -> AsyncIterator[Store]:
    """Opens a store as a worker process does: it announces its changes over Redis."""
    database, bus = Database(url), RedisBus(redis_url)
    await database.connect()
    await bus.start()
    store = Store(database, bus)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()
        await bus.stop()
        await database.disconnect()


@asynccontextmanager
async def _page(address: str) -> AsyncIterator[Page]:
    """Opens a page that is signed in. Its browser does not ask for reduced motion."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=await asyncio.to_thread(find_chromium), args=ARGUMENTS)
        context = await browser.new_context(base_url=address, locale="ja-JP", viewport={"width": 1280, "height": 800})
        context.set_default_timeout(PATIENCE)
        await context.add_init_script(LISTENS)
        answer = await context.request.post("/api/auth/login", data={"email": EMAIL, "password": PASSWORD})
        assert answer.ok, await answer.text()
        yield await context.new_page()
        await browser.close()


async def _fill(store: Store, rows: int) -> None:
    """Adds ended jobs. One in ten has failed."""

    async def one(number: int) -> None:
        job = await _append(store, await _create(store), _start)
        await _append(store, job, _fail if number % 10 == 0 else _complete)

    for first in range(0, rows, AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(first, min(rows, first + AT_ONCE))))


async def _create(store: Store) -> Job:
    return await store.create(NewJob(TYPE, {"roomLimit": ROOMS}, None, max_attempts=5), actor="system:bench")


async def _append(store: Store, job: Job, decide: Callable[[Job], list[rules.Event]]) -> Job:
    return await store.append(job, decide, actor=f"worker:{WORKER}")


def _start(job: Job) -> list[rules.Event]:
    return rules.start(job, attempt=1, worker=WORKER)


def _result(done: int) -> dict[str, Any]:
    rooms = [{"roomId": str(room), "fetched": 30} for room in range(done)]
    return {"totalRooms": ROOMS, "processedRooms": done, "rooms": rooms, "errors": []}


def _progress(job: Job) -> list[rules.Event]:
    return rules.progress(job, attempt=1, worker=WORKER, result=_result(job.seq % ROOMS))


def _complete(job: Job) -> list[rules.Event]:
    return rules.complete(job, attempt=1, worker=WORKER, result=_result(ROOMS))


def _fail(job: Job) -> list[rules.Event]:
    return rules.fail(job, attempt=1, worker=WORKER, error=ERROR, retry_in=None)


class Lanes:
    """Keeps LANES jobs running.

    Each job is started, reports six times and completes. Then another one replaces it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: list[Job | None] = [None] * LANES
        self._locks = [asyncio.Lock() for _ in range(LANES)]
        self._next = 0

    async def step(self) -> None:
        lane, self._next = self._next, (self._next + 1) % LANES
        async with self._locks[lane]:
            self._jobs[lane] = await self._after(self._jobs[lane])

    async def _after(self, job: Job | None) -> Job | None:
        if job is None:
            return await _create(self._store)
        if job.seq >= 8:
            await _append(self._store, job, _complete)
            return None
        return await _append(self._store, job, _start if job.seq == 1 else _progress)


async def _steadily(step: Callable[[], Awaitable[object]], rate: int, seconds: float) -> None:
    """Calls `step` `rate` times a second, or less often if the database is too slow."""
    began, sent = time.perf_counter(), 0
    under_way = asyncio.Semaphore(LANES)

    async def one() -> None:
        async with under_way:
            await step()

    async with asyncio.TaskGroup() as group:
        while (past := time.perf_counter() - began) < seconds:
            while sent < past * rate and not under_way.locked():
                group.create_task(one())
                sent += 1
            await asyncio.sleep(0.005)


async def _scrolling(page: Page, rows: int) -> list[tuple[str, ...]]:
    await page.goto("/jobs")
    await page.locator(".jobs .rows-row").first.wait_for()
    still = await _watched(page, lambda: asyncio.sleep(3))
    found = 0

    async def down() -> None:
        nonlocal found
        found = await page.evaluate(SCROLLS, [PIXELS_A_SECOND, True])

    first = await _watched(page, down)
    back = await _watched(page, lambda: page.evaluate(SCROLLS, [PIXELS_A_SECOND, False]))
    assert found == rows, f"{found} of {rows} rows were there at the end"
    return [
        _row("the list of jobs, without scrolling or clicks", still),
        _row(f"down through {rows:,} rows, which are fetched on the way", first),
        _row(f"back up through {rows:,} rows", back),
    ]


async def _under_events(page: Page, store: Store, rate: int, seconds: float) -> list[tuple[str, ...]]:
    lanes = Lanes(store)
    for _ in range(LANES * 3):
        await lanes.step()
    listing = await _under_load(page, "/jobs", lanes.step, rate, seconds)

    alone = await _append(store, await _create(store), _start)
    in_turn = asyncio.Lock()

    async def more() -> None:
        nonlocal alone
        async with in_turn:
            alone = await _append(store, alone, _progress)

    job = await _under_load(page, f"/jobs/{alone.id}", more, rate, seconds)
    return [
        _row(f"the list of jobs, {rate} events a second", listing),
        _row(f"a job's page, {rate} events a second, all its own", job),
    ]


async def _under_load(page: Page, path: str, step: Callable[[], Awaitable[object]], rate: int, seconds: float) -> Watched:
    await page.goto(path)
    await page.locator(".live-live").wait_for()
    await page.locator(".rows-row, .event").first.wait_for()

    async def presses() -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await page.get_by_label("アカウント").first.click()
            await asyncio.sleep(CLICK_EVERY)

    async def both() -> None:
        await asyncio.gather(_steadily(step, rate, seconds), presses())

    return await _watched(page, both)


async def _watched(page: Page, work: Callable[[], Awaitable[Any]]) -> Watched:
    await page.evaluate(WATCHES)
    began = time.perf_counter()
    await work()
    seconds = time.perf_counter() - began
    return Watched(seconds=seconds, **await page.evaluate("() => watching.stop()"))


HEAD = ("the page", "s", "frame ms: p50", "p95", "p99", "worst", "tasks over 50 ms (worst)", "frames without rows",
        "events seen a second", "press heard after ms: p50, worst", "painted: p50, worst")  # fmt: skip


def _row(what: str, watched: Watched) -> tuple[str, ...]:
    frames = sorted(watched.frames)
    long = f"{len(watched.long)} ({max(watched.long):.0f} ms)" if watched.long else "0"
    return (
        what,
        f"{watched.seconds:.0f}",
        *(f"{_share(frames, share):.0f}" for share in (0.5, 0.95, 0.99, 1.0)),
        long,
        str(watched.empty),
        f"{watched.seen / watched.seconds:.0f}" if watched.seen else "",
        _middle_and_worst(watched.heard),
        _middle_and_worst(watched.painted),
    )


def _share(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def _middle_and_worst(values: list[float]) -> str:
    return f"{statistics.median(values):.0f}, {max(values):.0f}" if values else ""


def _table(rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (HEAD, ("---",) * len(HEAD), *rows))


if __name__ == "__main__":
    main()
