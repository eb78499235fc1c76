"""The log of events, its positions, the jobs view, idempotency keys and workers."""

from migrations.sql import run

revision = "0001"
down_revision = None

TABLES = """
create sequence job_event_ids;

create table job_events (
    event_id   bigint      not null default nextval('job_event_ids'),
    job_id     uuid        not null,
    seq        integer     not null,
    attempt    integer     not null,
    type       text        not null,
    data       json        not null,
    salt       bytea       not null,
    actor      text        not null,
    request_id text,
    cause      text,
    at         timestamptz not null,
    xid        xid8        not null default pg_current_xact_id(),
    constraint an_event_has_its_own_place_in_the_history primary key (job_id, seq),
    constraint seq_begins_at_1 check (seq >= 1),
    constraint attempt_begins_at_1 check (attempt >= 1),
    constraint a_history_begins_with_queued check (seq > 1 or type = 'queued'),
    constraint an_event_is_one_of_six
        check (type in ('queued', 'started', 'progress', 'completed', 'failed', 'canceled')),
    constraint an_actor_is_a_user_a_worker_or_the_system check (actor ~ '^(user|worker|system):.'),
    constraint a_salt_has_16_bytes check (length(salt) = 16)
);
alter sequence job_event_ids owned by job_events.event_id;
create unique index job_events_by_event_id on job_events (event_id);
create index job_events_by_transaction on job_events (xid, event_id);
create unique index an_attempt_starts_once on job_events (job_id, attempt) where type = 'started';

create function refuse_to_change_the_log() returns trigger language plpgsql as $$
begin
    raise exception 'job_events is append-only: % is refused', lower(tg_op) using errcode = 'insufficient_privilege';
end
$$;
create trigger events_are_never_changed before update or delete on job_events
    for each row execute function refuse_to_change_the_log();
create trigger events_are_never_truncated before truncate on job_events
    for each statement execute function refuse_to_change_the_log();
alter table job_events enable always trigger events_are_never_changed;
alter table job_events enable always trigger events_are_never_truncated;

create table job_event_log (
    position bigint not null constraint job_event_log_pkey primary key,
    event_id bigint not null constraint an_event_has_one_position unique,
    leaf     bytea
);

create table job_event_log_cursor (
    only_row          boolean not null default true primary key check (only_row),
    system_identifier bigint  not null,
    xid               xid8    not null,
    event_id          bigint  not null,
    position          bigint  not null
);

insert into job_event_log_cursor (system_identifier, xid, event_id, position)
select system_identifier, '0', 0, 0 from pg_control_system();

create table jobs (
    id           uuid        not null constraint jobs_pkey primary key,
    type         text        not null,
    status       text        not null,
    payload      json        not null,
    result       json,
    error        json,
    user_id      uuid,
    attempt      integer     not null,
    max_attempts integer     not null,
    worker       text,
    seq          integer     not null,
    run_at       timestamptz not null,
    started_at   timestamptz,
    finished_at  timestamptz,
    created_at   timestamptz not null,
    updated_at   timestamptz not null,
    unique_key   text,
    constraint a_status_is_one_of_five check (status in ('queued', 'processing', 'completed', 'failed', 'canceled')),
    constraint attempts_never_exceed_max_attempts check (attempt between 1 and max_attempts),
    constraint a_worker_runs_what_is_processing check ((worker is not null) = (status = 'processing'))
) with (fillfactor = 85);
create index jobs_by_type_and_status on jobs (type, status, created_at, id);
create index jobs_by_creation on jobs (created_at, id);
create index jobs_by_owner on jobs (user_id, created_at, id) where user_id is not null;
create index jobs_waiting on jobs (type, run_at, id) where status = 'queued';
create index jobs_running on jobs (worker) where status = 'processing';
create unique index only_one_active_job_of_this_kind on jobs (unique_key)
    where unique_key is not null and status in ('queued', 'processing');

create table idempotency_keys (
    user_id      uuid        not null,
    key          text        not null,
    request_hash text        not null,
    job_id       uuid        not null,
    created_at   timestamptz not null default now(),
    constraint one_key_of_one_user_is_one_job primary key (user_id, key)
);

create table workers (
    id         text        not null primary key,
    host       text        not null,
    pid        integer     not null,
    job_types  text[]      not null,
    slots      integer     not null,
    started_at timestamptz not null default now(),
    last_seen  timestamptz not null default now(),
    gone_at    timestamptz
);
create index workers_present on workers (last_seen) where gone_at is null;
"""


def upgrade() -> None:
    run(TABLES)
