"""Users, sign-in and tokens.

`people.py` changes accounts, and `invitations.py` invites people.

A token is a JWT that names its user and the user's token generation. A query also checks that the
user exists and is not disabled, that the generation is the present one, and that the token was not
ended by a logout. The result is cached for `FRESH` seconds, so every change of an account takes
effect in all processes within that time. A query also refreshes all other tokens in use, so a
process asks about once a second, however many people and streams it serves.
"""

import asyncio
import contextlib
import itertools
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

import jwt

from events.database import AWAY, Database, Row
from service.accounts.passwords import (
    OUR_PARAMETERS,
    PasswordRefused,
    check_password,
    hash_password,
    stand_in_for,
    verify_password,
)
from service.accounts.sign_in_queue import SignInLine
from service.live.batch_loader import BatchLoader

TOKEN_LIFE = timedelta(hours=12)
FRESH = 1.0  # seconds that the user of a token is cached
IN_USE = 10.0  # seconds without a check after which a token is no longer refreshed along with others
MOST_REFRESHED = 1_000  # tokens in one query
KNOWN_WITHIN = 5.0  # seconds that the database has to answer a query
MOST_REMEMBERED = 10_000  # tokens in the cache
LONGEST_TOKEN = 4096  # characters
LONGEST_NAME = 200  # characters
LATEST_EXPIRY = 253_402_300_799  # Unix seconds: the end of the year 9999, the latest time that Python can hold
LATEST_GENERATION = 2**31 - 1  # the largest value of PostgreSQL's type integer

# `:typed` finds emails that were stored before emails were normalised.
FIND = """
select id, email, name, role, token_generation, disabled_at, password_hash from users
where lower(email) in (lower(:email), lower(:typed))
order by lower(email) = lower(:email) desc
limit 1
"""

OLDER_HASHES = f"select exists (select from users where password_hash not like '{OUR_PARAMETERS}%')"

ADD = """
insert into users (id, email, name, role, password_hash)
select cast(:id as uuid), cast(:email as text), :name, :role, :password_hash
where not exists (select from users where lower(normalize(email, NFKC)) = lower(:email))
on conflict (lower(email)) do nothing
returning id
"""

CURRENT = """
select asked.token_id, u.id, u.email, u.name, u.role, u.token_generation
from unnest(cast(:user_ids as uuid[]), cast(:token_ids as text[]), cast(:generations as integer[]))
    as asked(user_id, token_id, generation)
join users u on u.id = asked.user_id and u.disabled_at is null
    and (u.token_generation = asked.generation or u.kept_token = asked.token_id)
where not exists (select from ended_tokens e where e.id = asked.token_id)
"""

# Changes nothing if the password was changed in the meantime.
REHASH = "update users set password_hash = :new where id = :id and password_hash = :old"

END_TOKEN = """
with old as (delete from ended_tokens where expires_at < now())
insert into ended_tokens (id, expires_at) values (:token_id, :expires_at) on conflict do nothing
"""

NAME_RULE = f"must have 1 to {LONGEST_NAME} characters, none of them NUL"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOKEN_ID = re.compile(r"[\x21-\x7e]{1,200}")


class Role(StrEnum):
    ADMIN = "admin"
    EMPLOYEE = "employee"
    AUDITOR = "auditor"


READERS_OF_ALL = frozenset({Role.ADMIN, Role.AUDITOR})
"""The roles that read everybody's jobs and the whole log."""


@dataclass(frozen=True, slots=True)
class User:
    id: str
    email: str
    name: str
    role: Role
    token_generation: int = 0
    """The generation of the user's valid tokens. Signing out everywhere opens the next one."""

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    @property
    def reads_all(self) -> bool:
        """Whether the user reads everybody's jobs and the whole log."""
        return self.role in READERS_OF_ALL


def normal_email(email: str) -> str:
    """Returns an email as it is stored and compared: NFKC, trimmed, in lower case."""
    return unicodedata.normalize("NFKC", email).strip().lower()


class CannotAdd(Exception):
    """The user cannot be added. The message names the fault and the rule.

    `detail` says the rule of `field` and begins with a verb. `taken` means that another user has
    the email.
    """

    def __init__(self, message: str, field: str, detail: str, *, taken: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.detail = detail
        self.taken = taken


async def add_user(database: Database, email: str, role: str, password: str | None, name: str | None = None) -> User:
    """Adds a user. Without a name, the email up to the @ is used. Raises `CannotAdd`.

    Without a password the user cannot sign in before an invitation is accepted.
    """
    email = normal_email(email)
    name = (name or email.partition("@")[0]).strip()
    if not re.fullmatch(r"[^@\s\0]+@[^@\s\0]+", email) or len(email) > 254:
        rule = "like yamada@example.com, at most 254 characters"
        raise CannotAdd(f"{email!r} is not an email address: give one {rule}", "email", f"must be an email address {rule}")
    if role not in list(Role):
        raise CannotAdd(f"{role!r} is not a role: use {', '.join(Role)}", "role", f"must be one of {', '.join(Role)}")
    try:
        if password is not None:
            check_password(password)
    except PasswordRefused as refusal:
        raise CannotAdd(str(refusal), "password", refusal.detail) from None
    if not is_name(name):
        raise CannotAdd(f"the name {NAME_RULE}", "name", NAME_RULE)
    user = User(str(uuid4()), email, name, Role(role))
    password_hash = None if password is None else await asyncio.to_thread(hash_password, password)
    values = {"id": user.id, "email": email, "name": name, "role": role, "password_hash": password_hash}
    if await database.fetch_val(ADD, values) is None:
        taken = f"there is already a user with the email {email}"
        raise CannotAdd(taken, "email", "belongs to another user: give another one", taken=True)
    return user


def is_name(name: str) -> bool:
    """Whether a person may have this name."""
    return len(name.strip()) >= 1 and len(name) <= LONGEST_NAME and "\0" not in name


async def nobody_yet(database: Database) -> bool:
    """Whether the table `users` is empty."""
    return not await database.fetch_val("select exists (select from users)")


class Users:
    """Signs users in, and finds the user of a token."""

    def __init__(self, database: Database, secret: str) -> None:
        self._database = database
        self._secret = secret
        self._known: dict[str, _Known] = {}
        self._changed_at = 0.0
        self._current = BatchLoader(self._ask)

    async def sign_in(self, email: str, password: str, line: SignInLine, address: str) -> tuple[User, str] | None:
        """Returns the user and a new token; None if the email or the password is wrong.

        `address` is the client's address; `line` limits the sign-ins from each address. Raises
        `LineFull`.
        """
        async with asyncio.timeout(KNOWN_WITHIN):
            row = await self._database.fetch_one(FIND, {"email": normal_email(email), "typed": email.strip()})
            # This is read for a known email too, so that a known and an unknown email take the same
            # time.
            older_hashes = bool(await self._database.fetch_val(OLDER_HASHES))
        async with line.hasher(address):
            stand_in = stand_in_for(normal_email(email), self._secret, older_hashes=older_hashes)
            password_hash = (row and row["password_hash"]) or stand_in
            verified = await asyncio.to_thread(verify_password, password_hash, password)
        if row is None or not verified.matches or row["disabled_at"] is not None:
            return None
        if verified.rehashed is not None:
            await self._rehash(row, verified.rehashed)
        user = user_from(row)
        return user, self.new_token(user)

    async def _rehash(self, row: Row, new: str) -> None:
        with contextlib.suppress(*AWAY):  # the next sign-in tries again
            async with asyncio.timeout(KNOWN_WITHIN):
                await self._database.execute(REHASH, {"id": row["id"], "old": row["password_hash"], "new": new})

    def new_token(self, user: User) -> str:
        """Returns a new token for a user, valid for `TOKEN_LIFE`."""
        now = datetime.now(UTC)
        claims = {"sub": user.id, "jti": secrets.token_urlsafe(16), "gen": user.token_generation, "iat": now}
        claims |= {"exp": now + TOKEN_LIFE}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    async def of_token(self, token: str) -> User | None:
        """Returns the user of a token, or None.

        Returns None if the token is forged, has expired or was ended, or if its user is disabled or
        deleted.
        """
        now = time.monotonic()
        known = self._known.get(token)
        if known is not None:
            known.used_at = now
            if now < known.until:
                return known.user
        if self._claims(token) is None:
            return None
        async with asyncio.timeout(KNOWN_WITHIN):
            return await self._current.get(token)

    async def _ask(self, tokens: Sequence[str]) -> dict[str, User | None]:
        now, claimed = time.monotonic(), {token: claims for token in tokens if (claims := self._claims(token)) is not None}
        claimed |= self._others_in_use(now, MOST_REFRESHED - len(claimed))
        values = {
            "user_ids": [claims["sub"] for claims in claimed.values()],
            "token_ids": [claims["jti"] for claims in claimed.values()],
            "generations": [claims.get("gen", 0) for claims in claimed.values()],
        }
        # The timeout is needed, because all requests that arrive in the meantime wait for this
        # query.
        async with asyncio.timeout(KNOWN_WITHIN):
            rows = await self._database.fetch_all(CURRENT, values)
        users = {row["token_id"]: user_from(row) for row in rows}
        current = {token: users.get(claims["jti"]) for token, claims in claimed.items()}
        if self._changed_at < now:  # otherwise the query may have read the account before its change
            for token, claims in claimed.items():
                self._remember(token, claims, current[token], now + min(FRESH, claims["exp"] - time.time()))
        return current

    def _others_in_use(self, now: float, most: int) -> dict[str, dict[str, Any]]:
        """Returns the claims of other valid tokens that were checked lately, at most `most`."""
        used_since = now - IN_USE
        in_use = (
            (token, known.claims)
            for token, known in self._known.items()
            if known.used_at >= used_since and known.user is not None and known.claims["exp"] > time.time()
        )
        return dict(itertools.islice(in_use, max(0, most)))

    def forget(self, user_id: str) -> None:
        """Makes this process ask the database again about all tokens of a user.

        Call it after a change of the account.
        """
        self._changed_at = time.monotonic()
        for known in self._known.values():
            if known.claims["sub"] == user_id:
                known.until = 0.0

    def token_id(self, token: str) -> str | None:
        """Returns the id of a token that this program made; None for any other token."""
        claims = self._claims(token)
        return None if claims is None else str(claims["jti"])

    async def end_token(self, token: str) -> None:
        """Ends a token: at once in this process, and within `FRESH` seconds in others."""
        claims = self._claims(token)
        if claims is not None:
            expires_at = datetime.fromtimestamp(claims["exp"], UTC)
            await self._database.execute(END_TOKEN, {"token_id": claims["jti"], "expires_at": expires_at})
            self._remember(token, claims, None, time.monotonic() + FRESH)

    def _claims(self, token: str) -> dict[str, Any] | None:
        """Returns the claims of a token that this program made; None for any other token.

        Another program may sign tokens with the same key, so each claim is checked before the
        database or the clock uses it.
        """
        if len(token) > LONGEST_TOKEN:
            return None
        try:
            claims = jwt.decode(token, self._secret, algorithms=["HS256"], options={"require": ["sub", "jti", "exp"]})
        except (jwt.InvalidTokenError, RecursionError, ValueError, TypeError, OverflowError):
            return None  # For a malformed token, the decoder also raises errors of other libraries.
        return claims if _ours(claims) else None

    def _remember(self, token: str, claims: dict[str, Any], user: User | None, until: float) -> None:
        known = self._known.get(token)
        if known is not None and known.until > until:
            return  # the token was ended while the query was running
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        used_at = time.monotonic() if known is None else known.used_at
        self._known[token] = _Known(claims, user, until, used_at)


@dataclass(slots=True)
class _Known:
    """A token in the cache.

    `user` is valid until the monotonic time `until`. It is None if the token is not valid.
    """

    claims: dict[str, Any]
    user: User | None
    until: float
    used_at: float


def user_from(row: Row) -> User:
    """Makes a `User` from a row with the columns id, email, name, role and token_generation."""
    return User(row["id"], row["email"], row["name"], Role(row["role"]), row["token_generation"])


def _ours(claims: dict[str, Any]) -> bool:
    sub, jti, exp, generation = claims["sub"], claims["jti"], claims["exp"], claims.get("gen", 0)
    return (
        isinstance(sub, str) and bool(_UUID.fullmatch(sub))
        and isinstance(jti, str) and bool(_TOKEN_ID.fullmatch(jti))
        and type(exp) in (int, float) and exp <= LATEST_EXPIRY
        and type(generation) is int and 0 <= generation <= LATEST_GENERATION
    )  # fmt: skip
