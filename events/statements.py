"""All SQL that writes the log and the jobs view, or reads the log.

Each statement can be pasted into psql.
"""

from events.positions import POSITION, places

JOB_COLUMNS = (
    "id, type, status, payload, result, error, user_id, attempt, max_attempts, worker, seq, run_at, started_at, finished_at,"
    " created_at, updated_at"
)
"""The view's columns in the order of `Job`'s fields; `history.job_from` needs this order."""
JOB_COLUMNS_OF_J = ", ".join(f"j.{column}" for column in JOB_COLUMNS.split(", "))

EVENT_COLUMNS = "e.job_id, e.seq, e.attempt, e.type, e.data, e.actor, e.request_id, e.cause, e.at"
"""The columns that `history.recorded_from` needs, besides `position`."""

# The causes come in an array of their own, because processes of the last release use the row type without a cause. The array is
# empty if no event of the statement has a cause: `unnest` fills the shorter column with nulls.
EVENTS = """unnest($2::job_event_row[], $3::text[])
        as e(job_id, seq, attempt, type, data, salt, actor, request_id, at, cause)"""

# Rows are updated in order of job id, because two processes that lock the same jobs in different orders would deadlock. The input
# is sorted by id, and every plan that a connection of group commit may choose (see `PLANS`) keeps that order.
# A job's events are inserted in order of `seq` under any plan, because they get their `event_id` in this order, and `event_id`
# orders the events of a transaction in the whole log.
# A null `run_at` or `started_at` leaves the row's time as it is, so that an unchanged time need not be sent. For a queued job,
# `started_at` becomes null.
MOVE_JOBS = f"""
with asked as materialized (
    select * from unnest($1::job_move_row[]) order by id
), moved as (
    update jobs j
    set status = a.status, result = a.result, error = a.error, attempt = a.attempt, max_attempts = a.max_attempts,
        worker = a.worker, seq = a.seq, run_at = coalesce(a.run_at, j.run_at),
        started_at = case when a.status = 'queued' then null else coalesce(a.started_at, j.started_at) end,
        finished_at = a.finished_at, updated_at = a.updated_at
    from asked a
    where j.id = a.id and j.seq = a.expected_seq
    returning j.id
), written as (
    insert into job_events (job_id, seq, attempt, type, data, salt, actor, request_id, cause, at)
    select e.job_id, e.seq, e.attempt, e.type, e.data, e.salt, e.actor, e.request_id, e.cause, e.at from {EVENTS}
    where e.job_id in (select id from moved)
    order by e.job_id, e.seq
)
select id from moved
"""

# Updates jobs like `MOVE_JOBS`, and also binds an idempotency key to each job in the same statement. Retries use it.
MOVE_JOBS_OF_KEYS = MOVE_JOBS.replace(
    "), written as (",
    """), keyed as (
    insert into idempotency_keys (user_id, key, request_hash, job_id)
    select k.user_id, k.key, k.request_hash, k.job_id
    from unnest($4::uuid[], $5::text[], $6::text[], $7::uuid[]) as k(user_id, key, request_hash, job_id)
    where k.job_id in (select id from moved)
    order by k.user_id, k.key
), written as (""",
)

# Makes the decision `start` (`events/job.py`) for many jobs in SQL, so that no job has to be read first. Jobs of paused types
# do not start. `greatest` keeps an event from being earlier than the job's previous event, whose time is `updated_at`. The
# status is compared with a column, not a literal, and by `is not distinct from`, so that PostgreSQL looks rows up by id. With
# `status = 'queued'` the planner may choose the partial index, and read all queued jobs for each batch.
START_JOBS = f"""
with asked as materialized (
    select *, 'queued' as status from unnest($1::uuid[], $2::int[], $3::text[], $4::bytea[]) as a(id, attempt, type, salt)
    where a.type <> all (array(select p.type from pauses p where p.until is null or p.until > now()))
    order by a.id
), moved as (
    update jobs j
    set status = 'processing', worker = $5, seq = j.seq + 1, started_at = greatest(j.updated_at, $8),
        updated_at = greatest(j.updated_at, $8)
    from asked a
    where j.id = a.id and (j.status, j.attempt, j.type) is not distinct from (a.status, a.attempt, a.type)
    returning {JOB_COLUMNS_OF_J}, a.salt
), written as (
    insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
    select m.id, m.seq, m.attempt, 'started', $6, m.salt, $7, m.updated_at from moved m
    order by m.id
)
select {JOB_COLUMNS} from moved
"""

# Locks the rows of these jobs. Once it returns, every earlier write to them has been committed or rolled back.
UNTIL_FREE = "select from jobs where id = any($1) order by id for no key update"

# After a batch of starts was sent again: returns the jobs whose `started` event has the salt of this batch, because the first
# try wrote that event, if the attempt is still running.
STARTED_BEFORE = f"""
select {JOB_COLUMNS_OF_J} from unnest($1::uuid[], $2::int[], $3::bytea[]) as a(id, attempt, salt)
join job_events e on e.job_id = a.id and e.attempt = a.attempt and e.type = 'started' and e.salt = a.salt
join jobs j on j.id = e.job_id and j.status = 'processing' and j.attempt = e.attempt
"""

CREATE_JOBS = f"""
with asked as materialized (
    select * from unnest($1::job_creation_row[])
), created as (
    insert into jobs (
        id, type, status, payload, user_id, attempt, max_attempts, seq, run_at, created_at, updated_at, unique_key
    )
    select a.id, a.type, 'queued', a.payload, a.user_id, 1, a.max_attempts, 1, a.run_at, a.at, a.at, a.unique_key
    from asked a
    where a.idempotency_key is null or not exists (
        select from idempotency_keys k where k.user_id = a.user_id and k.key = a.idempotency_key
    )
    order by a.unique_key, a.id
    on conflict do nothing
    returning id
), keyed as (
    insert into idempotency_keys (user_id, key, request_hash, job_id)
    select a.user_id, a.idempotency_key, a.request_hash, a.id
    from asked a
    where a.idempotency_key is not null and a.id in (select id from created)
    order by a.user_id, a.idempotency_key
), written as (
    insert into job_events (job_id, seq, attempt, type, data, salt, actor, request_id, cause, at)
    select e.job_id, e.seq, e.attempt, e.type, e.data, e.salt, e.actor, e.request_id, e.cause, e.at from {EVENTS}
    where e.job_id in (select id from created)
    order by e.job_id, e.seq
)
select id from created
"""

# Trick: a cached (generic) plan saves a third of the time of a short append and 4 to 8 % of a drained job's CPU
# (bench/results/tricks.md). Delete it when PostgreSQL plans a statement with arrays of unknown length as well each time.
# A plan that was made for a small table would scan the whole table for every job after the table has grown. So plans are
# cached only when the table has 1,000 rows or more, and for 30 seconds. Hash joins are off while the table is small, because
# a hash join does not keep the order of job ids. In a large table the planner looks up each row by index.
CHOOSE_PLANS = """
select small, set_config('plan_cache_mode', case when small then 'force_custom_plan' else 'force_generic_plan' end, false),
    set_config('enable_hashjoin', case when small then 'off' else 'on' end, false)
from (select count(*) < 1000 as small from (select from jobs limit 1000) as counted) as known
"""
FORGET_PLANS = "discard plans"
PLANS = {
    "enable_seqscan": "off",
    # Rows are locked in order of job id only if the planner can use these plan nodes. A role's settings may have them off.
    **dict.fromkeys(
        ("enable_indexscan", "enable_indexonlyscan", "enable_nestloop", "enable_mergejoin", "enable_sort", "enable_material"),
        "on",
    ),
}

SALTS = """
select e.job_id, e.salt from job_events e
join unnest($1::uuid[], $2::int[]) as a(job_id, seq) on e.job_id = a.job_id and e.seq = a.seq
"""

JOBS = f"select {JOB_COLUMNS} from jobs where id = any($1)"

ACTIVE_JOB = """
select id from jobs where unique_key = :unique_key and status in ('queued', 'processing')
"""

HISTORY = f"""
select {EVENT_COLUMNS}, {POSITION} as position
from job_events e
where e.job_id = :job_id and e.seq > :after
order by e.seq
"""

# Leaves the positions null: `fold` does not need them, and reading them would cost one random access for each event.
PAST = f"""
select {EVENT_COLUMNS}, null::bigint as position
from job_events e
where e.job_id = :job_id and (cast(:seq as integer) is null or e.seq <= :seq)
and (cast(:at as timestamptz) is null or e.at <= :at)
order by e.seq
"""

# Of each job at most $3 events, and of these only as many as hold less than $4 bytes before the last one. `through` counts the
# bytes. The limit also makes PostgreSQL look the events up by job, however many rows the planner expects.
NEWS = f"""
select {EVENT_COLUMNS}, {POSITION} as position, a.after, e.through
from unnest($1::uuid[], $2::int[]) as a(job_id, after)
cross join lateral (
    select *, sum(octet_length(data::text)) over (order by seq) as through
    from (select * from job_events where job_id = a.job_id and seq > a.after order by seq limit $3) as next
) as e
where e.through - octet_length(e.data::text) < $4
order by e.job_id, e.seq
"""

# Positions have no gaps, so the range holds `limit` events. `offset 0` makes PostgreSQL look each event up.
LOG = f"""
select {EVENT_COLUMNS}, l.position
from {places(after="cast(:after as bigint)", until="(cast(:after as bigint) + cast(:limit as bigint))")} as l
cross join lateral (select * from job_events where job_id = l.job_id and seq = l.seq offset 0) as e
order by l.position
"""

HISTORIES = f"""
select {EVENT_COLUMNS}, null::bigint as position
from job_events e
where $1::uuid[] is null or e.job_id = any($1)
order by e.job_id, e.seq
"""

KEY = "select job_id, request_hash from idempotency_keys where user_id = :user_id and key = :key"

BIND_KEY = """
insert into idempotency_keys (user_id, key, request_hash, job_id)
values (:user_id, :key, :request_hash, :job_id)
on conflict do nothing
"""
