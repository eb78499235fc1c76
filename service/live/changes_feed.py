"""Every change of every job, to all who may see it: one subscription to the bus, and one look at the log now and then.

What the bus tells is passed on at once. Every `LOOK_EVERY` seconds one query reads the sealed log from where it was last read,
passes on what the bus did not tell, and then everybody may be told the position: all up to it was sent. So a message that the
bus loses is late and not missing, and a client that gives the position back misses nothing.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

import orjson

from events.bus import Bus, Change
from events.database import DATABASE_ERRORS, Database
from projections.changes import changes, last_position
from projections.seal import seal
from service.live.listening import listening
from service.live.server_sent_events import server_sent_event

LOOK_EVERY = 2.0  # seconds
IDLE_LOOKS = 5  # looks after which who got nothing meanwhile is told the position too
GATHER = 0.02  # seconds in which changes are gathered, to be sent as one piece
READ_AT_ONCE = 5000  # positions
MOST_REPLAYED = 10_000  # positions that a client may be behind; further back it had better fetch all anew
MOST_UNREAD = 1024 * 1024  # bytes that wait for one slow reader
REMEMBERED = 30.0  # seconds in which a change that was sent is known, after the log has shown it
MOST_REMEMBERED = 50_000  # changes

RESET = server_sent_event(b"{}", name=b"reset")


class Watcher:
    """One open stream: of one owner's changes, or of all (`owner` is None)."""

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self.ended = False
        self.was_sent_something = False  # since it was last told a position
        self._pieces: list[bytes] = []
        self._unread = 0
        self._ready = asyncio.Event()

    def put(self, piece: bytes) -> None:
        """Ends the stream of who reads too slowly: it can go on from the position it was told last."""
        self._unread += len(piece)
        if self._unread > MOST_UNREAD:
            self.end()
        if not self.ended:
            self._pieces.append(piece)
            self._ready.set()

    def end(self) -> None:
        self.ended = True
        self._pieces.clear()
        self._ready.set()

    async def take(self, timeout: float) -> bytes:
        """All that was put, as soon as there is something; nothing after `timeout` seconds or at the end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), timeout)
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self._unread = 0
        if not self.ended:
            self._ready.clear()
        return taken


class ChangesFeed:
    """All open streams of this process."""

    def __init__(self, bus: Bus, database: Database) -> None:
        self._bus = bus
        self._database = database
        self._of_all: set[Watcher] = set()
        self._of_owner: defaultdict[str, set[Watcher]] = defaultdict(set)
        self._watchers = 0
        self._gathered: list[tuple[str | None, bytes]] = []
        # What was sent: the change itself until the log has shown it too, then when that was.
        self._sent: dict[tuple[str, int], Change | float] = {}
        self._position: int | None = None
        self._closed = False

    def __len__(self) -> int:
        return self._watchers

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with listening(self._bus, self._hear, self._look_now_and_then(), "feed"):
            yield

    def close(self) -> None:
        """Every stream ends now."""
        self._closed = True
        for watcher in self._all_watchers():
            watcher.end()

    @contextlib.contextmanager
    def watched(self, owner: str | None) -> Iterator[Watcher]:
        self._flush()  # what is gathered by now is for those before: the beginning brings it to this one
        watcher = Watcher(owner)
        watchers = self._of_all if owner is None else self._of_owner[owner]
        watchers.add(watcher)
        self._watchers += 1
        if self._closed:
            watcher.end()
        try:
            yield watcher
        finally:
            watchers.discard(watcher)
            self._watchers -= 1
            if owner is not None and not self._of_owner[owner]:
                del self._of_owner[owner]
            if not self._watchers:
                self._begin_anew()

    async def beginning(self, watcher: Watcher, after: int | None) -> bytes:
        """How a stream begins, once it can miss nothing any more: with all after the position that the client has, or with a
        `reset` if that is too far back or was never given."""
        # What was sent to the others before, and has no position that the look knows, comes in no other way.
        unplaced = [change for change in self._sent.values() if isinstance(change, Change)]
        last = await last_position(self._database)
        if self._position is None:
            self._position = last
        if after is None:
            return b""
        if not 0 <= last - after <= MOST_REPLAYED:
            return RESET + _position_message(last)
        missed = [placed.change for placed in await changes(self._database, after=after, until=last, owner=watcher.owner)]
        # Some of them may have been given their positions meanwhile.
        shown = {(change.job_id, change.seq) for change in missed}
        missed += [
            change
            for change in unplaced
            if watcher.owner in (None, change.user_id) and (change.job_id, change.seq) not in shown
        ]
        return b"".join(_message(change) for change in missed) + _position_message(last)

    def _begin_anew(self) -> None:
        """Nobody watches. What happens until somebody does is sent by the beginning of that stream, and by nothing else."""
        self._position = None
        self._sent.clear()

    def _hear(self, change: Change) -> None:
        if self._watchers and self._is_news(change):
            self._sent[change.job_id, change.seq] = change
            self._send(change)

    def _is_news(self, change: Change) -> bool:
        """Whether nothing was sent under its seq, or only something else that the log has not shown: it may have been untrue."""
        sent = self._sent.get((change.job_id, change.seq))
        return sent is None or (isinstance(sent, Change) and sent != change)

    def _send(self, change: Change) -> None:
        if not self._gathered:
            asyncio.get_running_loop().call_later(GATHER, self._flush)
        self._gathered.append((change.user_id, _message(change)))

    def _flush(self) -> None:
        """Each change is encoded once, and each piece joined once, for all that get it."""
        gathered, self._gathered = self._gathered, []
        if self._of_all and gathered:
            _put(self._of_all, b"".join(message for _, message in gathered))
        by_owner: defaultdict[str, list[bytes]] = defaultdict(list)
        for owner, message in gathered:
            if owner is not None and owner in self._of_owner:
                by_owner[owner].append(message)
        for owner, messages in by_owner.items():
            _put(self._of_owner[owner], b"".join(messages))

    async def _look_now_and_then(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not self._watchers:
                self._begin_anew()  # a look may have been under way when the last one left
                continue
            looks += 1
            with contextlib.suppress(*DATABASE_ERRORS):
                await self._look()
                self._tell_position(everybody=looks % IDLE_LOOKS == 0)

    async def _look(self) -> None:
        await seal(self._database)
        last = await last_position(self._database)
        while self._position is not None and self._position < last:
            until = min(last, self._position + READ_AT_ONCE)
            for _, change in await changes(self._database, after=self._position, until=until):
                if self._is_news(change):
                    self._send(change)
                self._sent[change.job_id, change.seq] = time.monotonic()
            self._position = until
        self._forget()

    def _forget(self) -> None:
        # What is forgotten too early may come twice, and never not at all.
        if len(self._sent) > MOST_REMEMBERED:
            self._sent.clear()
        old = time.monotonic() - REMEMBERED
        self._sent = {key: sent for key, sent in self._sent.items() if isinstance(sent, Change) or sent > old}

    def _tell_position(self, *, everybody: bool) -> None:
        if self._position is None:
            return
        self._flush()
        message = _position_message(self._position)
        for watcher in self._all_watchers():
            if everybody or watcher.was_sent_something:
                watcher.put(message)
                watcher.was_sent_something = False

    def _all_watchers(self) -> list[Watcher]:
        return [*self._of_all, *(watcher for watchers in self._of_owner.values() for watcher in watchers)]


def _put(watchers: set[Watcher], piece: bytes) -> None:
    for watcher in watchers:
        watcher.put(piece)
        watcher.was_sent_something = True


def _message(change: Change) -> bytes:
    data = {
        "jobId": change.job_id,
        "seq": change.seq,
        "attempt": change.attempt,
        "status": change.status,
        "type": change.type,
        "userId": change.user_id,
    }
    return server_sent_event(orjson.dumps(data), name=b"change")


def _position_message(position: int) -> bytes:
    """An event of its own name, because a client that listens for changes skips it and remembers its id all the same. It has
    data, because some clients hand on an id alone as an event that nobody can read."""
    return server_sent_event(b"{}", id=position, name=b"position")
