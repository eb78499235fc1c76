"""People who may sign in, and their tokens. The only SQL on `users` and `ended_tokens`.

A token is a JWT, but a request is let in only if its user still exists and it has not been ended: one query, whose answer is kept
for `FRESH` seconds. So a logout, a deletion or a change of role takes effect everywhere within that time. Tokens that are asked
for while a query is under way are asked for together in the next: a thousand streams ask as often as a few.
"""

import asyncio
import contextlib
import re
import secrets
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

import argon2
import jwt

from events.database import AWAY, Database, Row
from service.accounts.sign_in_queue import SignInLine
from service.live.batch_loader import BatchLoader

TOKEN_LIFE = timedelta(hours=12)
FRESH = 3.0  # seconds
KNOWN_WITHIN = 5.0  # seconds in which the database must say whose token it is
MOST_REMEMBERED = 10_000  # tokens
LONGEST_TOKEN = 4096  # characters
LATEST_EXPIRY = 253_402_300_799  # the end of the year 9999: no later time can be stored
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 1024  # characters

# Emails that were stored before they were normalised are found as they were typed.
FIND = """
select id, email, name, role, password_hash from users where lower(email) in (lower(:email), lower(:typed))
order by lower(email) = lower(:email) desc
limit 1
"""

ADD = """
insert into users (id, email, name, role, password_hash)
select cast(:id as uuid), cast(:email as text), :name, :role, :password_hash
where not exists (select from users where lower(normalize(email, NFKC)) = lower(:email))
on conflict (lower(email)) do nothing
returning id
"""

CURRENT = """
select asked.token_id, u.id, u.email, u.name, u.role
from unnest(cast(:user_ids as uuid[]), cast(:token_ids as text[])) as asked(user_id, token_id)
join users u on u.id = asked.user_id
where not exists (select from ended_tokens e where e.id = asked.token_id)
"""

ALL = "select id, email, name, role from users order by lower(name), email"

# Nothing where the password has been changed meanwhile.
REHASH = "update users set password_hash = :new where id = :id and password_hash = :old"

END_TOKEN = """
with old as (delete from ended_tokens where expires_at < now())
insert into ended_tokens (id, expires_at) values (:token_id, :expires_at) on conflict do nothing
"""

# Verified for an unknown email, so that it takes the same time as a known one. Of the same parameters as `_hasher`'s.
NOBODYS_HASH = "$argon2id$v=19$m=65536,t=3,p=4$POLGdgIR4+cTlBOrcIUa6Q$TVTaeUkTohMxI7WsM4XeSJXzJbA1nh8L+IycIRGpClg"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOKEN_ID = re.compile(r"[\x21-\x7e]{1,200}")

_hasher = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)


class Role(StrEnum):
    ADMIN = "admin"
    EMPLOYEE = "employee"


@dataclass(frozen=True, slots=True)
class User:
    id: str
    email: str
    name: str
    role: Role

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN


def normal_email(email: str) -> str:
    """As it is stored, compared and counted: a full-width letter, `＠` or a space at an end makes no other person."""
    return unicodedata.normalize("NFKC", email).strip().lower()


def normal_password(password: str) -> str:
    """As it is hashed: the same password whichever keyboard typed it (NFKC, as RFC 8265 does for width and composition)."""
    return unicodedata.normalize("NFKC", password)


class CannotAdd(Exception):
    """A user that cannot be: the message says why."""


async def add_user(database: Database, email: str, role: str, password: str, name: str | None = None) -> User:
    """A new user. Without a name, the email's first part is shown. Raises `CannotAdd`."""
    email = normal_email(email)
    name = (name or email.partition("@")[0]).strip()
    typed, password = password, normal_password(password)
    if not re.fullmatch(r"[^@\s\0]+@[^@\s\0]+", email) or len(email) > 254:
        raise CannotAdd(f"{email!r} is not an email address")
    if role not in list(Role):
        raise CannotAdd(f"{role!r} is not a role: it is admin or employee")
    if len(typed) > LONGEST_PASSWORD or min(len(typed), len(password)) < SHORTEST_PASSWORD:
        raise CannotAdd(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    if "\0" in password:
        raise CannotAdd("a password holds no NUL character: nobody could sign in with it")
    if not name or "\0" in name or len(name) > 200:
        raise CannotAdd("a name has 1 to 200 characters")
    user = User(str(uuid4()), email, name, Role(role))
    password_hash = await asyncio.to_thread(_hasher.hash, password)
    values = {"id": user.id, "email": email, "name": name, "role": role, "password_hash": password_hash}
    if await database.fetch_val(ADD, values) is None:
        raise CannotAdd(f"{email} is a user already")
    return user


async def nobody_yet(database: Database) -> bool:
    """Whether nobody has ever been added."""
    return not await database.fetch_val("select exists (select from users)")


class Users:
    """Who signs in, and whose token a request carries."""

    def __init__(self, database: Database, secret: str) -> None:
        self._database = database
        self._secret = secret
        self._known: dict[str, tuple[User | None, float]] = {}
        self._current = BatchLoader(self._ask)

    async def sign_in(self, email: str, password: str, line: SignInLine, address: str) -> tuple[User, str] | None:
        """The user and a new token; None where email and password don't belong together. `address` is whom the line counts. Raises
        `LineFull`."""
        async with asyncio.timeout(KNOWN_WITHIN):
            row = await self._database.fetch_one(FIND, {"email": normal_email(email), "typed": email.strip()})
        async with line.hasher(address):
            verified = await asyncio.to_thread(_verify, NOBODYS_HASH if row is None else row["password_hash"], password)
        if row is None or not verified.matches:
            return None
        if verified.rehashed is not None:
            await self._rehash(row, verified.rehashed)
        user = _user(row)
        return user, self.new_token(user)

    async def _rehash(self, row: Row, new: str) -> None:
        with contextlib.suppress(*AWAY):  # the next time will do as well
            async with asyncio.timeout(KNOWN_WITHIN):
                await self._database.execute(REHASH, {"id": row["id"], "old": row["password_hash"], "new": new})

    def new_token(self, user: User) -> str:
        now = datetime.now(UTC)
        claims = {"sub": user.id, "jti": secrets.token_urlsafe(16), "iat": now, "exp": now + TOKEN_LIFE}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    async def of_token(self, token: str) -> User | None:
        """Whose token this is; None for one that is forged, expired or ended, or whose user is gone."""
        now = time.monotonic()
        known = self._known.get(token)
        if known is not None and now < known[1]:
            return known[0]
        if self._claims(token) is None:
            return None
        async with asyncio.timeout(KNOWN_WITHIN):
            return await self._current.get(token)

    async def _ask(self, tokens: Sequence[str]) -> dict[str, User | None]:
        now, claimed = time.monotonic(), {token: claims for token in tokens if (claims := self._claims(token)) is not None}
        values = {
            "user_ids": [claims["sub"] for claims in claimed.values()],
            "token_ids": [claims["jti"] for claims in claimed.values()],
        }
        # All who come meanwhile wait for this answer.
        async with asyncio.timeout(KNOWN_WITHIN):
            rows = await self._database.fetch_all(CURRENT, values)
        users = {row["token_id"]: _user(row) for row in rows}
        current = {token: users.get(claims["jti"]) for token, claims in claimed.items()}
        for token, claims in claimed.items():
            self._remember(token, current[token], now + min(FRESH, claims["exp"] - time.time()))
        return current

    async def all(self) -> list[User]:
        """Everybody, by name."""
        return [_user(row) for row in await self._database.fetch_all(ALL)]

    async def end_token(self, token: str) -> None:
        """The token lets nobody in any more: here at once, in other processes within `FRESH` seconds."""
        claims = self._claims(token)
        if claims is not None:
            expires_at = datetime.fromtimestamp(claims["exp"], UTC)
            await self._database.execute(END_TOKEN, {"token_id": claims["jti"], "expires_at": expires_at})
            self._remember(token, None, time.monotonic() + FRESH)

    def _claims(self, token: str) -> dict[str, Any] | None:
        """What a token of ours says; None for any other. It may be signed with our key by another program: each claim is checked
        for what the database and the clock make of it."""
        if len(token) > LONGEST_TOKEN:
            return None
        try:
            claims = jwt.decode(token, self._secret, algorithms=["HS256"], options={"require": ["sub", "jti", "exp"]})
        except (jwt.InvalidTokenError, RecursionError, ValueError, TypeError, OverflowError):
            return None  # the latter four are the decoder's own words for a header or claims that are no sane JSON
        return claims if _ours(claims) else None

    def _remember(self, token: str, user: User | None, until: float) -> None:
        if self._known.get(token, (None, until))[1] > until:
            return  # it was ended while the query was under way
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[token] = (user, until)


def _user(row: Row) -> User:
    return User(row["id"], row["email"], row["name"], Role(row["role"]))


def _ours(claims: dict[str, Any]) -> bool:
    sub, jti, exp = claims["sub"], claims["jti"], claims["exp"]
    return (
        isinstance(sub, str) and bool(_UUID.fullmatch(sub))
        and isinstance(jti, str) and bool(_TOKEN_ID.fullmatch(jti))
        and type(exp) in (int, float) and exp <= LATEST_EXPIRY
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Verified:
    matches: bool
    rehashed: str | None = None
    """What takes the place of an old hash: of a text that was not normalised, or of weaker parameters."""


def _verify(password_hash: str, password: str) -> _Verified:
    """A password beyond ASCII is also tried as it was typed and in the other forms that a keyboard gives it, because the hash may
    be older than the normalisation."""
    normal = normal_password(password)
    forms = [normal, password, *(unicodedata.normalize(form, password) for form in ("NFC", "NFD"))]
    for text in dict.fromkeys(forms):
        try:
            _hasher.verify(password_hash, text)
        except argon2.exceptions.VerificationError:
            continue
        old = text != normal or _hasher.check_needs_rehash(password_hash)
        return _Verified(True, _hasher.hash(normal) if old else None)
    return _Verified(False)
