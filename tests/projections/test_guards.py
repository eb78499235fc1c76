"""A guard of the log (such as a trigger) that is missing, off or foreign is found by name.

`python -m tests.projections.test_guards` writes `projections/guards.json` anew, after a migration of the log.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from events.audit_findings import FindingName
from events.database import Connection, Database, connect
from events.store import Store
from migrations.migrate import migrate
from projections import guards
from projections.verify import verify
from tests.histories import give_positions, new
from tests.projections.conftest import superuser
from tests.servers import debians_server, postgres_server

__all__ = ["superuser"]

VERSIONS = (18, 16, 15)


async def guards_of(url: str) -> dict[str, str]:
    connection = await connect(url)
    try:
        return await guards.guards(connection)
    finally:
        await connection.close()


@pytest.fixture(params=VERSIONS)
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yields a new migrated database, on each version of PostgreSQL on this machine."""
    if request.param == 15 and not debians_server(15).is_file():
        pytest.skip("Debian's PostgreSQL 15 is not installed here")
    with postgres_server(version=request.param) as url:
        migrate(url)
        yield url


def test_guards_json_lists_the_guards_that_the_migrations_make(fresh_url: str) -> None:
    assert asyncio.run(guards_of(fresh_url)) == dict(guards.EXPECTED)


CHANGES = {
    "a trigger that is gone": "drop trigger events_are_never_changed on job_events",
    "a trigger against truncation that is gone": "drop trigger events_are_never_truncated on job_events",
    "a trigger that is off": "alter table job_events disable trigger events_are_never_changed",
    "triggers that a replica does not fire": "alter table job_events enable trigger events_are_never_truncated",
    "triggers that only a replica fires": "alter table job_events enable replica trigger events_are_never_truncated",
    "all triggers that are off": "alter table job_events disable trigger all",
    "a trigger that refuses nothing": (
        "create or replace function refuse_to_change_the_log() returns trigger language plpgsql as 'begin return new; end'"
    ),
    "a trigger with another condition": """
        create or replace trigger events_are_never_changed before update or delete on job_events
        for each row when (old.seq > 1000) execute function refuse_to_change_the_log();
        alter table job_events enable always trigger events_are_never_changed
    """,
    "a stranger's trigger": """
        create function drop_it() returns trigger language plpgsql as 'begin return null; end';
        create trigger zz before insert on job_events for each row execute function drop_it()
    """,
    "a check that is gone": "alter table job_events drop constraint an_event_is_one_of_six",
    "the check of actors that is gone": "alter table job_events drop constraint an_actor_is_a_user_a_worker_or_the_system",
    "a check that is weaker": """
        alter table job_events drop constraint seq_begins_at_1;
        alter table job_events add constraint seq_begins_at_1 check (seq >= 0)
    """,
    "a check that is not validated": """
        alter table job_events drop constraint seq_begins_at_1;
        alter table job_events add constraint seq_begins_at_1 check (seq >= 1) not valid
    """,
    "a primary key that is gone": "alter table job_events drop constraint an_event_has_its_own_place_in_the_history",
    "a unique index that is gone": "drop index an_attempt_starts_once",
    "a unique index that is not unique": """
        drop index job_events_by_event_id; create index job_events_by_event_id on job_events (event_id)
    """,
    "a unique index that is invalid": """
        update pg_index set indisvalid = false where indexrelid = 'an_attempt_starts_once'::regclass
    """,
    "old positions of which two may have one event": "alter table job_event_log_rows drop constraint an_event_has_one_position",
    "the table of old positions without its primary key": "alter table job_event_log_rows drop constraint job_event_log_pkey",
    "the table of tiles without its primary key": "alter table log_tiles drop constraint a_tile_is_kept_once",
    "tiles that may be changed": "drop trigger tiles_are_never_changed on log_tiles",
    "rows of the tail that may be deleted": "alter table log_tail disable trigger the_tail_is_kept_until_it_is_a_tile",
    "a cursor that any sealer may move": "drop trigger the_cursor_moves_by_turns on job_event_log_cursor",
    "checkpoints that may be changed": "drop trigger checkpoints_are_only_copied on checkpoints",
    "checkpoints that may shrink": "alter table checkpoints disable trigger checkpoints_grow",
    "a size that may have two roots": "alter table checkpoints drop constraint a_size_of_a_log_has_one_root cascade",
    "origins that may be changed": "drop trigger origins_are_never_changed on log_origins",
    "cosignatures that may be changed": "drop trigger cosignatures_are_never_changed on cosignatures",
    "redactions that may be changed": "drop trigger redactions_are_never_changed on redactions",
    "a column that may be null": "alter table job_events alter column salt drop not null",
    "a column of another type": "alter table job_events alter column attempt type bigint",
    "a column without its default": "alter table job_events alter column xid drop default",
    "a table of the log that a crash empties": "alter table log_tiles set unlogged",
    "row security": "alter table job_events enable row level security",
    "a policy": "create policy one on job_events using (seq > 1)",
    "a rule that drops appends": "create rule none as on insert to job_events do instead nothing",
    "a rule on the tail of the log": "create rule none as on delete to log_tail do instead nothing",
    "a table that inherits from the log": "create table more () inherits (job_events)",
    "a view without the check of its status": "alter table jobs drop constraint a_status_is_one_of_five",
    "a view without the index of unique keys": "drop index only_one_active_job_of_this_kind",
    "row security of the view": "alter table jobs enable row level security",
    "a rule on the view": "create rule none as on update to jobs do instead nothing",
    "a cursor without its primary key": "alter table job_event_log_cursor drop constraint job_event_log_cursor_pkey",
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_changed_guard_is_found(store: Store, database: Database, superuser: Connection, what: str) -> None:
    await store.create(new(), actor="user:x")
    await give_positions(database)
    await superuser.execute(CHANGES[what])

    verified = await verify(database)

    assert {finding.name for finding in verified.findings} == {FindingName.GUARD_MISSING}


HARMLESS = {
    "a check that is validated later": ("alter table job_events validate constraint an_actor_is_a_user_a_worker_or_the_system"),
    "a column of a later version": "alter table job_events add column more text",
    "a further index": "create index more on jobs (worker, id); create unique index most on jobs (id, seq)",
    "a further check": "alter table jobs add constraint more check (seq > 0)",
    "rights": "grant select on job_events to pg_monitor",
}


@pytest.mark.parametrize("what", HARMLESS)
async def test_a_further_or_equally_strict_guard_is_no_finding(database: Database, superuser: Connection, what: str) -> None:
    await superuser.execute(HARMLESS[what])

    assert (await verify(database)).findings == []


async def test_a_rebuilt_view_has_the_same_guards(database: Database) -> None:
    from projections.rebuild import rebuild

    await rebuild(database, lambda type, payload, user_id: None)

    assert (await verify(database)).findings == []


if __name__ == "__main__":
    with postgres_server() as address:
        migrate(address)
        found = asyncio.run(guards_of(address))
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    (Path(guards.__file__).parent / "guards.json").write_bytes(text)
