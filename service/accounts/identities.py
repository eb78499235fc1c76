"""Finds or makes the account of a person whom an identity provider has named.

An account belongs to an identity by issuer and subject, never by its email alone. All SQL on
`identities` is here. At the first sign-in of an identity:

- a new email makes a new account, without a password,
- an account that was invited and has no password yet gets the identity,
- an account with a password gets it only if the same browser is signed in to that account, because
  otherwise the next holder of an email would get the account of the one before,
- an account with another identity of this provider never gets it.

Where OIDC_ROLE_CLAIM is set, the provider decides the role at each sign-in. The last enabled admin
stays an admin.
"""

import re
from dataclasses import replace
from enum import StrEnum
from uuid import uuid4

import structlog

from events.database import Database
from service.accounts.oidc_tokens import Identity
from service.accounts.users import Role, User, _user, normal_email

log = structlog.get_logger("rireki.sign_in")

LONGEST_NAME = 200  # characters

FOUND = """
select u.id, u.email, u.name, u.role, u.token_generation, u.disabled_at is not null as disabled
from identities i join users u on u.id = i.user_id
where i.issuer = :issuer and i.subject = :subject
"""

SAME_EMAIL = """
select id, password_hash is not null as has_password,
    exists (select from identities i where i.user_id = u.id and i.issuer = :issuer and i.subject <> :subject) as is_anothers
from users u
where lower(normalize(email, NFKC)) = lower(:email)
for update
"""

ADD_USER = "insert into users (id, email, name, role) values (:id, :email, :name, :role) on conflict (lower(email)) do nothing"

# Another request of the same person may have added the same identity first.
LINK = """
insert into identities (issuer, subject, user_id) values (:issuer, :subject, :user_id)
on conflict on constraint an_identity_is_of_one_user do nothing
"""


# The rows are locked in the order of their ids, so that two changes cannot deadlock.
ENABLED_ADMINS = "select id from users where role = 'admin' and disabled_at is null order by id for update"

SET_ROLE = "update users set role = :role where id = :id"


class Refusal(StrEnum):
    EMAIL_MISSING = "email-missing"
    EMAIL_NOT_VERIFIED = "email-not-verified"
    EMAIL_TAKEN = "email-taken"
    DISABLED = "disabled"


class IdentityRefused(Exception):
    """The person may not sign in."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


async def user_of_identity(database: Database, identity: Identity, signed_in: User | None) -> User:
    """Returns the user of an identity. `signed_in` is the user of the browser's session.

    Raises `IdentityRefused`.
    """
    # An unverified email may be anybody's, and the email decides which account an identity gets.
    if identity.email is None or not re.fullmatch(r"[^@\s\0]+@[^@\s\0]+", normal_email(identity.email)):
        raise IdentityRefused(Refusal.EMAIL_MISSING)
    if not identity.email_verified:
        raise IdentityRefused(Refusal.EMAIL_NOT_VERIFIED)
    key = {"issuer": identity.issuer, "subject": identity.subject}
    row = await database.fetch_one(FOUND, key)
    if row is None:
        async with database.transaction():
            await database.execute(LINK, key | {"user_id": await _account_for(database, identity, signed_in)})
        row = await database.fetch_one(FOUND, key)
    if row is None or row["disabled"]:
        raise IdentityRefused(Refusal.DISABLED)
    user = _user(row)
    return user if identity.role in (None, user.role) else await _with_role(database, user, identity.role)


async def _with_role(database: Database, user: User, role: Role) -> User:
    """Gives the user the role that the provider names. Returns the user.

    The last admin stays an admin.
    """
    async with database.transaction():
        admins = [str(row["id"]) for row in await database.fetch_all(ENABLED_ADMINS)]
        if admins == [user.id]:
            log.warning("the last admin keeps the role that the identity provider takes away", user_id=user.id)
            return user
        await database.execute(SET_ROLE, {"id": user.id, "role": role})
    return replace(user, role=role)


async def _account_for(database: Database, identity: Identity, signed_in: User | None) -> str:
    """Returns the id of the account that a new identity gets.

    Adds the account if no account has the email. Raises `IdentityRefused`.
    """
    email = normal_email(identity.email or "")
    key = {"email": email, "issuer": identity.issuer, "subject": identity.subject}
    added = {"id": str(uuid4()), "email": email, "name": _name(identity, email), "role": identity.role or Role.EMPLOYEE}
    same = await database.fetch_one(SAME_EMAIL, key)
    if same is None:
        await database.execute(ADD_USER, added)
        same = await database.fetch_one(SAME_EMAIL, key)
    is_theirs = same is not None and (not same["has_password"] or (signed_in is not None and signed_in.id == same["id"]))
    if same is None or not is_theirs or same["is_anothers"]:
        raise IdentityRefused(Refusal.EMAIL_TAKEN)
    return str(same["id"])


def _name(identity: Identity, email: str) -> str:
    name = (identity.name or "").replace("\0", "").strip()[:LONGEST_NAME]
    return name or email.partition("@")[0]
