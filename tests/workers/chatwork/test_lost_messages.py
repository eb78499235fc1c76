"""A message sync loses no message, whatever breaks and in whatever order."""

import asyncio
import random

import pytest

from events.database import Database
from events.store import Store
from tests.chatwork_server import sandbox_of
from tests.handler_context import next_attempt
from tests.job_types import until
from tests.workers.chatwork.syncs import World, cut_off, world_of
from workers.chatwork.messages_sync import CHATWORK_MESSAGES_SYNC
from workers.outcomes import AttemptOver


async def test_a_room_is_read_with_force_at_first_and_then_without(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": ["一"]})) as world:
        await world.sync()
        await world.sync()

    assert world.forces("10") == [True, False]
    assert await world.marks() == []


async def test_a_mark_exists_from_the_request_until_its_answer_is_stored(world: World) -> None:
    held = world.sandbox.hold()
    async with world.attempt() as attempt:
        handling = attempt.start_handling()
        await held.arrived.wait()
        marks = await world.marks()
        held.release()
        await handling

    assert marks == [("10", attempt.job.id)]
    assert await world.marks() == []


async def test_messages_that_a_crashed_attempt_read_but_did_not_store_come_with_the_next_attempt(world: World) -> None:
    world.sandbox.say("10", "二")
    held = world.sandbox.hold(given=True)
    async with world.attempt() as attempt:
        handling = attempt.start_handling()
        await held.arrived.wait()
        job = await world.crash(attempt, handling)

    async with next_attempt(world.store, world.resources, CHATWORK_MESSAGES_SYNC, job) as second:
        await second.complete(await second.handle())

    assert world.forces("10") == [False, True]
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_another_syncs_store_does_not_remove_the_mark_of_a_running_attempt(world: World) -> None:
    """Two syncs overlap. The request of the first is answered last, then the first crashes.

    The second sync must not remove the mark of the first when it stores its own answer. Only that
    mark brings back the message "二", which was given only to the first sync.
    """
    of_first, of_second = world.sandbox.hold(), world.sandbox.hold(given=True)
    async with world.attempt() as first, world.attempt(roomId="10") as second:
        first_handling = first.start_handling()
        await of_first.arrived.wait()
        second_handling = second.start_handling()
        await of_second.arrived.wait()
        world.sandbox.say("10", "二")
        of_first.release(lost=True)
        await until(lambda: was_given(world, "10"))
        await world.crash(first, first_handling)
        of_second.release()
        await second_handling

    assert ("10", first.job.id) in await world.marks()
    await world.sync()
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_the_next_store_removes_the_mark_of_an_ended_attempt(world: World) -> None:
    held = world.sandbox.hold(given=True)
    async with world.attempt() as first:
        handling = first.start_handling()
        await held.arrived.wait()
        await first.cancel(world.store)
        await cut_off(handling)

    await world.sync()
    await world.sync()

    assert world.forces("10") == [False, True, False]
    assert await world.marks() == []


async def test_a_failed_request_leaves_one_mark_that_replaces_all_older_ones(world: World) -> None:
    world.sandbox.say("10", "二")
    world.sandbox.drop(times=1, given=True)
    world.sandbox.fail(status=500, times=2)
    world.sandbox.fail(status=403, times=2)
    for _ in range(3):
        await world.sync()
    marks = await world.marks()

    await world.sync()

    assert len(marks) == 1
    assert world.forces("10") == [False, True, True, True, True, True]
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_two_syncs_at_once_store_every_message_once(world: World) -> None:
    world.sandbox.say("10", "二")
    held = world.sandbox.hold(times=2, given=True)
    async with world.attempt() as first, world.attempt(roomId="10") as second:
        handlings = [first.start_handling(), second.start_handling()]

        async def both_are_out() -> bool:
            return held.waiting == 2

        await until(both_are_out)
        held.release()
        await asyncio.gather(*handlings)

    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_an_answer_that_comes_too_late_to_be_stored_leaves_a_mark_again(world: World) -> None:
    """An attempt ends while its request is unanswered, so the next sync removes its mark.

    Only then is the request answered, with a message that no other sync gets.
    """
    held = world.sandbox.hold()
    async with world.attempt() as first:
        handling = first.start_handling()
        await held.arrived.wait()
        await first.cancel(world.store)
        await world.sync()
        assert await world.marks() == []

        world.sandbox.say("10", "二")
        held.release()
        with pytest.raises(AttemptOver):
            await handling

    await world.sync()
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_a_sync_does_not_remove_a_mark_that_was_written_after_it_looked(world: World) -> None:
    """A sync sees the mark of an attempt that is over. Then the attempt writes its mark again.

    When the sync stores its answer, it must not remove the new mark, because it saw only the old
    mark.
    """
    of_first, of_second = world.sandbox.hold(), world.sandbox.hold(given=True)
    async with world.attempt() as first, world.attempt(roomId="10") as second:
        first_handling = first.start_handling()
        await of_first.arrived.wait()
        await first.cancel(world.store)
        second_handling = second.start_handling()
        await of_second.arrived.wait()
        world.sandbox.say("10", "二")
        of_first.release()
        with pytest.raises(AttemptOver):
            await first_handling
        of_second.release()
        await second_handling

    assert await world.marks() == [("10", first.job.id)]
    await world.sync()
    assert await world.bodies("10") == ["一", "二"]
    assert await world.marks() == []


async def test_an_attempt_that_is_over_sends_no_further_request(world: World) -> None:
    async with world.attempt() as attempt:
        await attempt.cancel(world.store)

        with pytest.raises(AttemptOver):
            await attempt.handle()

    assert not world.sandbox.requests
    assert await world.marks() == []


async def test_an_attempt_that_is_over_stores_nothing(world: World) -> None:
    world.sandbox.say("10", "二")
    held = world.sandbox.hold()
    async with world.attempt() as attempt:
        handling = attempt.start_handling()
        await held.arrived.wait()
        await attempt.cancel(world.store)
        held.release()
        with pytest.raises(AttemptOver):
            await handling

    assert await world.bodies("10") == ["一"]
    assert len(await world.marks()) == 1


@pytest.mark.parametrize("seed", range(6))
async def test_no_message_is_lost_whatever_breaks_in_whatever_order(store: Store, database: Database, seed: int) -> None:
    chance = random.Random(seed)
    async with world_of(store, database, sandbox_of({"10": [], "11": [], "12": []})) as world:
        said: dict[str, list[str]] = {"10": [], "11": [], "12": []}

        def somebody_says() -> None:
            room_id = chance.choice(list(said))
            said[room_id].append(f"{len(said[room_id])}")
            world.sandbox.say(room_id, said[room_id][-1])

        for _ in range(12):
            for _ in range(chance.randrange(4)):
                somebody_says()
            match chance.randrange(4):
                case 0:
                    world.sandbox.drop(given=True, times=chance.randrange(1, 4))
                case 1:
                    world.sandbox.fail(status=chance.choice([403, 500]), times=chance.randrange(1, 4))
                case 2:
                    world.sandbox.slow(chance.choice([0, 0.005]))
            syncs = [asyncio.create_task(_sync_that_may_break(world, chance)) for _ in range(chance.randrange(1, 4))]
            somebody_says()
            await asyncio.gather(*syncs)

        world.sandbox.slow(0)
        world.sandbox.stop_faults()
        await world.sync()

        assert {room_id: await world.bodies(room_id) for room_id in said} == said
        assert await world.marks() == []


async def _sync_that_may_break(world: World, chance: random.Random) -> None:
    """Runs a sync, and sometimes loses or cancels its attempt after some milliseconds."""
    async with world.attempt(**chance.choice([{}, {"roomId": "10"}, {"roomId": "11"}])) as attempt:
        handling = attempt.start_handling()
        await asyncio.wait({handling}, timeout=chance.choice([0.002, 0.01, 0.03, 1]))
        if handling.done():
            await attempt.complete(handling.result())
            return
        await (attempt.lose(world.store) if chance.random() < 0.5 else attempt.cancel(world.store))
        handling.cancel()
        await asyncio.wait({handling})


async def was_given(world: World, room_id: str) -> bool:
    """Returns whether Chatwork has given every message of the room."""
    return world.sandbox.given(room_id) == len(world.sandbox.rooms[room_id].messages)
