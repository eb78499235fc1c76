"""Triggers, constraints, indexes, rules and policies of the log: dropped, switched off, weakened, or added."""

from tests.tamper.hand import TABLES, Hand

TRIGGERS = """
select tgrelid::regclass::text as table, tgname as name from pg_trigger
where not tgisinternal and tgrelid::regclass::text = any($1)
"""
CONSTRAINTS = """
select conrelid::regclass::text as table, conname as name, pg_get_constraintdef(oid) as definition from pg_constraint
where conrelid::regclass::text = any($1) and contype::text = any($2::text[]) and not exists (
    select from pg_constraint f where f.contype = 'f' and f.confrelid = pg_constraint.conrelid
)
"""
INDEXES = """
select i.indexrelid::regclass::text as name from pg_index i
where i.indrelid::regclass::text = any($1) and i.indisunique
and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
"""
GUARDED = [*TABLES, "jobs"]


async def a_trigger_dropped(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(TRIGGERS, GUARDED))
    await hand.connection.execute(f"drop trigger {found['name']} on {found['table']}")


async def a_trigger_switched_off(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(TRIGGERS, GUARDED))
    how = hand.chance.choice(["disable trigger", "enable trigger", "enable replica trigger"])
    await hand.connection.execute(f"alter table {found['table']} {how} {found['name']}")


async def a_trigger_hollowed(hand: Hand) -> None:
    name = hand.chance.choice(["refuse_to_change_the_log", "refuse_to_change_a_tile", "refuse_to_change_a_checkpoint"])
    body = "begin return coalesce(new, old); end"
    await hand.connection.execute(f"create or replace function {name}() returns trigger language plpgsql as $x$ {body} $x$")


async def a_trigger_added(hand: Hand) -> None:
    table = hand.chance.choice(["job_events", "log_tail", "log_tiles", "checkpoints"])
    await hand.connection.execute(
        f"""
        create function of_an_attacker() returns trigger language plpgsql as $x$ begin return null; end $x$;
        create trigger of_an_attacker before insert on {table} for each row execute function of_an_attacker()
        """
    )


async def a_check_dropped(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(CONSTRAINTS, GUARDED, ["c"]))
    await hand.connection.execute(f"alter table {found['table']} drop constraint {found['name']}")


async def a_key_dropped(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(CONSTRAINTS, GUARDED, ["p", "u"]))
    await hand.connection.execute(f"alter table {found['table']} drop constraint {found['name']}")


async def a_check_weakened(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(CONSTRAINTS, GUARDED, ["c"]))
    await hand.connection.execute(
        f"alter table {found['table']} drop constraint {found['name']};"
        f"alter table {found['table']} add constraint {found['name']} check (true)"
    )


async def an_index_dropped(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(INDEXES, GUARDED))
    await hand.connection.execute(f"drop index {found['name']}")


async def a_rule_added(hand: Hand) -> None:
    table = hand.chance.choice(["job_events", "log_tail", "jobs", "checkpoints"])
    await hand.connection.execute(f"create rule of_an_attacker as on delete to {table} do instead nothing")


async def row_security_added(hand: Hand) -> None:
    table = hand.chance.choice(["job_events", "log_tiles", "jobs", "checkpoints"])
    await hand.connection.execute(f"alter table {table} enable row level security")


async def a_column_weakened(hand: Hand) -> None:
    table, column = hand.chance.choice(
        [("job_events", "actor"), ("job_events", "salt"), ("log_tail", "leaf"), ("jobs", "payload")]
    )
    await hand.connection.execute(f"alter table {table} alter column {column} drop not null")
