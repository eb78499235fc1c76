"""A sync that waits for Chatwork's request budget says so in its progress, and until when."""

from datetime import UTC, datetime, timedelta
from typing import Any

from events.database import Database
from events.job import Progress
from events.store import Store
from tests.chatwork_server import client_of, resources_of, sandbox_of
from tests.handler_context import RunningAttempt, running
from tests.job_types import until
from tests.workers.chatwork.syncs import cut_off
from workers.chatwork.messages_sync import CHATWORK_MESSAGES_SYNC
from workers.chatwork.rate_limit import RateLimit
from workers.chatwork.rooms import upsert_rooms
from workers.chatwork.rooms_sync import CHATWORK_ROOMS_SYNC

ROOMS = {str(number): ["一"] for number in range(10, 15)}


def result_of(attempt: RunningAttempt) -> dict[str, Any]:
    result: Any = attempt.job.result
    return result or {}


async def waits(attempt: RunningAttempt) -> dict[str, Any]:
    await until(lambda: "waiting" in result_of(attempt))
    waiting: dict[str, Any] = result_of(attempt)["waiting"]
    return waiting


async def test_a_sync_and_the_one_behind_it_tell_what_they_wait_for_and_until_when(store: Store, database: Database) -> None:
    # The list of rooms takes one request of the four.
    rate_limit = RateLimit(database, "test", 4)
    async with (
        sandbox_of(ROOMS) as sandbox,
        client_of(sandbox, database, rate_limit=rate_limit) as chatwork,
        running(store, resources_of(database, chatwork), CHATWORK_MESSAGES_SYNC) as first,
        running(store, resources_of(database, chatwork), CHATWORK_MESSAGES_SYNC, {"roomId": "14"}) as second,
        running(store, resources_of(database, chatwork), CHATWORK_ROOMS_SYNC) as third,
    ):
        await upsert_rooms(database, (await chatwork.rooms()).items, new_rooms_active=True)
        handling = [first.start_handling()]
        told = await waits(first)
        handling += [second.start_handling(), third.start_handling()]
        told_behind = [await waits(second), await waits(third)]
        for each in handling:
            await cut_off(each)

    assert (told["for"], told["limit"], told["window"]) == ("chatwork_limit", 4, 300.0)
    left = datetime.fromisoformat(told["until"]) - datetime.now(UTC)
    assert timedelta(seconds=240) < left <= timedelta(seconds=306)
    assert [each["until"] for each in told_behind] == [told["until"]] * 2
    assert result_of(second)["processedRooms"] == 0


async def test_after_the_wait_the_progress_no_longer_tells_it(store: Store, database: Database) -> None:
    rate_limit = RateLimit(database, "test", 4, window=4.0, lapse=0.4, slack=0.1)
    async with (
        sandbox_of(ROOMS) as sandbox,
        client_of(sandbox, database, rate_limit=rate_limit) as chatwork,
        running(store, resources_of(database, chatwork), CHATWORK_MESSAGES_SYNC) as attempt,
    ):
        await upsert_rooms(database, (await chatwork.rooms()).items, new_rooms_active=True)
        result: Any = await attempt.handle()
        events = [recorded.event for recorded in await store.history.events(attempt.job.id)]

    reports: list[Any] = [event.result for event in events if isinstance(event, Progress)]
    assert any("waiting" in report for report in reports)
    assert reports[-1] == {"totalRooms": 5, "processedRooms": 5}
    assert "waiting" not in result


async def test_a_sync_within_the_budget_never_waits(store: Store, database: Database) -> None:
    async with (
        sandbox_of(ROOMS) as sandbox,
        client_of(sandbox, database, rate_limit=RateLimit(database, "test", 6)) as chatwork,
        running(store, resources_of(database, chatwork), CHATWORK_MESSAGES_SYNC) as attempt,
    ):
        await upsert_rooms(database, (await chatwork.rooms()).items, new_rooms_active=True)
        await attempt.handle()

        assert chatwork.budget.resumes_at is None
        state = await chatwork.budget.state()
        assert (state.used, state.limit, state.blocked_until) == (6, 6, None)
        assert all("waiting" not in str(recorded.event) for recorded in await store.history.events(attempt.job.id))


async def test_a_budget_that_nobody_used_is_empty_and_a_pause_is_told(database: Database) -> None:
    rate_limit = RateLimit(database, "nobody", 300)
    unused = await rate_limit.state()
    await rate_limit.block(60)
    paused = await rate_limit.state()

    assert (unused.used, unused.next_free_at, unused.blocked_until) == (0, None, None)
    assert paused.used == 0
    assert paused.blocked_until is not None
    assert paused.blocked_until > datetime.now(UTC)
