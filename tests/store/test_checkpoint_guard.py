"""Nobody can change or delete checkpoints, origins, cosignatures and redactions."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from events.database import Connection, connect
from migrations.migrate import migrate
from tests.process.test_migrations import ask, empty_url

__all__ = ["empty_url"]

REFUSED = [
    "update log_origins set origin = 'another'",
    "delete from log_origins",
    "truncate log_origins cascade",
    "update checkpoints set root = decode(repeat('22', 32), 'hex')",
    "update checkpoints set copied_at = now(), note = 'another'",
    "update checkpoints set copied_at = now(), size = 9",
    "update checkpoints set signed_at = now() where size = 1",
    "update checkpoints set copied_at = now() where size = 3",
    "update checkpoints set copied_at = null where size = 3",
    "delete from checkpoints",
    "truncate checkpoints cascade",
    "insert into checkpoints (origin, size, root, note) select origin, 2, root, note from checkpoints where size = 1",
    "insert into checkpoints (origin, size, root, note) select origin, 5, root, note from checkpoints where size = 4",
    """
    insert into checkpoints (origin, size, root, note) select origin, size, root, note from checkpoints
    on conflict (origin, size) do update set note = 'another'
    """,
    "update cosignatures set line = 'another'",
    "delete from cosignatures",
    "truncate cosignatures",
    "update redactions set note = 'another'",
    "delete from redactions",
    "truncate redactions",
]

ROWS = """
insert into log_origins (number, origin) select 1, 'old' where not exists (select from log_origins);
insert into checkpoints (origin, size, root, note) select origin, 4, decode(repeat('11', 32), 'hex'), 'four' from log_origins;
insert into log_origins (number, origin, reason, old_origin) select 2, 'next', 'a restore', origin from log_origins;
insert into checkpoints (origin, size, root, note) values
    ('next', 1, decode(repeat('11', 32), 'hex'), 'one'), ('next', 3, decode(repeat('11', 32), 'hex'), 'three');
update checkpoints set copied_at = now() where origin = 'next' and size = 3;
insert into cosignatures (origin, size, witness, line) values ('next', 3, 'w', 'line');
insert into redactions (position, note) values (1, 'note');
"""

EVERYTHING = """
select array(select o::text from log_origins o order by 1) || array(select c::text from checkpoints c order by 1)
    || array(select s::text from cosignatures s) || array(select r::text from redactions r)
"""


@pytest.fixture
async def superuser(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("statement", REFUSED)
@pytest.mark.parametrize("as_replica", [False, True], ids=["ordinarily", "as a replica does"])
async def test_what_was_signed_is_never_changed(superuser: Connection, statement: str, as_replica: bool) -> None:
    await superuser.execute(ROWS)
    before = await superuser.fetchval(EVERYTHING)
    if as_replica:
        await superuser.execute("set session_replication_role = replica")

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"is append-only: |a new checkpoint must be of the current"):
        await superuser.execute(statement)

    assert await superuser.fetchval(EVERYTHING) == before


async def test_the_time_of_the_copy_is_added_once(superuser: Connection) -> None:
    await superuser.execute(ROWS)

    await superuser.execute("update checkpoints set copied_at = now() where copied_at is null")

    assert await superuser.fetchval("select count(*) from checkpoints where copied_at is null") == 0


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ("3, 'a b', 'x', 'next'", "an_origin_can_name_a_key"),
        ("3, 'a+b', 'x', 'next'", "an_origin_can_name_a_key"),
        ("3, '', 'x', 'next'", "an_origin_can_name_a_key"),
        ("3, 'next', 'x', 'next'", "a_log_has_its_own_origin"),
        ("3, 'c', null, 'next'", "a_later_log_has_a_reason"),
        ("3, 'c', 'x', null", "only_a_later_log_has_a_log_before"),
        ("2, 'c', 'x', 'next'", "a_log_has_its_own_number"),
        ("3, 'c', 'x', 'unknown'", "an_old_log_is_known"),
    ],
)
async def test_an_origin_that_breaks_a_rule_is_refused_by_the_rules_name(superuser: Connection, values: str, rule: str) -> None:
    await superuser.execute(ROWS)

    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await superuser.execute(f"insert into log_origins (number, origin, reason, old_origin) values ({values})")

    assert refused.value.constraint_name == rule


def test_the_first_migrate_names_the_log_and_later_ones_do_not(empty_url: str) -> None:
    migrate(empty_url, origin="log.example.com/履歴")
    migrate(empty_url, origin="another")

    assert [tuple(row) for row in ask(empty_url, "select number, origin from log_origins")] == [(1, "log.example.com/履歴")]


def test_without_a_name_each_log_gets_a_random_one(empty_url: str) -> None:
    migrate(empty_url)

    (row,) = ask(empty_url, "select origin, origin ~ '^rireki/[0-9a-f]{16}$' as random from log_origins")
    assert row["random"], row["origin"]
