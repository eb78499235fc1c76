"""Lists and changes accounts.

A change sets the name, the role or the password, disables or enables, or ends all sessions.

At least one admin stays enabled. Each change locks the rows of all enabled admins in one order, so
two admins who demote each other at the same moment take turns, and the second one is refused.
"""

import asyncio
from dataclasses import dataclass

from events.database import Database, Row
from service.accounts.passwords import hash_password, verify_password
from service.accounts.users import Role, User, normal_email, user_from

COLUMNS = "id, email, name, role, token_generation, disabled_at is not null as disabled"

ALL = f"select {COLUMNS} from users order by lower(name), email"

ONE = f"select {COLUMNS} from users where id = :id"

# `:typed` finds an email that was stored before emails were normalised.
ID_OF_EMAIL = """
select id from users where lower(email) in (lower(:email), lower(:typed)) order by lower(email) = lower(:email) desc limit 1
"""

# An invited admin without a password and without an identity cannot sign in yet, so they do not count.
# All changes lock rows in the order of their ids, so that they cannot deadlock.
ENABLED_ADMINS = """
select id from users
where role = 'admin' and disabled_at is null
    and (password_hash is not null or exists (select from identities where user_id = users.id))
order by id
for update
"""

# A new password ends all sessions and the invitation, and so does disabling the account.
CHANGE = f"""
with gone as (delete from invitations where user_id = cast(:id as uuid) and :ends_sessions)
update users
set name = coalesce(:name, name), role = coalesce(:role, role), password_hash = coalesce(:password_hash, password_hash),
    disabled_at = case when cast(:disabled as boolean) then coalesce(disabled_at, now())
        when not cast(:disabled as boolean) then null else disabled_at end,
    token_generation = token_generation + cast(:ends_sessions as integer),
    kept_token = case when :ends_sessions then null else kept_token end
where id = cast(:id as uuid)
returning {COLUMNS}
"""

HASH = "select password_hash from users where id = :id and disabled_at is null"

# Changes nothing if the password was changed in the meantime.
CHANGE_OWN = """
with gone as (delete from invitations where user_id = cast(:id as uuid))
update users set password_hash = :new, token_generation = token_generation + 1, kept_token = :kept_token
where id = cast(:id as uuid) and password_hash = :old and disabled_at is null
returning id
"""


class UnknownUser(LookupError):
    """There is no user with this id or email."""


class LastAdmin(Exception):
    """The change would leave no enabled admin."""

    def __init__(self) -> None:
        super().__init__("this is the last enabled admin: make somebody else an admin first")


class WrongPassword(Exception):
    """The present password is not the one that was given, or the account has none."""


@dataclass(frozen=True, slots=True)
class Account:
    user: User
    disabled: bool


@dataclass(frozen=True, slots=True)
class AccountChange:
    """The new values of an account. None leaves a value as it is."""

    name: str | None = None
    role: Role | None = None
    disabled: bool | None = None
    password: str | None = None
    signs_out: bool = False
    """Whether all sessions end, without any other change."""

    @property
    def ends_sessions(self) -> bool:
        return self.signs_out or self.password is not None or self.disabled is True

    @property
    def summary(self) -> str:
        """The changed fields as text for the record of access.

        A space comes before each field. Name and password are left out.
        """
        values = {
            "name": None if self.name is None else "",
            "role": None if self.role is None else f"={self.role}",
            "disabled": None if self.disabled is None else f"={str(self.disabled).lower()}",
            "password": None if self.password is None else "",
        }
        return "".join(f" {field}{value}" for field, value in values.items() if value is not None)

    @property
    def takes_an_admin(self) -> bool:
        """Whether this change makes an enabled admin lose the role or be disabled."""
        return self.disabled is True or self.role not in (None, Role.ADMIN)


async def accounts(database: Database) -> list[Account]:
    """Returns all accounts, ordered by name."""
    return [_account(row) for row in await database.fetch_all(ALL)]


async def account(database: Database, user_id: str) -> Account:
    """Returns one account. Raises `UnknownUser`."""
    row = await database.fetch_one(ONE, {"id": user_id})
    if row is None:
        raise UnknownUser(f"there is no user with the id {user_id}")
    return _account(row)


async def id_of(database: Database, email: str) -> str:
    """Returns the id of the user with this email. Raises `UnknownUser`."""
    user_id = await database.fetch_val(ID_OF_EMAIL, {"email": normal_email(email), "typed": email.strip()})
    if user_id is None:
        raise UnknownUser(f"there is no user with the email {email}")
    return str(user_id)


async def change_account(database: Database, user_id: str, change: AccountChange) -> Account:
    """Changes an account. The caller has checked the new name and the new password.

    Raises `UnknownUser`, `LastAdmin`.
    """
    password_hash = None if change.password is None else await asyncio.to_thread(hash_password, change.password)
    values = {
        "id": user_id,
        "name": change.name,
        "role": change.role,
        "disabled": change.disabled,
        "password_hash": password_hash,
        "ends_sessions": change.ends_sessions,
    }
    async with database.transaction():
        if change.takes_an_admin:
            admins = [row["id"] for row in await database.fetch_all(ENABLED_ADMINS)]
            if admins == [user_id]:
                raise LastAdmin
        row = await database.fetch_one(CHANGE, values)
    if row is None:
        raise UnknownUser(f"there is no user with the id {user_id}")
    return _account(row)


async def change_own_password(database: Database, user_id: str, current: str, new: str, *, kept_token: str) -> None:
    """Changes a password, and ends all other sessions of the user.

    The session that goes on is the one of the token with the id `kept_token`.

    The caller has checked the new password. Raises `WrongPassword`.
    """
    old = await database.fetch_val(HASH, {"id": user_id})
    if old is None or not (await asyncio.to_thread(verify_password, old, current)).matches:
        raise WrongPassword
    new_hash = await asyncio.to_thread(hash_password, new)
    values = {"id": user_id, "old": old, "new": new_hash, "kept_token": kept_token}
    if await database.fetch_val(CHANGE_OWN, values) is None:
        raise WrongPassword  # another request has changed the password in the meantime


def _account(row: Row) -> Account:
    return Account(user_from(row), bool(row["disabled"]))
