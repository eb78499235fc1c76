"""The commands `rireki users`, and what the command line writes into the record of access."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from events.database import Database
from events.store import Store
from service.accounts.invitations import accept
from service.accounts.people import Account, accounts
from service.accounts.sign_in_queue import SignInLine
from service.accounts.users import Users, add_user
from tests.histories import new
from tests.service_fixture import PASSWORD, SECRET

EMAIL = "sato@example.com"
NEW_PASSWORD = "a violin under the lime tree"


async def rireki(database: Database, *arguments: str, given: str = "", **variables: str) -> tuple[int, str, str]:
    """Runs a command with this input. Returns exit status, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.cli", *arguments,
        env=os.environ | {"DATABASE_URL": database.url, "APP_ENV": "test", "PORT": "8000"} | variables,
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate(given.encode())
    return await process.wait(), out.decode(), errors.decode()


async def one(database: Database, email: str = EMAIL) -> Account:
    return next(account for account in await accounts(database) if account.user.email == email)


async def may_sign_in(database: Database, password: str, email: str = EMAIL) -> bool:
    return await Users(database, SECRET).sign_in(email, password, SignInLine(), "192.0.2.1") is not None


async def on_record(database: Database) -> list[tuple[str, str, str]]:
    rows = await database.fetch_all("select actor, action, target from access_records order by id")
    return [(row["actor"], row["action"], row["target"]) for row in rows]


async def test_an_account_is_added_listed_changed_and_signed_out(database: Database) -> None:
    await add_user(database, "admin@example.com", "admin", PASSWORD, "Admin")

    done = await rireki(database, "users", "add", EMAIL, "--role", "employee", "--password-stdin", given=PASSWORD + "\n")
    user_id = done[1].strip()
    assert (done, (await one(database)).user.id) == ((0, f"{user_id}\n", ""), user_id)

    assert await rireki(database, "users", "role", EMAIL, "--role", "auditor") == (0, f"{EMAIL} has the role auditor\n", "")
    assert (await one(database)).user.role == "auditor"

    assert await rireki(database, "users", "disable", EMAIL) == (0, f"{EMAIL} is disabled\n", "")
    assert not await may_sign_in(database, PASSWORD)
    status, listed, _ = await rireki(database, "users", "list")
    assert (status, [line.split("\t")[1:] for line in listed.splitlines()]) == (0, [
        ["admin@example.com", "Admin", "admin", "enabled"], [EMAIL, "sato", "auditor", "disabled"],
    ])  # fmt: skip
    as_json = json.loads((await rireki(database, "users", "list", "--json"))[1])
    assert as_json["users"][1] == {"id": user_id, "email": EMAIL, "name": "sato", "role": "auditor", "disabled": True}

    assert await rireki(database, "users", "enable", EMAIL) == (0, f"{EMAIL} is enabled\n", "")
    people = Users(database, SECRET)
    token = people.new_token((await one(database)).user)
    assert await people.of_token(token) is not None

    assert await rireki(database, "users", "sign-out", EMAIL) == (0, f"{EMAIL} is signed out everywhere\n", "")
    assert await Users(database, SECRET).of_token(token) is None

    given = await rireki(database, "users", "password", EMAIL, "--password-stdin", given=NEW_PASSWORD + "\n")
    assert given == (0, f"{EMAIL} has a new password\n", "")
    assert await may_sign_in(database, NEW_PASSWORD)
    assert await on_record(database) == [
        ("system:operator", action, f"user:{user_id}{more}")
        for action, more in (
            ("add_user", " role=employee"), ("change_user", " role=auditor"), ("change_user", " disabled=true"),
            ("change_user", " disabled=false"), ("sign_user_out", ""), ("change_user", " password"),
        )
    ]  # fmt: skip


async def test_an_invited_person_sets_the_password_by_the_printed_link(database: Database) -> None:
    status, link, told = await rireki(
        database, "users", "invite", EMAIL, "--role", "employee", "--url", "https://jobs.example.com/"
    )

    assert (status, told.startswith("rireki: the link works once, until 20")) == (0, True)
    assert not await may_sign_in(database, NEW_PASSWORD)
    address, _, token = link.strip().partition("#")
    assert address == "https://jobs.example.com/invitation"
    await accept(database, token, NEW_PASSWORD)
    assert await may_sign_in(database, NEW_PASSWORD)
    again = await rireki(database, "users", "invite", EMAIL)
    assert again[1].startswith("http://127.0.0.1:8000/invitation#")


REFUSED: list[tuple[list[str], str, int, str]] = [
    (["role", "nobody@example.com", "--role", "admin"], "", 1, "there is no user with the email nobody@example.com"),
    (["disable", "admin@example.com"], "", 1, "this is the last enabled admin: make somebody else an admin first"),
    (["role", "admin@example.com", "--role", "auditor"], "", 1, "this is the last enabled admin: make somebody else"),
    (["role", EMAIL, "--role", "root"], "", 2, "'root' is not a role: use admin, employee, auditor"),
    (["role", EMAIL], "", 2, "Missing option '--role'"),
    (["password", EMAIL], "", 2, "give --password-stdin and write the password to standard input"),
    (["password", EMAIL, "--password-stdin"], "short\n", 2, "the password must have 12 to 256 characters"),
    (["add", EMAIL, "--role", "employee", "--password-stdin"], PASSWORD, 2, f"there is already a user with the email {EMAIL}"),
    (["invite", "nobody@example.com"], "", 2, "nobody@example.com is not known yet: give --role too"),
    (["invite", EMAIL, "--role", "admin"], "", 2, f"{EMAIL} is known already: leave --role out, or run `rireki users role`"),
    (["invite", "gone@example.com"], "", 1, "gone@example.com is disabled: run `rireki users enable` first"),
    (["invite", EMAIL, "--url", "jobs"], "", 2, "--url must be an address like https://jobs.example.com, not 'jobs'"),
]


async def test_a_refusal_is_one_line_with_the_remedy_and_changes_nothing(database: Database) -> None:
    await add_user(database, "admin@example.com", "admin", PASSWORD)
    await add_user(database, EMAIL, "employee", PASSWORD)
    await add_user(database, "gone@example.com", "employee", PASSWORD)
    await rireki(database, "users", "disable", "gone@example.com")
    before, recorded = await accounts(database), await on_record(database)

    told = await asyncio.gather(*(rireki(database, "users", *arguments, given=given) for arguments, given, _, _ in REFUSED))

    for (status, out, errors), (arguments, _, expected, line) in zip(told, REFUSED, strict=True):
        assert (status, out, errors.count("\n")) == (expected, "", 1), (arguments, errors)
        assert errors.startswith(f"rireki: {line}"), arguments
    assert (await accounts(database), await on_record(database)) == (before, recorded)


async def test_the_last_admin_is_kept_by_commands_that_run_at_once(database: Database) -> None:
    for name in "ab":
        await add_user(database, f"{name}@example.com", "admin", PASSWORD)

    ended = await asyncio.gather(*(rireki(database, "users", "disable", f"{name}@example.com") for name in "ab"))

    assert sorted(status for status, _, _ in ended) == [0, 1]


async def test_the_audit_commands_and_operators_acts_are_on_record(database: Database, store: Store) -> None:
    job = await store.create(new(), actor="user:x")
    commands: list[tuple[list[str], str, str]] = [
        (["audit", "replay", job.id], "read_job", f"job:{job.id}"),
        (["audit", "verify"], "verify_log", "log"),
        (["audit", "verify", "--job", job.id], "verify_log", f"job:{job.id}"),
        (["audit", "export"], "export_log", "events?after=0"),
        (["projections", "rebuild"], "rebuild_view", "1 jobs"),
        (["pause", "summary_draft", "--reason", "x"], "pause_type", "job-type:summary_draft?reason=x"),
        (["resume", "summary_draft"], "resume_type", "job-type:summary_draft"),
    ]

    for arguments, _, _ in commands:
        status, _, errors = await rireki(database, *arguments)
        assert (status, errors) == (0, ""), arguments

    assert await on_record(database) == [("system:operator", action, target) for _, action, target in commands]


@pytest.mark.parametrize("arguments", [["audit", "verify"], ["audit", "export"]])
async def test_a_command_that_cannot_record_says_so_and_goes_on(database: Database, store: Store, arguments: list[str]) -> None:
    await store.create(new(), actor="user:x")
    await database.execute("alter table access_records add constraint nothing_is_recorded check (action = 'x') not valid")

    status, out, errors = await rireki(database, *arguments)

    assert (status, bool(out)) == (0, True)
    assert errors.startswith("rireki: ")
    assert errors.endswith("could not be recorded in access_records: CheckViolationError\n")
