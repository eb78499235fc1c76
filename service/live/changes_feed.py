"""Sends every change of every job to the clients that may see it.

A change on the bus is sent within `GATHER` seconds. Every `LOOK_EVERY` seconds queries read the
events that have got a position in the log since the last time, and the changes that the bus has
lost are sent. Then clients are told the position up to which all changes were sent. So a change
that the bus loses is only late, and a client that reconnects with its last position gets all later
changes.
"""

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Iterator

import orjson

from events.bus import Bus, Change
from events.database import DATABASE_ERRORS, Database
from projections.changes import changes, last_position
from projections.seal import seal
from service.live.listening import listening
from service.live.server_sent_events import server_sent_event

LOOK_EVERY = 2.0  # seconds between two queries of the log
IDLE_LOOKS = 5  # queries after which clients that got no change get the position, too
GATHER = 0.02  # seconds for which changes are collected, to be sent in one piece
READ_AT_ONCE = 5000  # positions in one query
MOST_REPLAYED = 10_000  # positions that a client may be behind; a client further behind must fetch everything again
REPLAYED_AT_ONCE = 100  # positions whose changes a resumed stream gets in one piece
MOST_AT_ONCE = 16 * 1024  # bytes that one stream joins and sends at once. Waiting pieces are shared by all streams
MOST_UNREAD = 1024 * 1024  # bytes in the buffer of one slow client
REMEMBERED = 30.0  # seconds for which a sent change is remembered after it was read from the log
MOST_REMEMBERED = 50_000  # changes

RESET = server_sent_event(b"{}", name=b"reset")


class Watcher:
    """One open stream: of the changes to one owner's jobs, or to all jobs if `owner` is None."""

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self.ended = False
        self.was_sent_something = False  # whether a change was sent since the stream last got a position
        self._pieces: deque[bytes] = deque()
        self._unread = 0
        self._ready = asyncio.Event()

    def put(self, piece: bytes) -> None:
        """Adds bytes to the buffer of the stream.

        A full buffer ends the stream; the client can reconnect with its last position.
        """
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
        """Waits for bytes and returns them; b"" after `timeout` seconds, or at the stream's end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), timeout)
        pieces = []
        size = 0
        while self._pieces and size < MOST_AT_ONCE:
            pieces.append(self._pieces.popleft())
            size += len(pieces[-1])
        self._unread -= size
        if not self._pieces and not self.ended:
            self._ready.clear()
        return b"".join(pieces)


class ChangesFeed:
    """All open streams of this process."""

    def __init__(self, bus: Bus, database: Database, sealer: Database | None = None) -> None:
        self._bus = bus
        self._database = database
        self._sealer = sealer
        self._of_all: set[Watcher] = set()
        self._of_owner: defaultdict[str, set[Watcher]] = defaultdict(set)
        self._watchers = 0
        self._gathered: list[tuple[str | None, bytes]] = []
        # The sent changes by job and seq. The value is the change itself until the change is read
        # from the log, and then the monotonic time of that reading.
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
        """Ends all streams."""
        self._closed = True
        for watcher in self._all_watchers():
            watcher.end()

    @contextlib.contextmanager
    def watched(self, owner: str | None) -> Iterator[Watcher]:
        self._flush()  # changes collected until now go to earlier watchers; `beginning` brings them to this one
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

    async def beginning(self, watcher: Watcher, after: int | None) -> AsyncIterator[bytes]:
        """Returns the first pieces of a stream. Call it inside `watched`.

        After this call, the stream misses no change. `after` is the client's last position. The
        pieces hold all changes after it, or a `reset` if it is too far back or higher than the last
        position of the log. There are none if `after` is None.
        """
        unplaced = {} if after is None else self._unplaced(watcher.owner)
        last = await last_position(self._database)
        if self._position is None:
            self._position = last
        return self._replay(watcher.owner, after, last, unplaced)

    def _unplaced(self, owner: str | None) -> dict[tuple[str, int], Change]:
        """Returns the changes that were sent and have no position yet.

        No query finds such changes.
        """
        return {
            place: change
            for place, change in self._sent.items()
            if isinstance(change, Change) and owner in (None, change.user_id)
        }

    async def _replay(
        self, owner: str | None, after: int | None, last: int, unplaced: dict[tuple[str, int], Change]
    ) -> AsyncIterator[bytes]:
        """Yields what `beginning` describes.

        Each piece is short, because a client may read it slowly.
        """
        if after is None:
            return
        if not 0 <= last - after <= MOST_REPLAYED - len(unplaced):
            yield RESET + _position_message(last)
            return
        for begin in range(after, last, REPLAYED_AT_ONCE):
            until = min(last, begin + REPLAYED_AT_ONCE)
            missed = [placed.change for placed in await changes(self._database, after=begin, until=until, owner=owner)]
            for change in missed:  # it may have got its position after `unplaced` was made
                unplaced.pop((change.job_id, change.seq), None)
            if missed:
                yield _messages(missed)
        rest = deque(unplaced.values())
        unplaced.clear()
        while rest:
            yield _messages([rest.popleft() for _ in range(min(len(rest), REPLAYED_AT_ONCE))])
        yield _position_message(last)

    def _begin_anew(self) -> None:
        """Forgets the position and the sent changes, because no stream is open.

        The next stream calls `beginning`, which sets the position again.
        """
        self._position = None
        self._sent.clear()

    def _hear(self, change: Change) -> None:
        if self._watchers and self._is_news(change):
            self._sent[change.job_id, change.seq] = change
            self._send(change)

    def _is_news(self, change: Change) -> bool:
        """Whether this change must be sent.

        It must be sent if no change with the same job and seq was sent. It must also be sent if a
        different one was sent and was not read from the log, because the bus may have announced
        something untrue.
        """
        sent = self._sent.get((change.job_id, change.seq))
        return sent is None or (isinstance(sent, Change) and sent != change)

    def _send(self, change: Change) -> None:
        if not self._gathered:
            asyncio.get_running_loop().call_later(GATHER, self._flush)
        self._gathered.append((change.user_id, _message(change)))

    def _flush(self) -> None:
        """Sends the collected changes.

        Their bytes are joined once for each owner, and not once for each watcher.
        """
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
                self._begin_anew()  # a query may have been running when the last watcher left
                continue
            looks += 1
            with contextlib.suppress(*DATABASE_ERRORS):
                await self._look()
                self._tell_position(everybody=looks % IDLE_LOOKS == 0)

    async def _look(self) -> None:
        if self._sealer is not None:
            with contextlib.suppress(*DATABASE_ERRORS):  # the log can be read even if the sealer's role is refused
                await seal(self._sealer)
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
        # Forgetting early may send a change twice; it never drops one.
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


def _messages(changes_: Iterable[Change]) -> bytes:
    return b"".join(map(_message, changes_))


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
    """Returns the server-sent event that tells a client the position.

    The position is the event's id, which a client remembers and sends when it reconnects. The
    event's name is `position` and not `change`, so code that handles changes does not get it. The
    event holds `{}` as data, because some clients cannot read an event without data.
    """
    return server_sent_event(b"{}", event_id=position, name=b"position")
