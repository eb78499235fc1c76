"""A verification of new events checks only these events, and the root of all earlier ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from events.database import Connection, Database
from events.store import Store
from projections.verify import verify
from projections.verifying.state import UnreadableState, VerifiedTo, path_of, read_state, write_state
from tests.histories import completing, give_positions, new, starting
from tests.projections.conftest import superuser
from tests.projections.histories_in_log import one_of_each, unguarded, unique_key

__all__ = ["superuser"]

ROUNDS = 10  # of about 30 events, so that there is a full tile


@pytest.fixture
async def state(store: Store, database: Database) -> VerifiedTo:
    for turn in range(ROUNDS):
        await one_of_each(store, f"{turn} ")
    await give_positions(database)
    verified = await verify(database, unique_key=unique_key)
    assert verified.state is not None
    return verified.state


async def since(database: Database, state: VerifiedTo, **more: Any) -> tuple[set[str], int, int, VerifiedTo | None]:
    verified = await verify(database, unique_key=unique_key, since=state, **more)
    return {name.value for name in verified.counts}, verified.events, verified.since, verified.state


async def test_only_jobs_with_new_events_are_verified_and_the_next_time_begins_there(
    state: VerifiedTo, store: Store, database: Database
) -> None:
    job = await store.create(new(), actor="user:x")
    await store.append(job, starting(), actor="worker:w1")
    await give_positions(database)

    names, events, begins, after = await since(database, state)
    again = await since(database, after or state)

    assert (names, events, begins) == (set(), 2, state.size)
    assert after is not None
    assert after.size == state.size + 2
    assert (again[0], again[1]) == (set(), 0)


async def test_with_more_processes_the_result_is_the_same(state: VerifiedTo, store: Store, database: Database) -> None:
    await one_of_each(store, "more ")
    await give_positions(database)

    whole = await verify(database, unique_key=unique_key, processes=2)
    names, events, _, after = await since(database, state, processes=2)

    assert (whole.count, names) == (0, set())
    assert events < whole.events
    assert after == whole.state


async def test_a_new_event_that_was_changed_is_found(
    state: VerifiedTo, store: Store, database: Database, superuser: Connection
) -> None:
    job = await store.create(new(), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")
    await store.append(job, completing(1), actor="worker:w1")
    await give_positions(database)
    async with unguarded(superuser):
        await superuser.execute("update job_events set data = '{\"result\":2}' where job_id = $1 and seq = 3", job.id)

    names, _, _, after = await since(database, state)

    assert names == {"MODIFIED", "VIEW_DRIFT"}
    assert after is None


async def test_a_beginning_whose_tiles_were_changed_is_inconsistent(
    state: VerifiedTo, database: Database, superuser: Connection
) -> None:
    async with unguarded(superuser):
        await superuser.execute("update log_tiles set root = sha256('') where tile = 0")

    assert "INCONSISTENT" in (await since(database, state))[0]


async def test_a_log_that_is_shorter_than_before_is_truncated(
    state: VerifiedTo, database: Database, superuser: Connection
) -> None:
    assert "TRUNCATED_TAIL" in (await since(database, replace(state, size=state.size + 5)))[0]


async def test_an_order_that_cannot_be_compared_is_verified_from_the_beginning(state: VerifiedTo, database: Database) -> None:
    for other in (replace(state, epoch=7), replace(state, origin="rireki/another")):
        names, events, begins, _ = await since(database, other)

        assert (names, begins) == (set(), 0)
        assert events == state.size


def test_the_state_is_kept_in_a_file_of_its_log(tmp_path: Path) -> None:
    state = VerifiedTo("rireki/1", 5, bytes(32), 0, 700, 9, 12345)
    write_state(tmp_path / "home", state)

    assert read_state(tmp_path / "home", "rireki/1") == state
    assert read_state(tmp_path / "home", "rireki/2") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"origin": "rireki/1"}', "x" * 20_000])
def test_a_state_that_cannot_be_read_says_what_to_do(tmp_path: Path, text: str) -> None:
    path_of(tmp_path, "rireki/1").write_text(text)

    with pytest.raises(UnreadableState, match="verify everything once"):
        read_state(tmp_path, "rireki/1")
