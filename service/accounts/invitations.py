"""Invitations: one-time links with which people set their own passwords.

A person has at most one invitation. A new invitation replaces it, and a new password ends it. The
database holds only the SHA-256 of the link's token, which has 256 random bits, so no slow hash is
needed.
"""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from events.database import Database
from service.accounts.passwords import hash_password
from service.accounts.people import UnknownUser

INVITATION_LIFE = timedelta(hours=72)

INVITE = """
insert into invitations (user_id, token_hash, expires_at)
select id, :token_hash, now() + :life from users where id = :user_id and disabled_at is null
on conflict on constraint a_user_has_one_invitation
do update set token_hash = excluded.token_hash, created_at = now(), expires_at = excluded.expires_at
returning expires_at
"""

VALID = """
select i.user_id from invitations i join users u on u.id = i.user_id and u.disabled_at is null
where i.token_hash = :token_hash and i.expires_at > now()
"""

# The deleted row is the proof that nobody has used this invitation before.
ACCEPT = """
with used as (
    delete from invitations where token_hash = :token_hash and expires_at > now() returning user_id
)
update users u set password_hash = :password_hash, token_generation = token_generation + 1, kept_token = null
from used where u.id = used.user_id and u.disabled_at is null
returning u.id
"""


class InvalidInvitation(Exception):
    """No invitation has this token, or it was used or replaced, or it has expired."""


@dataclass(frozen=True, slots=True)
class Invitation:
    token: str
    expires_at: datetime

    def link(self, address: str) -> str:
        """Returns the page's link under the service's address, such as https://jobs.example.com.

        The token is in the fragment, which browsers send to no server, so no log holds it.
        """
        return f"{address.rstrip('/')}/invitation#{self.token}"


async def invite(database: Database, user_id: str) -> Invitation:
    """Makes an invitation, in place of an earlier invitation.

    Raises `UnknownUser` if there is no such user, or if the user is disabled.
    """
    token = secrets.token_urlsafe(32)
    values = {"user_id": user_id, "token_hash": _hash(token), "life": INVITATION_LIFE}
    expires_at = await database.fetch_val(INVITE, values)
    if expires_at is None:
        raise UnknownUser(f"there is no enabled user with the id {user_id}")
    return Invitation(token, expires_at)


async def accept(database: Database, token: str, password: str) -> str:
    """Sets the invited user's password and ends all their sessions. Returns the user's id.

    The caller has checked the password. Raises `InvalidInvitation`.
    """
    # A token that is not valid is refused before the password is hashed, because hashing is slow.
    if await database.fetch_val(VALID, {"token_hash": _hash(token)}) is None:
        raise InvalidInvitation
    password_hash = await asyncio.to_thread(hash_password, password)
    user_id = await database.fetch_val(ACCEPT, {"token_hash": _hash(token), "password_hash": password_hash})
    if user_id is None:
        raise InvalidInvitation
    return str(user_id)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
