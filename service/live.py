"""Watching jobs as they change: server-sent events of one job, and answers that are held until a job has ended.

The bus only wakes; what is sent is read from the log by seq, so nothing is missed and nothing comes twice. One query every
`LOOK_EVERY` seconds compares all watched jobs with what the bus told: a lost message is late, never missing.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from events.bus import Bus, Change
from events.database import AWAY, DATABASE_ERRORS
from events.job import ENDED, Canceled, Completed, Failed, Job, Recorded
from events.lasting import lasting
from events.store import Store
from projections.jobs import JobsView
from service.endpoint import ANSWER_WITHIN, Call
from service.feed import Feed
from service.problems import bad_field
from service.server_sent_events import RECONNECT, SIGN_OF_LIFE, server_sent_event
from service.together import Together
from service.views import event_json, may_see

LOOK_EVERY = 2.0  # seconds
QUIET = 15.0  # seconds after which a quiet stream gives a sign of life


class Watch:
    """One watcher of one job. `seq` is what it has heard of last."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.seq = 0
        self._changed = asyncio.Event()

    def tell(self, seq: int) -> None:
        # Also a lower one: the bus may have told a seq that does not exist, and no true one would ever be higher.
        if seq != self.seq:
            self.seq = seq
            self._changed.set()

    def wake(self) -> None:
        self._changed.set()

    async def changed(self, timeout: float) -> None:
        """Returns once something has happened since the last call, or after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout)
        self._changed.clear()


class Live:
    """All watchers of this process: of single jobs, on one subscription to the bus, and of all that they may see (`feed`).
    `news` tells what happened to a job after a seq: all that are woken at the same moment are told by one query."""

    def __init__(self, bus: Bus, jobs: JobsView, store: Store) -> None:
        self._bus = bus
        self._jobs = jobs
        self.news = Together(store.news)
        self._watches: defaultdict[str, set[Watch]] = defaultdict(set)
        self.feed = Feed(bus, jobs.database)
        self.closed = False

    @property
    def watchers(self) -> int:
        return sum(len(watches) for watches in self._watches.values()) + len(self.feed)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop_listening = self._bus.listen(self._tell)
        looking = lasting(self._look_now_and_then(), "watching")
        try:
            async with self.feed.running():
                yield
        finally:
            stop_listening()
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    @contextlib.contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        watch = Watch(job_id)
        self._watches[job_id].add(watch)
        try:
            yield watch
        finally:
            self._watches[job_id].discard(watch)
            if not self._watches[job_id]:
                del self._watches[job_id]

    def close(self) -> None:
        """Every stream and every held answer ends now."""
        self.closed = True
        self.feed.close()
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()

    def _tell(self, change: Change) -> None:
        for watch in self._watches.get(change.job_id, ()):
            watch.tell(change.seq)

    async def _look_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._watches:
                with contextlib.suppress(*DATABASE_ERRORS):
                    for change in await self._jobs.seqs(list(self._watches)):
                        self._tell(change)


async def until_ended(call: Call[Any, Any], job: Job, seconds: float) -> Job:
    """The job once it has ended, or as it is after `seconds`, or when the client has gone away."""
    call.patience.reschedule(asyncio.get_running_loop().time() + seconds + ANSWER_WITHIN)
    gone = asyncio.create_task(_client_gone(call.request))
    ended = asyncio.create_task(_until_ended(call, job, seconds))
    try:
        await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
        return await ended if ended.done() else job
    finally:
        for task in (gone, ended):
            task.cancel()
        await asyncio.gather(gone, ended, return_exceptions=True)


async def _until_ended(call: Call[Any, Any], job: Job, seconds: float) -> Job:
    live, until = call.parts.live, time.monotonic() + seconds
    with live.watch(job.id) as watch:
        while True:
            job = await call.parts.jobs.get(job.id) or job
            left = until - time.monotonic()
            if job.status in ENDED or left <= 0 or live.closed:
                return job
            await watch.changed(left)


async def _client_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


# Server-sent events -----------------------------------------------------------------------------------------------------------


def event_stream(call: Call[Any, Any], job: Job) -> Response:
    """The job's events after `Last-Event-ID`, then live until it ends. 204 where nothing is left to send, or a browser would
    reconnect for ever (HTML, 9.2.3)."""
    after = _last_event_id(call.request, job)
    if job.status in ENDED and after >= job.seq:
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(call, job, after), headers=headers, media_type="text/event-stream")


async def _stream(call: Call[Any, Any], job: Job, after: int) -> AsyncIterator[bytes]:
    parts = call.parts
    yield RECONNECT
    with parts.live.watch(job.id) as watch, contextlib.suppress(*AWAY):
        while not parts.live.closed:
            # What a caller may see is asked again each time: a stream outlives a logout.
            caller = await parts.users.of_token(call.token or "")
            if caller is None or not may_see(caller, job):
                return
            history = await parts.live.news.get((job.id, after)) or []
            for recorded in history:
                yield _message(recorded, with_stack=caller.is_admin)
                after = recorded.seq
            # A failure that is being retried is never the last: its `queued` came with it.
            if history and isinstance(history[-1].event, Completed | Failed | Canceled):
                return
            if not history:
                if job.status in ENDED and after < job.seq:
                    return  # the log lacks the end that the view has seen
                yield SIGN_OF_LIFE
            await watch.changed(QUIET)


def _message(recorded: Recorded, *, with_stack: bool) -> bytes:
    return server_sent_event(orjson.dumps(event_json(recorded, with_stack=with_stack)), id=recorded.seq)


def _last_event_id(request: Request, job: Job) -> int:
    text = request.headers.get("last-event-id", "").strip()
    if not text:
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) > job.seq:
        raise bad_field("Last-Event-ID", "is not the id of an event that was sent here", 400)
    return int(text)
