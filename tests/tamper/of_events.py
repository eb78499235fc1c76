"""Changes, removals and insertions of events, with and without new positions."""

from typing import Any

from tests.histories import give_positions
from tests.tamper.hand import Hand

NEW_JOB = "gen_random_uuid()"
COMPLETED = "type = 'completed'"
NEWEST_OF_ITS_JOB = "not exists (select from job_events n where n.job_id = e.job_id and n.seq > e.seq)"
FOLLOWED = f"type = 'progress' and not {NEWEST_OF_ITS_JOB}"
INSERT = """
insert into job_events (event_id, job_id, seq, attempt, type, data, salt, actor, at, xid)
select coalesce($3, nextval('job_event_ids')), job_id, seq + 1, attempt, 'progress', '{"result":1}', salt, actor, at,
    coalesce($4::text::xid8, xid)
from job_events where job_id = $1 and seq = $2
"""


async def result(hand: Hand) -> None:
    event = await hand.event(COMPLETED)
    await hand.edit(event, "data = json_build_object('result', $3::int)::jsonb::text::json", hand.chance.randrange(2, 10**6))
    await hand.edit(event, "data = replace(data::text, ': ', ':')::json")
    await hand.fit_view(event["job_id"])


async def payload(hand: Hand) -> None:
    event = await hand.event("seq = 1")
    await hand.edit(event, """data = replace(data::text, '"key":"', '"key":"other ')::json""")
    await hand.fit_view(event["job_id"])


async def actor(hand: Hand) -> None:
    event = await hand.event("actor like 'user:%'")
    await hand.edit(event, "actor = $3", f"user:{hand.chance.randrange(10**6)}")


async def request_id(hand: Hand) -> None:
    await hand.edit(await hand.event(), "request_id = $3", f"request-{hand.chance.randrange(10**6)}")


async def cause(hand: Hand) -> None:
    await hand.edit(await hand.event(), "cause = $3", f"webhook:{hand.chance.randrange(10**6)}")


async def time(hand: Hand) -> None:
    event = await hand.event("seq > 1")
    await hand.edit(event, "at = at + make_interval(secs => $3)", hand.chance.choice([1e-6, -1e-6, 0.5, 3600, 86400]))
    await hand.fit_view(event["job_id"])


async def salt(hand: Hand) -> None:
    await hand.edit(await hand.event(), "salt = $3", hand.chance.randbytes(16))


async def attempt(hand: Hand) -> None:
    event = await hand.event("type = 'progress'")
    await hand.edit(event, "attempt = attempt + 1")


async def kind(hand: Hand) -> None:
    event = await hand.event(COMPLETED)
    await hand.edit(event, """type = 'canceled', data = '{"reason":"asked"}'""")
    await hand.fit_view(event["job_id"])


async def number(hand: Hand) -> None:
    event = await hand.event("seq = 2 and position < 600")
    await hand.edit(event, "seq = $3", hand.chance.randrange(100, 10**6))


async def job_id(hand: Hand) -> None:
    event = await hand.event("position < 500")
    await hand.edit(event, f"job_id = {NEW_JOB}")


async def extra_key(hand: Hand) -> None:
    event = await hand.event()
    await hand.edit(event, """data = (left(data::text, -1) || ',"more":1}')::json""")


async def json_in_another_form(hand: Hand) -> None:
    event = await hand.event("data like '%,%'")
    await hand.edit(event, "data = replace(data::text, ',\"', ', \"')::json")


async def event_id(hand: Hand) -> None:
    await hand.edit(await hand.event(), "event_id = nextval('job_event_ids') + $3", hand.chance.randrange(1000))


async def transaction(hand: Hand) -> None:
    event = await hand.event("position > 1")
    await hand.edit(event, "xid = '3'")


async def users_renamed(hand: Hand) -> None:
    await hand.execute("update job_events set actor = 'user:another' where actor = 'user:x'")


async def workers_renamed(hand: Hand) -> None:
    worker = hand.chance.choice(["w1", "w2", "w3", "w4"])
    await hand.execute(
        "update job_events set actor = 'worker:another', data = replace(data::text, $1, 'another')::json where actor = $2",
        worker, f"worker:{worker}",
    )  # fmt: skip
    await hand.execute("update jobs set worker = 'another' where worker = $1", worker)


async def erased_without_note(hand: Hand) -> None:
    event = await hand.event(COMPLETED)
    await hand.edit(event, """data = '{"result":null}', salt = decode(repeat('00', 16), 'hex')""")
    await hand.fit_view(event["job_id"])


async def one_event_removed(hand: Hand) -> None:
    await _remove(hand, [await hand.event(FOLLOWED)])


async def the_last_event_of_a_job_removed(hand: Hand) -> None:
    await _remove(hand, [await hand.event(f"{NEWEST_OF_ITS_JOB} and seq > 1 and position < 600")])


async def one_event_removed_and_its_job_renumbered(hand: Hand) -> None:
    event = await hand.event(FOLLOWED)
    await _remove(hand, [event])
    await _renumber(hand, event)


async def one_event_removed_and_all_renumbered(hand: Hand) -> None:
    event = await hand.event(f"{FOLLOWED} and position < 600")
    await _remove(hand, [event])
    await _renumber(hand, event)
    await hand.reseal()


async def a_job_removed(hand: Hand) -> None:
    event = await hand.event("position < 600")
    await _remove(hand, await hand.events(f"job_id = '{event['job_id']}'"))


async def a_job_removed_and_all_renumbered(hand: Hand) -> None:
    await a_job_removed(hand)
    await hand.reseal()


async def a_range_removed(hand: Hand) -> None:
    first = hand.chance.randrange(1, 500)
    await _remove(hand, await hand.events(f"position between {first} and {first + hand.chance.randrange(100)}"))


async def a_range_removed_and_all_renumbered(hand: Hand) -> None:
    await a_range_removed(hand)
    await hand.reseal()


async def the_tail_removed(hand: Hand) -> None:
    last = await hand.last_position()
    await _remove(hand, await hand.events(f"position > {hand.chance.randrange(last)}"))


async def the_tail_removed_with_its_positions(hand: Hand) -> None:
    await the_tail_removed(hand)
    await hand.reseal()


async def everything_removed(hand: Hand) -> None:
    await hand.execute("delete from job_events; delete from jobs")


async def the_tail_removed_with_its_checkpoints(hand: Hand) -> None:
    await the_tail_removed_with_its_positions(hand)
    await hand.forget_checkpoints(await hand.last_position())


async def changed_and_sealed_again(hand: Hand) -> None:
    await hand.chance.choice([result, actor, users_renamed, workers_renamed, payload])(hand)
    await hand.reseal()


async def changed_and_sealed_again_without_checkpoints(hand: Hand) -> None:
    await changed_and_sealed_again(hand)
    await hand.forget_checkpoints()


async def inserted_in_the_past(hand: Hand) -> None:
    event = await hand.event("type = 'progress' and position > 40")
    await hand.execute(
        INSERT.replace("seq + 1", "seq + 100"), event["job_id"], event["seq"], -hand.chance.randrange(10**6), "3"
    )


async def inserted_with_a_future_transaction(hand: Hand) -> None:
    event = await hand.event("type = 'progress'")
    await hand.execute(
        INSERT.replace("seq + 1", "seq + 100"), event["job_id"], event["seq"], None, str(2**62 + hand.chance.randrange(10**6))
    )


async def inserted_and_all_renumbered(hand: Hand) -> None:
    event = await hand.event("type = 'queued' and seq = 1 and position < 600")
    await hand.execute(
        f"""
        with added as (
            insert into job_events (event_id, job_id, seq, attempt, type, data, salt, actor, at, xid)
            select nextval('job_event_ids'), {NEW_JOB}, 1, 1, type, data, salt, actor, at, xid from job_events
            where job_id = $1 and seq = $2
            returning job_id
        )
        insert into jobs (id, type, status, payload, user_id, attempt, max_attempts, seq, run_at, created_at, updated_at)
        select a.job_id, j.type, 'queued', j.payload, j.user_id, 1, 3, 1, j.created_at, j.created_at, j.created_at
        from added a, jobs j where j.id = $1
        """,
        event["job_id"], event["seq"],
    )  # fmt: skip
    await hand.reseal()


async def a_backdated_job(hand: Hand) -> None:
    """Appends a job as the service does, with a time some hours ago."""
    hours = hand.chance.uniform(1.1, 1000)
    await hand.execute(
        f"""
        insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
        select {NEW_JOB}, 1, 1, 'queued', json_build_object('reason', 'new'), salt, actor, now() - make_interval(secs => $1)
        from job_events where seq = 1 limit 1
        """,
        hours * 3600,
    )
    await give_positions(hand.database)


async def _remove(hand: Hand, events: Any) -> None:
    jobs = sorted({event["job_id"] for event in events})
    await hand.execute(
        "delete from job_events e using unnest($1::uuid[], $2::int[]) as a(job_id, seq)"
        " where e.job_id = a.job_id and e.seq = a.seq",
        [event["job_id"] for event in events], [event["seq"] for event in events],
    )  # fmt: skip
    await hand.fit_view(*jobs)


async def _renumber(hand: Hand, event: Any) -> None:
    for row in await hand.connection.fetch(
        "select seq from job_events where job_id = $1 and seq > $2 order by seq", event["job_id"], event["seq"]
    ):
        await hand.execute("update job_events set seq = seq - 1 where job_id = $1 and seq = $2", event["job_id"], row["seq"])
    await hand.fit_view(event["job_id"])
