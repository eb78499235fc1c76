"""Sends generated requests to a running service, and checks every answer.

schemathesis makes the requests from the service's OpenAPI document.

Half of the requests follow the document's links: a job is queued, read, canceled, retried. The other half call one operation
after another, with valid and with invalid data.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import count
from random import Random
from typing import Any

import asyncpg
import hypothesis
import hypothesis.core
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.generation.stateful import run_state_machine_as_test
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.who_may import WHO_MAY
from tests.fuzz.server import PASSWORD, FuzzedService

ROLES = ("nobody", "employee", "auditor", "admin")
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
ENDLESS = "/api/jobs/stream"  # The answer of this endpoint does not end. The tests of the streams read it.
LOGIN = "/api/auth/login"
ENDS_THE_SESSION = ("/api/auth/logout", "/api/auth/password")
PRINT_EVERY = 1_000  # requests between two lines of output
FIRST_ADDRESS = IPv4Address("10.0.0.1")  # a trusted proxy on loopback names it as the client of a sign-in
STEPS = 20  # requests in one walk along the links
MOST_AT_ONCE = 40  # requests of one kind to one operation, before the next operation follows
LONGEST_WAIT = "wait=1"  # for the header `Prefer`; a longer wait would only take time

WRITTEN_BEHIND = {
    "access_records", "alembic_version", "chatwork_budget", "chatwork_gaps", "chatwork_messages", "chatwork_reads",
    "chatwork_rooms", "chatwork_unreadable", "checkpoints", "job_event_log_cursor", "job_events", "jobs", "log_strays", "log_tail",
    "log_tiles", "log_upper_tiles", "pauses", "signing_state", "summary_drafts", "verifications", "workers",
}  # fmt: skip
"""Tables that the worker, the sealer or a read writes too. What requests write there is read by `OF_REQUESTS`."""

OF_REQUESTS = """
select
    (select count(*) from job_events where event_id > $1 and actor like 'user:%') as events,
    (select max(event_id) from job_events) as last_event,
    (select md5(string_agg(p::text, '|' order by p::text)) from pauses p where actor like 'user:%') as pauses,
    (select string_agg(room_id, ' ' order by room_id) from chatwork_rooms where not is_active) as switched_off,
    (select count(*) from chatwork_unreadable where seen_at is not null) as seen,
    (select count(*) from verifications) as verifications
"""
ACCOUNTS = "select id, password_hash, role from users"
RESTORE = "update users set password_hash = $2, role = $3, disabled_at = null where id = $1"
TABLES = "select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'"


class Enough(BaseException):
    """The wanted number of requests was sent.

    It is no `Exception`, because Hypothesis would look for a shorter example.
    """


@dataclass(slots=True)
class Tally:
    """The outcome of the requests of one role. `faults` counts equal faults."""

    role: str
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {times}" for status, times in sorted(self.statuses.items()))
        lines = [f"{self.role}: {self.sent} requests to {len(self.operations)} operations ({statuses})"]
        for fault, times in self.faults.most_common():
            lines.append(f"  {times} x {fault}\n    {self.examples[fault]}")
        return "\n".join(lines)


class Observer:
    """Looks at what requests have written. It uses one connection to the service's database."""

    def __init__(self, database_url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection = self._runner.run(asyncpg.connect(database_url))
        tables = [row["table_name"] for row in self._runner.run(self._connection.fetch(TABLES))]
        self._digests = "select concat_ws(' ', {}) as digest".format(
            ", ".join(
                f"(select count(*) || md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t)"
                for table in sorted(set(tables) - WRITTEN_BEHIND)
            )
        )
        self._last_event = 0
        self._before: tuple[Any, ...] = ()
        self._accounts = self._runner.run(self._connection.fetch(ACCOUNTS))
        self.changed()

    def changed(self) -> bool:
        """Returns whether a request has written something since the last call."""
        row = self._runner.run(self._connection.fetchrow(OF_REQUESTS, self._last_event))
        assert row is not None
        digest = self._runner.run(self._connection.fetchval(self._digests))
        self._last_event = row["last_event"] or 0
        now = (row["pauses"], row["switched_off"], row["seen"], row["verifications"], digest)
        before, self._before = self._before, now
        return bool(row["events"]) or now != before

    def restore_accounts(self) -> None:
        """Gives the accounts of the roles their first role and password again, and enables them.

        The fuzzer's admin also changes, disables and demotes the admin's own account.
        """
        self._runner.run(self._connection.executemany(RESTORE, [tuple(row) for row in self._accounts]))
        self.changed()

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()


class Client:
    """Sends a case as one role, and checks the answer."""

    def __init__(self, service: FuzzedService, role: str, observer: Observer, most: int) -> None:
        self.tally = Tally(role)
        self._service = service
        self._observer = observer
        self.most = most
        self._session = requests.Session()
        self._sign_ins = 0
        self._token = self._spare = ""
        if role != "nobody":
            self._token, self._spare = self._sign_in(), self._sign_in()

    def send(self, case: Any) -> Any:
        """Sends the case and returns the answer. Raises `Enough` after the last request."""
        if self.tally.sent >= self.most:
            raise Enough
        headers = case.headers if case.headers is not None else {}
        if "Prefer" in headers:
            headers["Prefer"] = LONGEST_WAIT
        self._session.cookies.clear()
        response = case.call(base_url=self._service.url, session=self._session, headers=self._authorization(case), timeout=60)
        self._judge(case, response)
        return response

    def _authorization(self, case: Any) -> dict[str, str]:
        token = self._spare if case.path in ENDS_THE_SESSION else self._token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _judge(self, case: Any, response: Any) -> None:
        name = f"{case.method.upper()} {case.operation.path}"
        self.tally.sent += 1
        self.tally.statuses[response.status_code] += 1
        self.tally.operations[name] += 1
        if self.tally.sent % PRINT_EVERY == 0:
            print(f"{self.tally.role}: {self.tally.sent} requests, {self.tally.faults.total()} faults", flush=True)
        changed = self._observer.changed()
        problems = [problem.title + ": " + problem.message.split("\n")[0] for problem in _problems(case, response)]
        if response.status_code == 503:
            problems.append("503 while the database answers")
        refused = response.status_code >= 400 or case.method.upper() in ("GET", "HEAD")
        if changed and (refused or not self._may_write(name)):
            problems.append(f"a write by an answer with {response.status_code}")
        if response.status_code < 400 and not self._may_call(name):
            problems.append(f"{response.status_code} for a caller who may not")
        for problem in problems:
            fault = f"{name}: {problem}"
            self.tally.faults[fault] += 1
            self.tally.examples.setdefault(fault, case.as_curl_command()[:1_000])
        if self._token and self._is_out(response.status_code, case.path):
            self._observer.restore_accounts()
            self._token, self._spare = self._sign_in(), self._sign_in()

    def _is_out(self, status: int, path: str) -> bool:
        """Returns whether an answer shows that the session or the role is lost."""
        statuses = (401, 403) if self.tally.role == "admin" else (401,)
        return status in statuses and path not in (*ENDS_THE_SESSION, LOGIN)

    def _may_call(self, name: str) -> bool:
        return any(WHO_MAY[name].status(caller) < 400 for caller in self._callers())

    def _may_write(self, name: str) -> bool:
        return any(WHO_MAY[name].tables(caller) for caller in self._callers())

    def _callers(self) -> tuple[str, ...]:
        return ("owner", "other") if self.tally.role == "employee" else (self.tally.role,)

    def _sign_in(self) -> str:
        credentials = {"email": f"{self.tally.role}@example.com", "password": PASSWORD}
        # The fuzzer's own wrong passwords would keep its address out, so each sign-in comes from a new address.
        self._sign_ins += 1
        proxied = {"X-Forwarded-For": str(FIRST_ADDRESS + self._sign_ins)}
        answer = self._session.post(self._service.url + LOGIN, json=credentials, headers=proxied, timeout=60)
        answer.raise_for_status()
        self._session.cookies.clear()
        return str(answer.json()["token"])


def fuzz_as(service: FuzzedService, role: str, *, most: int, seed: int) -> Tally:
    """Sends `most` requests as one role, and returns the tally. Prints how far it is."""
    seeds, random = count(seed), Random(seed)
    document = requests.get(f"{service.url}/api/openapi.json", timeout=60).json()
    for methods in document["paths"].values():
        for operation in methods.values():
            del operation["security"]  # schemathesis would make tokens of its own
    schema = schemathesis.openapi.from_dict(document).exclude(path=ENDLESS)
    with _observed(service) as observer:
        client = Client(service, role, observer, most // 2)
        _until_enough(seeds, lambda: _follow_links(schema, client))
        client.most = most
        _until_enough(seeds, lambda: _call_each_operation(schema, client, random))
    return client.tally


@contextmanager
def _observed(service: FuzzedService) -> Iterator[Observer]:
    observer = Observer(service.database_url)
    try:
        yield observer
    finally:
        observer.close()


def _until_enough(seeds: Iterator[int], send: Callable[[], None]) -> None:
    with contextlib.suppress(Enough):
        for seed in seeds:
            vars(hypothesis.core)["global_force_seed"] = seed  # Hypothesis' own plugin for pytest sets the seed in this way.
            # The same request may get another answer later, which Hypothesis calls flaky. The run then goes on with the
            # next seed.
            with contextlib.suppress(hypothesis.errors.Flaky, hypothesis.errors.FlakyStrategyDefinition):
                send()


def _follow_links(schema: Any, client: Client) -> None:
    machine = schema.as_state_machine()

    class Walk(machine):  # type: ignore[misc, valid-type]
        def call(self, case: Any, **options: Any) -> Any:
            return client.send(case)

        def validate_response(self, response: Any, case: Any, *checks: Any, **options: Any) -> None:
            """Does nothing, because the client has checked the answer."""

    run_state_machine_as_test(Walk, settings=_settings(50, stateful_step_count=STEPS))


def _call_each_operation(schema: Any, client: Client, random: Random) -> None:
    operations = [result.ok() for result in schema.get_all_operations()]
    random.shuffle(operations)
    examples = min(MOST_AT_ONCE, 1 + client.most // (4 * len(operations)))
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            def call(case: Any) -> None:
                client.send(case)

            # An operation without parameters has no invalid data.
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                _settings(examples)(given(case=operation.as_strategy(generation_mode=mode))(call))()


def _settings(examples: int, **more: Any) -> Any:
    return hypothesis.settings(
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )


def _problems(case: Any, response: Any) -> list[Any]:
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as failures:
        return list(failures.exceptions)
    return []
