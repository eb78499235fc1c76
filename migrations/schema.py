"""Every table and row type of the newest schema, with its columns.

`rireki migrate --app-role` grants rights on these tables and types, and each process compares its database with them when it
starts. A new migration must change this file too; `tests/process/test_migrations.py` says how. `alembic_version` is Alembic's
table.
"""

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
    "companies": "id uuid, name text, created_at timestamp with time zone",
    "company_chatwork_rooms": "company_id uuid, room_id text, created_at timestamp with time zone",
    "ended_tokens": "id text, expires_at timestamp with time zone",
    "idempotency_keys": ("user_id uuid, key text, request_hash text, job_id uuid, created_at timestamp with time zone"),
    "invitations": ("user_id uuid, token_hash bytea, created_at timestamp with time zone, expires_at timestamp with time zone"),
    "job_event_log": "position bigint, event_id bigint, leaf bytea",
    "job_event_log_cursor": "only_row boolean, system_identifier bigint, xid xid8, event_id bigint, position bigint",
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
    "paid_jobs": "user_id uuid, queued_at timestamp with time zone[]",
    "pauses": ("type text, since timestamp with time zone, until timestamp with time zone, reason text, actor text"),
    "summary_drafts": (
        "id uuid, company_id uuid, period_start timestamp with time zone, period_end timestamp with time zone, "
        "content text, source_links text[], model text, prompt_version text, source_message_count integer, "
        "token_usage json, created_at timestamp with time zone, expires_at timestamp with time zone"
    ),
    "users": (
        "id uuid, email text, name text, role text, password_hash text, created_at timestamp with time zone, "
        "disabled_at timestamp with time zone, token_generation integer, kept_token text"
    ),
    "verifications": (
        "id uuid, started_at timestamp with time zone, last_seen timestamp with time zone, finished_at timestamp "
        "with time zone, actor text, jobs bigint, events bigint, last_position bigint, differences text[], "
        "difference_count bigint, error text, findings json"
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

ONLY_READ = frozenset({"alembic_version"})
APPEND_ONLY = frozenset({"access_records", "job_events", "job_event_log"})


def rights(table: str) -> tuple[str, ...]:
    """Returns the rights of the service's role on a table.

    In addition, triggers refuse every change of the log and of the record of access, also by roles with more rights.
    """
    if table in ONLY_READ:
        return ("select",)
    return ("select", "insert") if table in APPEND_ONLY else ("select", "insert", "update", "delete")


def columns(relation: str) -> list[tuple[str, str]]:
    """Returns the name and the type of each column of a table or row type.

    Raises `KeyError` for an unknown table or row type.
    """
    described = (TABLES | ROW_TYPES)[relation].split(", ")
    return [(name, column_type) for name, _, column_type in (column.partition(" ") for column in described)]
