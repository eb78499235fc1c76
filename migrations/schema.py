"""Every table and row type of the newest schema, with its columns.

`rireki migrate --app-role` grants rights on these tables and types, and each process compares its database with them when it
starts. A new migration must change this file too; `tests/process/test_migrations.py` says how. `alembic_version` is Alembic's
table.
"""

from dataclasses import dataclass

TABLES = {
    "access_records": (
        "id bigint, at timestamp with time zone, actor text, action text, target text, request_id text, address text"
    ),
    "alembic_version": "version_num character varying(32)",
    "chatwork_budget": (
        "account text, taken_at timestamp with time zone[], permits integer[], granted integer, blocked_until "
        "timestamp with time zone"
    ),
    "chatwork_gaps": (
        "room_id text, after_message_id text, before_message_id text, reason text, after_at timestamp with time "
        "zone, before_at timestamp with time zone, job_id uuid, found_at timestamp with time zone"
    ),
    "chatwork_messages": (
        "room_id text, message_id text, number numeric(38,0), sender text, body text, sent_at timestamp with time "
        "zone, edited_at timestamp with time zone, company_id uuid, created_at timestamp with time zone"
    ),
    "chatwork_reads": "id bigint, room_id text, job_id uuid, attempt integer, at timestamp with time zone",
    "chatwork_rooms": (
        "id uuid, room_id text, name text, description text, is_active boolean, last_sync_at timestamp with time "
        "zone, last_message_id text, last_error_at timestamp with time zone, last_error_status integer, "
        "last_error_message text, created_at timestamp with time zone, updated_at timestamp with time zone"
    ),
    "chatwork_unreadable": (
        "room_id text, item text, reason text, found_at timestamp with time zone, seen_at timestamp with time zone"
    ),
    "checkpoints": (
        "origin text, size bigint, root bytea, note text, signed_at timestamp with time zone, copied_at timestamp with time zone"
    ),
    "companies": "id uuid, name text, created_at timestamp with time zone, archived_at timestamp with time zone",
    "company_chatwork_rooms": "company_id uuid, room_id text, created_at timestamp with time zone",
    "cosignatures": "origin text, size bigint, witness text, line text, received_at timestamp with time zone",
    "ended_tokens": "id text, expires_at timestamp with time zone",
    "idempotency_keys": ("user_id uuid, key text, request_hash text, job_id uuid, created_at timestamp with time zone"),
    "identities": "issuer text, subject text, user_id uuid, created_at timestamp with time zone",
    "invitations": ("user_id uuid, token_hash bytea, created_at timestamp with time zone, expires_at timestamp with time zone"),
    "job_event_log_cursor": (
        "only_row boolean, system_identifier bigint, xid xid8, event_id bigint, position bigint, epoch integer, floor bigint, "
        "largest bigint, tiled bigint, rows_to bigint, turn bigint"
    ),
    "job_event_log_rows": "position bigint, event_id bigint, leaf bytea",
    "job_events": (
        "event_id bigint, job_id uuid, seq integer, attempt integer, type text, data json, salt bytea, actor "
        "text, request_id text, cause text, at timestamp with time zone, xid xid8"
    ),
    "jobs": (
        "id uuid, type text, status text, payload json, result json, error json, user_id uuid, attempt integer, "
        "max_attempts integer, worker text, seq integer, run_at timestamp with time zone, started_at timestamp "
        "with time zone, finished_at timestamp with time zone, created_at timestamp with time zone, updated_at "
        "timestamp with time zone, unique_key text"
    ),
    "log_origins": (
        "number integer, origin text, began_at timestamp with time zone, reason text, old_origin text, old_size bigint, "
        "old_root bytea, abandoned_size bigint, abandoned_root bytea"
    ),
    "log_strays": "event_id bigint, position bigint",
    "log_tail": "position bigint, job_id uuid, seq integer, leaf bytea, epoch integer, xid xid8, event_id bigint",
    "log_tiles": (
        "tile bigint, epoch integer, xid xid8, event_id bigint, job_ids uuid[], seqs integer[], leaves bytea, root bytea, "
        "sealed_at timestamp with time zone"
    ),
    "log_upper_tiles": "level smallint, tile bigint, hashes bytea, root bytea",
    "paid_jobs": "user_id uuid, queued_at timestamp with time zone[]",
    "pauses": ("type text, since timestamp with time zone, until timestamp with time zone, reason text, actor text"),
    "redactions": "position bigint, note text, created_at timestamp with time zone",
    "signing_state": "only_row boolean, state text, detail text, copies boolean, since timestamp with time zone",
    "summary_drafts": (
        "id uuid, company_id uuid, period_start timestamp with time zone, period_end timestamp with time zone, "
        "content text, source_links text[], model text, prompt_version text, source_message_count integer, "
        "token_usage json, created_at timestamp with time zone, expires_at timestamp with time zone, used_message_count integer"
    ),
    "users": (
        "id uuid, email text, name text, role text, password_hash text, created_at timestamp with time zone, "
        "disabled_at timestamp with time zone, token_generation integer, kept_token text"
    ),
    "verifications": (
        "id uuid, started_at timestamp with time zone, last_seen timestamp with time zone, finished_at timestamp "
        "with time zone, actor text, jobs bigint, events bigint, last_position bigint, differences text[], "
        "difference_count bigint, error text, findings json, covers json, unsealed bigint, finding_counts json"
    ),
    "workers": (
        "id text, host text, pid integer, job_types text[], slots integer, started_at timestamp with time zone, "
        "last_seen timestamp with time zone, gone_at timestamp with time zone, stuck json"
    ),
}
"""Each table's columns as `name type, name type`, the types as by `format_type`."""

ROW_TYPES = {
    "job_creation_row": (
        "id uuid, type text, payload json, user_id uuid, max_attempts integer, run_at timestamp with time zone, "
        "at timestamp with time zone, unique_key text, idempotency_key text, request_hash text"
    ),
    "job_event_row": (
        "job_id uuid, seq integer, attempt integer, type text, data json, salt bytea, actor text, request_id "
        "text, at timestamp with time zone"
    ),
    "job_move_row": (
        "id uuid, expected_seq integer, status text, result json, error json, attempt integer, max_attempts "
        "integer, worker text, seq integer, run_at timestamp with time zone, started_at timestamp with time zone, "
        "finished_at timestamp with time zone, updated_at timestamp with time zone"
    ),
}
"""The row types in which an append sends its rows (revision 0008)."""


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of a role on a table, besides reading it.

    `insert` and `update` name columns, separated by commas.
    """

    insert: str = ""
    update: str = ""
    delete: bool = False


SERVICE = {
    "access_records": Rights(insert="actor, action, target, request_id, address"),
    "alembic_version": Rights(),
    "chatwork_budget": Rights(
        insert="account, taken_at, permits, granted, blocked_until", update="taken_at, permits, granted, blocked_until"
    ),
    "chatwork_gaps": Rights(
        insert="room_id, after_message_id, before_message_id, reason, after_at, before_at, job_id, found_at", delete=True
    ),
    "chatwork_messages": Rights(
        insert="room_id, message_id, sender, body, sent_at, edited_at, company_id",
        update="sender, body, sent_at, edited_at, company_id",
    ),
    "chatwork_reads": Rights(insert="room_id, job_id, attempt", update="id, at", delete=True),
    "chatwork_rooms": Rights(
        insert="room_id, name, description, is_active",
        update="name, description, is_active, last_sync_at, last_message_id, last_error_at, last_error_status,"
        " last_error_message, updated_at",
    ),
    "chatwork_unreadable": Rights(insert="room_id, item, reason", update="reason, found_at, seen_at"),
    "companies": Rights(insert="name", update="name, archived_at"),
    "company_chatwork_rooms": Rights(insert="company_id, room_id", delete=True),
    "ended_tokens": Rights(insert="id, expires_at", delete=True),
    "idempotency_keys": Rights(insert="user_id, key, request_hash, job_id"),
    "identities": Rights(insert="issuer, subject, user_id"),
    "invitations": Rights(insert="user_id, token_hash, expires_at", update="token_hash, created_at, expires_at", delete=True),
    # The columns `event_id` and `xid` are filled by their defaults. An invented `xid` would hide an event from the sealer.
    "job_events": Rights(insert="job_id, seq, attempt, type, data, salt, actor, request_id, cause, at"),
    "jobs": Rights(
        insert="id, type, status, payload, user_id, attempt, max_attempts, seq, run_at, created_at, updated_at, unique_key",
        update="status, result, error, attempt, max_attempts, worker, seq, run_at, started_at, finished_at, updated_at",
    ),
    "paid_jobs": Rights(insert="user_id, queued_at", update="queued_at"),
    "pauses": Rights(insert="type, until, reason, actor", update="since, until, reason, actor", delete=True),
    # `rireki audit erase` does not exist yet, so no role of a process may write here.
    "redactions": Rights(),
    "summary_drafts": Rights(
        insert="company_id, period_start, period_end, content, source_links, model, prompt_version, source_message_count,"
        " token_usage, expires_at, used_message_count",
        update="content, source_links, model, prompt_version, source_message_count, token_usage, created_at, expires_at,"
        " used_message_count",
        delete=True,
    ),
    "users": Rights(
        insert="id, email, name, role, password_hash",
        update="name, role, password_hash, disabled_at, token_generation, kept_token",
    ),
    "verifications": Rights(
        insert="actor",
        update=(
            "last_seen, finished_at, jobs, events, last_position, differences, difference_count, error, findings, unsealed,"
            " covers, finding_counts"
        ),
    ),
    "workers": Rights(insert="id, host, pid, job_types, slots", update="last_seen, gone_at, stuck", delete=True),
}
"""The rights of the service's role, except on the tables of `SEALER`.

A table or column that is not named may only be read. Triggers also refuse changes of `job_events` and `access_records` to roles
with more rights.
"""

SEALER = {
    "log_tiles": Rights(insert="tile, epoch, xid, event_id, job_ids, seqs, leaves, root, sealed_at"),
    "log_upper_tiles": Rights(insert="level, tile, hashes, root"),
    "log_tail": Rights(insert="position, job_id, seq, leaf, epoch, xid, event_id", delete=True),
    "log_strays": Rights(insert="event_id, position"),
    "job_event_log_rows": Rights(),
    "job_event_log_cursor": Rights(
        update="system_identifier, xid, event_id, position, epoch, floor, largest, tiled, rows_to, turn"
    ),
    "log_origins": Rights(insert="number, origin, reason, old_origin, old_size, old_root, abandoned_size, abandoned_root"),
    "checkpoints": Rights(insert="origin, size, root, note", update="copied_at"),
    "cosignatures": Rights(insert="origin, size, witness, line"),
    "signing_state": Rights(update="state, detail, copies, since"),
}
"""The rights of the role that seals and signs, on the tables that hold the order of the log and its checkpoints."""

SEALS_WITH = "lock_appends_out"
"""Only a role that seals may call this function. It waits until no append is under way, and makes further appends wait."""

SEALER_READS = ("alembic_version", "job_events")
"""The other tables that the sealer's role may read."""


def service_rights(*, seals: bool) -> dict[str, Rights]:
    """Returns the rights of the service's role on every table.

    With `seals` it is also the sealer's role. Otherwise it may only read the order of the log.
    """
    order = SEALER if seals else dict.fromkeys(SEALER, Rights())
    return {table: (SERVICE | order)[table] for table in TABLES}


def sealer_rights() -> dict[str, Rights]:
    """Returns the rights of a role that only seals. It may not read other tables."""
    return dict.fromkeys(SEALER_READS, Rights()) | SEALER


def columns(relation: str) -> list[tuple[str, str]]:
    """Returns the name and the type of each column of a table or row type.

    Raises `KeyError` for an unknown table or row type.
    """
    described = (TABLES | ROW_TYPES)[relation].split(", ")
    return [(name, column_type) for name, _, column_type in (column.partition(" ") for column in described)]
