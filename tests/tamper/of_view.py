"""The jobs view: each of its columns edited, rows removed and added."""

from tests.tamper.hand import Hand

COLUMNS = {
    "type": "type = 'another'",
    "status": "status = case status when 'queued' then 'canceled' else 'queued' end, worker = null",
    "payload": """payload = '{"key": "another"}'""",
    "result": "result = '12345'",
    "error": """error = '{"name": "a", "message": "b", "stack": null}'""",
    "user_id": "user_id = gen_random_uuid()",
    "attempt": "attempt = attempt + 1, max_attempts = max_attempts + 1",
    "max_attempts": "max_attempts = max_attempts + 7",
    "seq": "seq = seq + 1",
    "run_at": "run_at = run_at + interval '1 microsecond'",
    "started_at": "started_at = coalesce(started_at, now()) - interval '1 second'",
    "finished_at": "finished_at = coalesce(finished_at, now()) + interval '1 second'",
    "created_at": "created_at = created_at - interval '1 microsecond'",
    "updated_at": "updated_at = updated_at + interval '1 microsecond'",
    "unique_key": "unique_key = 'another'",
}


async def a_column_edited(hand: Hand) -> None:
    change = COLUMNS[hand.chance.choice(sorted(COLUMNS))]
    await hand.connection.execute(f"update jobs set {change} where id = $1", await _job(hand))


async def a_worker_edited(hand: Hand) -> None:
    jobs = await hand.connection.fetch("select id from jobs where status = 'processing'")
    await hand.connection.execute("update jobs set worker = 'w9' where id = $1", hand.chance.choice(jobs)["id"])


async def a_row_removed(hand: Hand) -> None:
    await hand.connection.execute("delete from jobs where id = $1", await _job(hand))


async def a_row_added(hand: Hand) -> None:
    await hand.connection.execute(
        """
        insert into jobs (id, type, status, payload, attempt, max_attempts, seq, run_at, created_at, updated_at)
        values (gen_random_uuid(), 'rooms', 'queued', '{}', 1, 1, 1, now(), now(), now())
        """
    )


async def _job(hand: Hand) -> str:
    job: str = hand.chance.choice(await hand.connection.fetch("select id from jobs order by id"))["id"]
    return job
