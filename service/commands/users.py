"""The code of the commands `rireki users`: they add, list, change and invite people."""

import sys
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from events.database import Database
from events.job import rfc3339
from service.accounts.access_records import Action
from service.accounts.invitations import invite
from service.accounts.passwords import PasswordRefused, check_password
from service.accounts.people import Account, AccountChange, UnknownUser, accounts, change_account, id_of
from service.accounts.users import CannotAdd, Role, add_user
from service.commands.plain_text import plain_text, print_fields, print_json, visible
from service.commands.recording import record
from service.config import load_settings


def read_password(*, from_stdin: bool) -> str:
    """Returns the first line of standard input.

    Raises `CannotAdd` if --password-stdin is not given, or the line is not UTF-8.
    """
    if not from_stdin:
        raise _wrong_password(
            "give --password-stdin and write the password to standard input: other users of this machine can read a command line"
        )
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise _wrong_password("the password on standard input is not UTF-8: write it in UTF-8") from None


def read_new_password(*, from_stdin: bool) -> str:
    """Returns a password from standard input that may be a new one. Raises `CannotAdd`."""
    password = read_password(from_stdin=from_stdin)
    try:
        check_password(password)
    except PasswordRefused as refusal:
        raise _wrong_password(str(refusal)) from None
    return password


def read_role(role: str) -> Role:
    """Returns the role of this name. Raises `CannotAdd`."""
    try:
        return Role(role)
    except ValueError:
        roles = ", ".join(Role)
        raise CannotAdd(f"{role!r} is not a role: use {roles}", "role", f"must be one of {roles}") from None


def read_address(url: str | None) -> str:
    """Returns the page's address, by default that of this machine. Raises `CannotAdd`."""
    if url is None:
        settings = load_settings()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return f"http://{host}:{settings.port}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        rule = "must be an address like https://jobs.example.com"
        raise CannotAdd(f"--url {rule}, not {url!r}", "url", rule)
    return url


async def print_added(database: Database, email: str, *, role: str, password: str, name: str | None) -> int:
    """Adds a person and prints the new user's id. Returns 0. Raises `CannotAdd`."""
    user = await add_user(database, email, role, password, name)
    await record(database, Action.ADD_USER, f"user:{user.id} role={user.role}")
    print(user.id)
    return 0


async def print_accounts(database: Database, *, as_json: bool) -> int:
    """Prints all accounts. Returns 0."""
    found = await accounts(database)
    if as_json:
        print_json({"users": [_json(account) for account in found]})
    elif sys.stdout.isatty():
        Console().print(_table(found))
    else:
        for account in found:
            user = account.user
            print_fields(user.id, user.email, user.name, user.role, _state(account))
    return 0


async def change(
    database: Database,
    email: str,
    done: str,
    *,
    role: Role | None = None,
    disabled: bool | None = None,
    password: str | None = None,
    signs_out: bool = False,
) -> int:
    """Changes an account, and prints its email and `done`. Returns 0.

    Raises `UnknownUser`, `LastAdmin`.
    """
    wanted = AccountChange(None, role, disabled, password, signs_out)
    account = await change_account(database, await id_of(database, email), wanted)
    action = Action.SIGN_USER_OUT if signs_out else Action.CHANGE_USER
    await record(database, action, f"user:{account.user.id}{wanted.summary}")
    print(visible(f"{account.user.email} {done}"))
    return 0


async def print_invitation(database: Database, email: str, *, role: str | None, name: str | None, address: str) -> int:
    """Prints a one-time link for a person, who is added if not known yet. Returns 0.

    Raises `CannotAdd`, or `UnknownUser` if the person is disabled.
    """
    user_id = await _known_or_added(database, email, role, name)
    try:
        invitation = await invite(database, user_id)
    except UnknownUser:
        raise UnknownUser(f"{email} is disabled: run `rireki users enable` first") from None
    await record(database, Action.INVITE_USER, f"user:{user_id}")
    print(invitation.link(address))
    print(f"rireki: the link works once, until {rfc3339(invitation.expires_at)}", file=sys.stderr)
    return 0


async def _known_or_added(database: Database, email: str, role: str | None, name: str | None) -> str:
    try:
        user_id = await id_of(database, email)
    except UnknownUser:
        if role is None:
            raise CannotAdd(f"{email} is not known yet: give --role too", "role", "is required") from None
        user = await add_user(database, email, role, None, name)
        await record(database, Action.ADD_USER, f"user:{user.id} role={user.role}")
        return user.id
    if role is not None:
        known = f"{email} is known already: leave --role out, or run `rireki users role`"
        raise CannotAdd(known, "role", "must be left out for a known person")
    return user_id


def _wrong_password(message: str) -> CannotAdd:
    return CannotAdd(message, "password", message)


def _table(found: list[Account]) -> Table:
    table = Table(title="users", title_justify="left")
    for heading in ("email", "name", "role", "state", "id"):
        table.add_column(heading, overflow="fold")
    for account in found:
        user = account.user
        table.add_row(plain_text(user.email), plain_text(user.name), user.role, _state(account), user.id)
    return table


def _state(account: Account) -> str:
    return "disabled" if account.disabled else "enabled"


def _json(account: Account) -> dict[str, object]:
    user = account.user
    return {"id": user.id, "email": user.email, "name": user.name, "role": user.role, "disabled": account.disabled}
