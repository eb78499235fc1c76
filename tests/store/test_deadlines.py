"""One timer serves many deadlines: each item is late on time, a removed item never is."""

import asyncio

from events.concurrency import Deadlines

SECONDS = 0.05


async def test_each_item_is_reported_late_at_its_time_and_in_order() -> None:
    loop, late = asyncio.get_running_loop(), asyncio.Queue[tuple[str, float]]()
    deadlines = Deadlines[str](SECONDS, lambda name: late.put_nowait((name, loop.time())))
    began = {}
    for name in ("a", "b", "c"):
        began[name] = loop.time()
        deadlines.add(name)
        await asyncio.sleep(SECONDS / 5)

    for name in ("a", "b", "c"):
        come, at = await asyncio.wait_for(late.get(), 10)

        assert come == name
        assert at >= began[name] + SECONDS


async def test_a_removed_item_is_never_reported_late_but_the_next_one_is() -> None:
    late = asyncio.Queue[str]()
    deadlines = Deadlines(SECONDS, late.put_nowait)
    for name in ("a", "b"):
        deadlines.add(name)
    deadlines.remove("a")
    deadlines.remove("a")

    assert await asyncio.wait_for(late.get(), 10) == "b"
    assert late.empty()

    deadlines.add("c")

    assert await asyncio.wait_for(late.get(), 10) == "c"
