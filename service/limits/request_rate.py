"""LIMIT_REQUESTS: how many requests one person may send in a sliding window.

To ask Redis for every request would cost a quarter of a cheap request. So while a person is far from
the limit, a process lets a number of requests pass without asking, and reports them when it asks
again. This number is called `ahead`. Near the limit, and for every limit of up to `RESERVE`, the
process asks for each request. So one process never exceeds the limit, and each further process
exceeds it by at most a sixteenth.

Every process also keeps its own count. It is the only one without Redis, and while Redis is unreachable.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.limit_values import Rate
from service.limits.over_limit import OverLimit
from service.limits.shared_counts import SharedCounts
from service.limits.sliding_window import SlidingWindow
from service.live.batch_loader import BatchLoader

SETTING = "LIMIT_REQUESTS"
RESERVE = 100  # requests; while fewer are left, a process asks Redis for each of them
SHARE = 16  # a process may let one sixteenth of the requests beyond the reserve pass without asking Redis
# Tries of a request that Redis neither grants nor refuses: other requests took the grant, or the
# server is not Redis.
MOST_TRIES = 10
MOST_REMEMBERED = 10_000  # people; when there are more, those who have sent nothing lately are forgotten


def ahead_of(left: int) -> int:
    """Returns how many requests may pass before Redis is asked again, if `left` are allowed."""
    return max(0, left - RESERVE) // SHARE


@dataclass(slots=True)
class _Person:
    most: int
    here: SlidingWindow
    asking: int = 0
    """Requests that wait for an answer of Redis."""
    granted: int = 0
    """Requests that Redis has counted and that have not passed yet."""
    ahead: int = 0
    unreported: int = 0
    """Requests that have passed ahead, and that Redis does not know."""
    full_until: float = 0.0
    """Monotonic seconds until which Redis has no room."""


class RequestRate:
    """Counts the requests of each person."""

    def __init__(self, rate: Rate | None, shared: SharedCounts | None) -> None:
        self._rate = rate
        self._shared = shared
        self._people: dict[str, _Person] = {}
        self._asked: BatchLoader[str, bool] = BatchLoader(self._ask)

    async def count(self, person: str, *, times: int = 1) -> None:
        """Counts one request. `times` multiplies the limit.

        Raises `OverLimit`, and then counts nothing.
        """
        if self._rate is None:
            return
        known = self._people.get(person) or self._new(person, self._rate, times)
        self._must_fit(known, known.here.wait(time.monotonic(), known.most))
        if known.ahead:
            known.ahead -= 1
            known.unreported += 1
        elif self._shared is not None:
            await self._pass(person, known)
        now = time.monotonic()
        self._must_fit(known, known.here.wait(now, known.most))
        known.here.add(now)

    async def _pass(self, person: str, known: _Person) -> None:
        """Waits until Redis lets the request pass, or does not answer. Raises `OverLimit`."""
        for _ in range(MOST_TRIES):
            if known.granted:
                known.granted -= 1
                return
            self._must_fit(known, known.full_until - time.monotonic())
            known.asking += 1
            try:
                answered = await self._asked.get(person)
            finally:
                known.asking -= 1
            if not answered:
                return

    async def _ask(self, people: Sequence[str]) -> Mapping[str, bool]:
        assert self._shared is not None
        assert self._rate is not None
        known = {person: self._people[person] for person in people if person in self._people}
        # A request that the last answer granted is still in `asking` until its task runs again.
        asked = [(person, each.most, each.unreported, max(0, each.asking - each.granted)) for person, each in known.items()]
        answers = await self._shared.count_requests(self._rate.seconds, asked)
        if answers is None:
            return {}
        for each, (_, _, unreported, asking), (granted, left, wait) in zip(known.values(), asked, answers, strict=True):
            each.unreported -= unreported
            each.granted += min(max(0, granted), asking)
            each.ahead = ahead_of(min(left, each.most))
            each.full_until = time.monotonic() + min(wait, 2 * self._rate.seconds) if granted < asking else 0.0
        return dict.fromkeys(people, True)

    def _must_fit(self, known: _Person, wait: float) -> None:
        if wait <= 0:
            return
        assert self._rate is not None
        raise OverLimit(SETTING, f"one person at most {known.most} requests in any {self._rate.unit}", wait)

    def _new(self, person: str, rate: Rate, times: int) -> _Person:
        if len(self._people) >= MOST_REMEMBERED:
            self._forget_idle()
        known = self._people[person] = _Person(rate.most * times, SlidingWindow(rate.seconds))
        return known

    def _forget_idle(self) -> None:
        now = time.monotonic()
        for person, known in list(self._people.items()):
            known.here.forget(now)
            if not (known.here.total or known.asking):
                del self._people[person]
