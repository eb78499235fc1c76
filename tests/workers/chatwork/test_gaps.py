"""An answer opens, keeps or closes a gap in a room's messages; the gaps are shown."""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.database import Database
from events.store import Store
from tests.chatwork_server import START, sandbox_of
from tests.handler_context import next_attempt
from tests.job_types import until
from tests.workers.chatwork.syncs import World, cut_off, world_of
from workers.chatwork.answers import ChatworkMessage, MessagesAnswer
from workers.chatwork.gaps import Gap, Stored, gaps_after
from workers.chatwork.messages_sync import CHATWORK_MESSAGES_SYNC
from workers.chatwork.sandbox import Sandbox

FOUND_AT = datetime(2026, 11, 24, tzinfo=UTC)


def at(number: int) -> datetime:
    return datetime.fromtimestamp(START + number, UTC)


def answer(numbers: Iterable[int], *, forced: bool = False, limited: bool = False) -> MessagesAnswer:
    items = tuple(ChatworkMessage(str(number), "佐藤", "了解です", at(number)) for number in numbers)
    ids = tuple(each.message_id for each in items)
    return MessagesAnswer(items, given=len(items), message_ids=ids, is_limited=limited, is_forced=forced)


def gap(after: int | None, before: int | None, reason: str = "over_100", *, job_id: str | None = None) -> Gap:
    after_id, after_at = (None, None) if after is None else (str(after), at(after))
    before_id, before_at = (None, None) if before is None else (str(before), at(before))
    return Gap(after_id, before_id, reason, after_at, before_at, job_id, FOUND_AT)


def stored(below: int | None = None, *, overlaps: bool = False) -> Stored:
    return Stored(overlaps, None, None) if below is None else Stored(overlaps, str(below), at(below))


def after(gaps: list[Gap], given: MessagesAnswer, known: Stored) -> list[Gap]:
    return gaps_after(gaps, given, known, job_id=None, at=FOUND_AT)


def hundred(first: int) -> range:
    return range(first, first + 100)


@pytest.mark.parametrize(
    ("given", "known", "found"),
    [
        (answer(hundred(71)), stored(50), gap(50, 71)),
        (answer(hundred(51)), stored(50), gap(50, 51)),
        (answer(hundred(71), forced=True), stored(50), gap(50, 71)),
        (answer(hundred(71), forced=True), stored(), gap(None, 71)),
        (answer(hundred(41), forced=True), stored(40, overlaps=True), None),
        (answer(range(71, 170)), stored(50), None),
        (answer(range(71, 170), forced=True), stored(), None),
        (answer([], forced=True), stored(), None),
        (answer([9, 8], limited=True, forced=True), stored(), gap(None, 8, "plan")),
        (answer([9, 8], limited=True), stored(5), gap(5, 8, "plan")),
        (answer(hundred(71), limited=True), stored(50), gap(50, 71, "plan")),
        (answer([9, 8], limited=True, forced=True), stored(5, overlaps=True), None),
        (answer([9, 8], limited=True, forced=True), stored(overlaps=True), gap(None, 8, "plan")),
        (answer([], limited=True, forced=True), stored(), gap(None, None, "plan")),
        (answer([], limited=True, forced=True), stored(5), gap(5, None, "plan")),
        (answer([], limited=True), stored(5), None),
    ],
)
def test_an_answer_opens_a_gap_only_if_messages_may_be_missing(given: MessagesAnswer, known: Stored, found: Gap | None) -> None:
    assert after([], given, known) == ([] if found is None else [found])


@pytest.mark.parametrize(
    ("before", "given", "left"),
    [
        # An answer that is not full has all messages of the room. It closes a gap that it reaches.
        (gap(50, 71), answer(range(80, 90), forced=True), gap(50, 71)),
        (gap(50, 71), answer(range(60, 90), forced=True), None),
        (gap(None, 71), answer(range(60, 90), forced=True), None),
        # A full answer closes the part of a gap that it covers.
        (gap(50, 71), answer(hundred(60), forced=True), gap(50, 60)),
        (gap(50, 71), answer(hundred(50), forced=True), None),
        (gap(None, 71), answer(hundred(60), forced=True), gap(None, 60)),
        (gap(50, 71), answer(hundred(71), forced=True), gap(50, 71)),
        (gap(50, 71), answer(hundred(72), forced=True), gap(50, 71)),
        # Chatwork made this answer before the message at the gap's end was written.
        (gap(50, 710), answer(hundred(60), forced=True), gap(50, 710)),
        # An answer to an unforced request says nothing about older messages.
        (gap(50, 71), answer(hundred(60)), gap(50, 71)),
        # If the plan withheld all messages, the gap ends at the first message that is given later.
        (gap(5, None, "plan"), answer([9, 8]), gap(5, 8, "plan")),
        (gap(None, None, "plan"), answer([9, 8], limited=True), gap(None, 8, "plan")),
        (gap(5, None, "plan"), answer([9, 3], forced=True), None),
        (gap(5, None, "plan"), answer([]), gap(5, None, "plan")),
    ],
)
def test_a_gap_shrinks_or_closes_only_if_an_answer_proves_it(before: Gap, given: MessagesAnswer, left: Gap | None) -> None:
    assert after([before], given, stored(overlaps=True)) == ([] if left is None else [left])


def test_a_gap_found_twice_is_stored_once_and_belongs_to_the_later_job() -> None:
    found = gaps_after([], answer(hundred(71)), stored(50), job_id="a", at=FOUND_AT)
    again = gaps_after(found, answer(hundred(71)), stored(50), job_id="b", at=FOUND_AT + timedelta(days=1))

    assert again == [gap(50, 71, job_id="b")]


def test_a_gap_touches_the_periods_in_which_something_may_be_missing() -> None:
    one = gap(50, 71)

    assert one.touches(at(0), at(51))
    assert one.touches(at(71), at(99))
    assert not one.touches(at(0), at(50))
    assert not one.touches(at(72), at(99))
    assert gap(None, 71).touches(at(-99), at(-98))
    assert gap(5, None).touches(at(900), at(901))


minutes = itertools.count()


def say(sandbox: Sandbox, count: int, room_id: str = "10") -> list[str]:
    return [sandbox.say(room_id, "了解です", at=START + 60 * next(minutes)) for _ in range(count)]


def told(after: str | None, before: str | None, reason: str = "over_100") -> dict[str, Any]:
    return {"roomId": "10", "afterMessageId": after, "beforeMessageId": before, "reason": reason}


async def kept(world: World) -> list[dict[str, Any]]:
    return [gap.to_json("10") for gap in (await world.rooms())["10"].gaps]


async def test_170_messages_since_the_last_sync_leave_a_gap(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": [], "11": ["一"]})) as world:
        first = say(world.sandbox, 5)
        await world.sync()
        new = say(world.sandbox, 170)
        result = await world.sync()
        later = await world.sync()
        gaps = await kept(world)

    assert result["gaps"] == gaps == [told(first[-1], new[70])]
    assert later["gaps"] == []


async def test_a_room_whose_first_answer_has_100_messages_gets_a_gap(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": [], "11": []})) as world:
        said = say(world.sandbox, 100)
        say(world.sandbox, 99, "11")
        result = await world.sync()

    assert result["gaps"] == [told(None, said[0])]


async def test_several_gaps_are_kept_newest_first_and_an_overlapping_answer_opens_none(
    store: Store, database: Database
) -> None:
    async with world_of(store, database, sandbox_of({"10": []})) as world:
        first = say(world.sandbox, 130)
        await world.sync()
        second = say(world.sandbox, 101)
        await world.sync()
        say(world.sandbox, 60)
        # The answer is lost, so the sync asks for the newest 100 again, and 40 of them are stored
        # already.
        world.sandbox.drop(given=True)
        overlapping = await world.sync()
        gaps = await kept(world)

    assert overlapping["gaps"] == []
    assert gaps == [told(first[-1], second[1]), told(None, first[30])]


async def test_messages_that_the_plan_withholds_are_a_gap(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": []})) as world:
        said = say(world.sandbox, 20)
        world.sandbox.withhold("10", newest=3)
        first = await world.sync()
        new = say(world.sandbox, 5)
        second = await world.sync()

    assert first["gaps"] == [told(None, said[17], "plan")]
    assert second["gaps"] == [told(said[19], new[2], "plan")]


async def test_a_room_whose_messages_the_plan_all_withholds_has_a_gap(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": []})) as world:
        say(world.sandbox, 20)
        world.sandbox.withhold("10", newest=0)
        first = await world.sync()
        world.sandbox.withhold("10", newest=1)
        new = say(world.sandbox, 1)
        await world.sync()
        gaps = await kept(world)

    assert first["gaps"] == [told(None, None, "plan")]
    assert gaps == [told(None, new[0], "plan")]


async def test_a_gap_found_by_an_attempt_that_failed_later_is_in_the_jobs_result(store: Store, database: Database) -> None:
    async with world_of(store, database, sandbox_of({"10": [], "11": ["一"]})) as world:
        said = say(world.sandbox, 120)
        held = world.sandbox.hold(room_id="11", given=True)
        async with world.attempt() as attempt:
            handling = attempt.start_handling()
            await held.arrived.wait()
            await until(lambda: has_a_gap(world))
            job = await attempt.lose(store)
            await cut_off(handling)
        async with next_attempt(store, world.resources, CHATWORK_MESSAGES_SYNC, job) as second:
            result = await second.handle()

    assert result["gaps"] == [told(None, said[20])]


async def test_two_syncs_whose_answers_are_stored_in_reverse_order_hide_no_gap(store: Store, database: Database) -> None:
    """The older answer is full. The newer answer has newer messages and is stored first."""
    async with world_of(store, database, sandbox_of({"10": []})) as world:
        first = say(world.sandbox, 5)
        await world.sync()
        new = say(world.sandbox, 170)
        held = world.sandbox.hold(given=True)
        async with world.attempt() as older, world.attempt(roomId="10") as newer:
            older_handling = older.start_handling()
            await held.arrived.wait()
            say(world.sandbox, 1)
            await newer.handle()
            held.release()
            await older_handling
        gaps, bodies = await kept(world), await world.bodies("10")

    assert gaps == [told(first[-1], new[71])]
    assert len(bodies) == 5 + 101


async def has_a_gap(world: World) -> bool:
    return bool(await kept(world))
