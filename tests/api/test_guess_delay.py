"""The delays between the tries to guess one password."""

import time
from collections.abc import Awaitable
from itertools import pairwise
from typing import cast

import pytest
from redis.asyncio import Redis

from service.accounts import guess_delay
from service.accounts.guess_delay import (
    FORGET_EVERY,
    FREE,
    LONGEST,
    MOST_KEPT,
    GuessDelays,
    Guesses,
    SharedGuessDelays,
    attempt,
)
from service.accounts.sign_in_limit import SignInLimit, TooManyTries


def after(tries: int, *, now: float = 1000.0) -> Guesses:
    kept = Guesses()
    for _ in range(tries):
        kept, wait = attempt(kept, now)
        assert not wait
    return kept


def test_the_first_tries_are_free_and_the_next_must_wait() -> None:
    kept = after(FREE)

    same, wait = attempt(kept, 1000.0)

    assert same == kept
    assert wait == 1.0


def test_each_further_try_waits_longer_and_none_longer_than_the_longest() -> None:
    kept, now, waits = after(FREE), 1000.0, []
    for _ in range(30):
        wait = attempt(kept, now)[1]
        waits.append(wait)
        now += wait
        kept, wait = attempt(kept, now)
        assert not wait

    assert all(later >= 1.4 * earlier for earlier, later in pairwise(waits[:7]))
    assert max(waits) <= LONGEST


def test_an_endless_guesser_gets_about_twenty_tries_an_hour() -> None:
    kept, now, tries = Guesses(), 0.0, 0
    while now < 24 * 3600:
        kept, wait = attempt(kept, now)
        tries += not wait
        now += wait

    assert tries <= FREE + 10 + 24 * 3600 / FORGET_EVERY


def test_wrong_passwords_are_forgotten_with_time() -> None:
    kept = after(FREE)

    assert attempt(kept, 1000.0 + FORGET_EVERY)[1] == 0.0
    assert attempt(kept, 1000.0 + FREE * FORGET_EVERY)[0].wrong == 1.0


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    assert attempt(after(3), 0.0)[1] == 0.0


def test_a_process_remembers_a_bounded_number_of_accounts() -> None:
    delays = GuessDelays()

    for number in range(MOST_KEPT + 10):
        delays.count(str(number))

    assert len(delays._kept) == MOST_KEPT


async def test_redis_and_this_process_compute_the_same_waits(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test moves the last try into the past in Redis, instead of waiting."""
    redis: Redis = Redis.from_url(redis_url)
    shared, name = SharedGuessDelays(redis), f"account-{time.monotonic_ns()}"
    kept, now = Guesses(), 1_000_000.0
    steps = [0.0] * (FREE + 2) + [0.6, 0.6, 2.5, 3.0, 300.0, 10.0, 0.0, 5000.0, *[0.0] * 25, 90_000.0, 0.0]
    for number, passed in enumerate(steps):
        now += passed
        if await redis.exists(f"rireki:guesses:{name}"):
            await cast(Awaitable[float], redis.hincrbyfloat(f"rireki:guesses:{name}", "at", -passed))
        if number % 7 == 6:
            await shared.take_back(name)
            kept = Guesses(max(0.0, kept.wrong - 1), kept.at)
        kept, wait = attempt(kept, now)

        assert await shared.count(name) == pytest.approx(wait, abs=0.4), number

    assert 0 < await redis.ttl(f"rireki:guesses:{name}") <= (FREE + 10) * FORGET_EVERY
    await redis.aclose()


async def test_the_guesses_of_one_account_are_counted_over_all_processes(redis_url: str) -> None:
    processes = [SignInLimit(redis_url), SignInLimit(redis_url)]
    account = f"account-{time.monotonic_ns()}"
    for number in range(FREE):
        await processes[number % 2].count(f"192.0.2.{number}", account)

    for process in processes:
        with pytest.raises(TooManyTries):
            await process.count("198.51.100.1", account)


async def test_without_redis_a_process_delays_by_its_own_count() -> None:
    tries = SignInLimit("redis://127.0.0.1:1")
    for number in range(FREE):
        await tries.count(f"192.0.2.{number}", "account")

    with pytest.raises(TooManyTries):
        await tries.count("198.51.100.1", "account")


async def test_foreign_data_in_redis_neither_stop_nor_free_a_sign_in(redis_url: str) -> None:
    redis: Redis = Redis.from_url(redis_url)
    account = f"account-{time.monotonic_ns()}"
    await redis.set(f"rireki:guesses:{account}", "not a hash")
    tries = SignInLimit(redis_url)
    for number in range(FREE):
        await tries.count(f"192.0.2.{number}", account)

    with pytest.raises(TooManyTries):
        await tries.count("198.51.100.1", account)
    await redis.aclose()


def test_the_rule_in_redis_takes_its_numbers_from_the_same_constants() -> None:
    assert not [number for number in (FREE, LONGEST, FORGET_EVERY) if str(int(number)) in guess_delay.DELAY]
