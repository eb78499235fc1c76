"""Finds or makes the account of a person whom an identity provider has named.

An account belongs to an identity by issuer and subject, never by its email alone. All SQL on
`identities` is here. At the first sign-in of an identity:

- a new email makes a new account, without a password,
- an account that was invited and has no password yet gets the identity,
- an account with a password gets it only if the same browser is signed in to that account, because
  otherwise the next holder of an email would get the account of the one before,
- an account with another identity of this provider never gets it.

Where OIDC_ROLE_CLAIM is set, the provider decides the role at each sign-in. The last enabled admin
stays an admin. `users.py` adds the account and `people.py` changes it, as they do when an admin
asks for it.
"""

import re
from collections.abc import Awaitable, Callable
from enum import StrEnum

import structlog

from events.database import Database
from service.accounts.access_records import Action
from service.accounts.oidc_tokens import Identity
from service.accounts.people import AccountChange, LastAdmin, change_account
from service.accounts.users import LONGEST_NAME, CannotAdd, Role, User, add_user, normal_email, user_from

log = structlog.get_logger("rireki.sign_in")

Changed = Callable[[Action, str, str], Awaitable[None]]
"""Is called after an account is added, is changed, or gets an identity.

Its arguments are the action, the user's id and the changed fields. The fields have the form of `AccountChange.summary`.
"""

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

# Another request of the same person may have added the same identity first.
LINK = """
insert into identities (issuer, subject, user_id) values (:issuer, :subject, :user_id)
on conflict on constraint an_identity_is_of_one_user do nothing
returning user_id
"""


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


async def user_of_identity(database: Database, identity: Identity, signed_in: User | None, changed: Changed) -> User:
    """Returns the user of an identity. `signed_in` is the user of the browser's session.

    `changed` is called after each commit that adds an account, changes it or gives it the identity. Raises `IdentityRefused`.
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
            user_id, is_new = await _account_for(database, identity, signed_in)
            linked = await database.fetch_one(LINK, key | {"user_id": user_id})
        if is_new:
            await changed(Action.ADD_USER, user_id, f" role={_first_role(identity)}")
        if linked is not None:
            await changed(Action.LINK_IDENTITY, user_id, f" issuer={identity.issuer}")
        row = await database.fetch_one(FOUND, key)
    if row is None or row["disabled"]:
        raise IdentityRefused(Refusal.DISABLED)
    user = user_from(row)
    return user if identity.role in (None, user.role) else await _with_role(database, user, identity.role, changed)


async def _with_role(database: Database, user: User, role: Role, changed: Changed) -> User:
    """Gives the user the role that the provider names. Returns the user.

    The last admin stays an admin.
    """
    change = AccountChange(role=role)
    try:
        account = await change_account(database, user.id, change)
    except LastAdmin:
        log.warning("the last admin keeps the role that the identity provider takes away", user_id=user.id)
        return user
    await changed(Action.CHANGE_USER, user.id, change.summary)
    return account.user


async def _account_for(database: Database, identity: Identity, signed_in: User | None) -> tuple[str, bool]:
    """Returns the id of the account that a new identity gets, and whether it is new.

    Adds the account if no account has the email. Raises `IdentityRefused`.
    """
    email = normal_email(identity.email or "")
    key = {"email": email, "issuer": identity.issuer, "subject": identity.subject}
    same = await database.fetch_one(SAME_EMAIL, key)
    if same is None:
        try:
            user = await add_user(database, email, _first_role(identity), None, _name(identity, email))
        except CannotAdd as refusal:
            if not refusal.taken:
                raise IdentityRefused(Refusal.EMAIL_MISSING) from refusal
        else:
            return user.id, True
        same = await database.fetch_one(SAME_EMAIL, key)  # another request has added it in the meantime
    is_theirs = same is not None and (not same["has_password"] or (signed_in is not None and signed_in.id == same["id"]))
    if same is None or not is_theirs or same["is_anothers"]:
        raise IdentityRefused(Refusal.EMAIL_TAKEN)
    return str(same["id"]), False


def _first_role(identity: Identity) -> Role:
    """Returns the role of a new account."""
    return identity.role or Role.EMPLOYEE


def _name(identity: Identity, email: str) -> str:
    name = (identity.name or "").replace("\0", "").strip()[:LONGEST_NAME]
    return name or email.partition("@")[0][:LONGEST_NAME]
