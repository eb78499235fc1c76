"""Makes the job, the company and the rooms that the requests in `who_may.py` need.

It also computes a digest of every table, so that a test can see which tables a request has changed.
"""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from events.database import Database
from events.job import JobError, cancel, fail, start
from tests.job_types import until
from tests.service_fixture import PASSWORD, Service, user_of
from tests.signed_log import sign_log
from workers.chatwork.answers import Unreadable
from workers.chatwork.unreadable import store_unreadable
from workers.pauses import Pauses

STACK = "a stack trace that only admins may read"
PERIOD = {"periodStart": "2026-11-01T00:00:00.000000Z", "periodEnd": "2026-12-01T00:00:00.000000Z"}
JOB_TYPE = "summary_draft"  # employees may queue it

DRAFT = """
insert into summary_drafts (company_id, period_start, period_end, content, source_links, model, prompt_version,
    source_message_count, token_usage, expires_at)
values (:company_id, now() - interval '1 day', now(), 'text', '{}', 'none', 'v1', 0, '{}', now() + interval '1 day')
returning id
"""

TABLES = """
select table_name from information_schema.tables
where table_schema = current_schema() and table_type = 'BASE TABLE' and table_name <> all (:except)
order by table_name
"""
FOLLOW_EVERY_READ = ("access_records", "job_event_log_cursor", "log_strays", "log_tail", "log_tiles", "log_upper_tiles")
"""Tables that a read may write too: the record of access, and the order of the log when somebody reads the log."""


@dataclass(frozen=True, slots=True)
class Things:
    """The ids that a request may name.

    They are those of a user, a job of the owner, a company with a linked room and a draft, and a room
    without a company.
    """

    user_id: str
    job_id: str
    company_id: str
    draft_id: str
    room_id: str
    room_number: str
    other_room_number: str
    credentials: dict[str, str]

    def path(self, template: str) -> str:
        """Returns the path with these ids in place of its parameters."""
        ids = {
            "/api/users/": self.user_id,
            "/api/jobs/": self.job_id,
            "/api/audit/verify/": self.job_id,
            "/api/audit/proof/": self.job_id,
            "/api/companies/": self.company_id,
            "/api/chatwork/rooms/": self.room_id,
        }
        own = next((found for prefix, found in ids.items() if template.startswith(prefix)), "")
        others = {
            "{roomId}": self.room_number,
            "{name}": JOB_TYPE,
            "{seq}": "1",
            "{draftId}": self.draft_id,
            "{tile:path}": "entries/000.p/1",
        }
        path = template.replace("{id}", own)
        for name, value in others.items():
            path = path.replace(name, value)
        return path


async def make_things(service: Service, job_state: str) -> Things:
    """Makes a new job, company and rooms. The owner of the job is `service.employee`.

    Also makes a failed job of this employee with a stack trace.
    """
    database = service.context.database
    company_id = str(await database.fetch_val("insert into companies (name) values (:n) returning id", {"n": str(uuid4())}))
    await _failed_job(service)
    room_number, other = str(uuid4().int % 10**30), str(uuid4().int % 10**30)
    room_id = await _room(database, room_number)
    await _room(database, other)
    link = "insert into company_chatwork_rooms (company_id, room_id) values (:company_id, :room_id)"
    await database.execute(link, {"company_id": company_id, "room_id": room_number})
    await store_unreadable(database, {room_number: [Unreadable("message 42", "`body` is missing")]})
    await Pauses(database).pause(JOB_TYPE, until=None, reason=str(uuid4()), actor="system:test")
    await until(lambda: _no_verification_runs(database))
    credentials = {"email": service.employee.email, "password": PASSWORD}
    user = await user_of(database, f"{uuid4()}@elsewhere.example", "employee", "somebody")
    job_id = await _job(service, job_state, company_id)
    await sign_log(database)
    draft_id = str(await database.fetch_val(DRAFT, {"company_id": company_id}))
    return Things(user.id, job_id, company_id, draft_id, room_id, room_number, other, credentials)


async def contents(database: Database) -> dict[str, str]:
    """Returns a digest of the rows of every table, except those in `FOLLOW_EVERY_READ`."""
    tables = [row["table_name"] for row in await database.fetch_all(TABLES, {"except": list(FOLLOW_EVERY_READ)})]
    digests = " union all ".join(
        f"select '{table}' as name, coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '') as digest from {table} t"
        for table in tables
    )
    async with database.raw() as connection:
        return {row["name"]: row["digest"] for row in await connection.fetch(digests)}


async def _job(service: Service, state: str, company_id: str) -> str:
    job = await service.job_of(service.employee, JOB_TYPE, {"companyId": company_id, **PERIOD})
    steps: dict[str, list[Any]] = {
        "queued": [],
        "processing": [lambda job: start(job, attempt=1, worker="w1")],
        "canceled": [lambda job: cancel(job, reason="test")],
    }
    return (await service.run(job, *steps[state])).id


async def _failed_job(service: Service) -> None:
    await service.run(
        await service.job_of(service.employee),
        lambda job: start(job, attempt=1, worker="w1"),
        lambda job: fail(job, attempt=1, worker="w1", error=JobError("Error", "it broke", STACK), retry_in=None),
    )


async def _room(database: Database, number: str) -> str:
    query = "insert into chatwork_rooms (room_id, name, is_active) values (:number, 'room', true) returning id"
    return str(await database.fetch_val(query, {"number": number}))


async def _no_verification_runs(database: Database) -> bool:
    return not await database.fetch_val("select exists (select from verifications where finished_at is null)")
