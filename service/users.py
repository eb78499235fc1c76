"""People who may sign in, and their tokens. The only SQL on `users` and `ended_tokens`.

A token is a JWT, but a request is let in only if its user still exists and it has not been ended: one query, whose answer is kept
for `FRESH` seconds. So a logout, a deletion or a change of role takes effect everywhere within that time. Tokens that are asked
for while a query is under way are asked for together in the next: a thousand streams ask as often as a few.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

import argon2
import jwt

from events.database import Database, Row
from service.together import Together

TOKEN_LIFE = timedelta(hours=12)
FRESH = 3.0  # seconds
KNOWN_WITHIN = 5.0  # seconds in which the database must say whose token it is
MOST_REMEMBERED = 10_000  # tokens
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 1024  # characters

FIND = "select id, email, name, role, password_hash from users where lower(email) = lower(:email)"

ADD = """
insert into users (id, email, name, role, password_hash) values (:id, :email, :name, :role, :password_hash)
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

END_TOKEN = """
with old as (delete from ended_tokens where expires_at < now())
insert into ended_tokens (id, expires_at) values (:token_id, :expires_at) on conflict do nothing
"""

# Verified for an unknown email, so that it takes the same time as a known one. Of the same parameters as `_hasher`'s.
NOBODYS_HASH = "$argon2id$v=19$m=65536,t=3,p=4$POLGdgIR4+cTlBOrcIUa6Q$TVTaeUkTohMxI7WsM4XeSJXzJbA1nh8L+IycIRGpClg"

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


class CannotAdd(Exception):
    """A user that cannot be: the message says why."""


async def add_user(database: Database, email: str, role: str, password: str, name: str | None = None) -> User:
    """A new user. Without a name, the email's first part is shown. Raises `CannotAdd`."""
    email = email.strip().lower()
    name = (name or email.partition("@")[0]).strip()
    if not re.fullmatch(r"[^@\s\0]+@[^@\s\0]+", email) or len(email) > 254:
        raise CannotAdd(f"{email!r} is not an email address")
    if role not in list(Role):
        raise CannotAdd(f"{role!r} is not a role: it is admin or employee")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
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
        self._current = Together(self._ask)
        # A verification takes 64 MiB and a core: a crowd at the door must not take the whole machine.
        self._verifying = asyncio.Semaphore(2)

    async def sign_in(self, email: str, password: str) -> tuple[User, str] | None:
        """The user and a new token; None where email and password don't belong together."""
        row = await self._database.fetch_one(FIND, {"email": email.strip()})
        async with self._verifying:
            matches = await asyncio.to_thread(_verify, NOBODYS_HASH if row is None else row["password_hash"], password)
        if row is None or not matches:
            return None
        user = _user(row)
        return user, self.new_token(user)

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
        try:
            return jwt.decode(token, self._secret, algorithms=["HS256"], options={"require": ["sub", "jti", "exp"]})
        except jwt.InvalidTokenError:
            return None

    def _remember(self, token: str, user: User | None, until: float) -> None:
        if self._known.get(token, (None, until))[1] > until:
            return  # it was ended while the query was under way
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[token] = (user, until)


def _user(row: Row) -> User:
    return User(row["id"], row["email"], row["name"], Role(row["role"]))


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except argon2.exceptions.VerificationError:
        return False
