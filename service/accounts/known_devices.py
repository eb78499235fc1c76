"""Devices that have signed in before, as OWASP's device cookies describe them.

A device gets a cookie at its first sign-in. The cookie holds a random id and the accounts that have
signed in with it, as keyed hashes of their emails, and is signed. It does not sign anybody in. Its
owner's wrong passwords are counted apart from those of strangers, so a stranger who guesses cannot
keep the owner out.
"""

import re
import secrets
import time
from dataclasses import dataclass

import jwt

from service.accounts.keyed_hash import keyed_hash

LIFE = 400 * 24 * 3600  # seconds; browsers keep no cookie for longer
MOST_ACCOUNTS = 8  # accounts of one device; the oldest is dropped
LONGEST_COOKIE = 1024  # characters

_ID = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class Device:
    id: str
    accounts: tuple[str, ...] = ()

    def knows(self, account: str) -> bool:
        """Whether this account has signed in with this device."""
        return account in self.accounts


class KnownDevices:
    """Reads and signs the cookies of devices with a key derived from JWT_SECRET."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._key = keyed_hash(secret, "device cookie", "")

    def read(self, cookie: str | None) -> Device | None:
        """Returns the device of a cookie; None if it is missing, forged or expired."""
        if cookie is None or len(cookie) > LONGEST_COOKIE:
            return None
        try:
            claims = jwt.decode(cookie, self._key, algorithms=["HS256"], options={"require": ["exp", "jti", "accounts"]})
        except (jwt.InvalidTokenError, RecursionError, ValueError, TypeError, OverflowError):
            return None  # For a malformed token, the decoder also raises errors of other libraries.
        device, accounts = claims["jti"], claims["accounts"]
        if not (isinstance(device, str) and _ID.fullmatch(device) and isinstance(accounts, list)):
            return None
        return Device(device, tuple(account for account in accounts if isinstance(account, str)))

    def account(self, email: str) -> str:
        """Returns the text that stands for an email in cookies of devices, in counts and in logs.

        Nobody without JWT_SECRET can find the email by trying.
        """
        return keyed_hash(self._secret, "email", email)[:12].hex()

    def cookie(self, device: Device | None, account: str) -> str:
        """Returns the cookie of a device with which this account has just signed in."""
        device = device or Device(secrets.token_urlsafe(16))
        accounts = [account, *(known for known in device.accounts if known != account)][:MOST_ACCOUNTS]
        claims = {"jti": device.id, "accounts": accounts, "exp": int(time.time()) + LIFE}
        return jwt.encode(claims, self._key, algorithm="HS256")
