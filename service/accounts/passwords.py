"""The rules for new passwords, and the hashes of passwords.

A new password has `SHORTEST` to `LONGEST` characters and is not a common one. No kinds of
characters are required. An existing password that breaks a rule goes on working.

The parameters of Argon2id are the first row of OWASP's Password Storage Cheat Sheet: 46 MiB
(m=47104), one pass, one thread. OWASP calls its rows equally strong. The first needs the most
memory, and memory is what limits a guesser with graphics cards. One thread leaves the other cores
to the API, and the queue of sign-ins bounds the memory. A hash with other parameters verifies too,
and is replaced at the next sign-in.
"""

import secrets
import unicodedata
from dataclasses import dataclass

import argon2

from service.accounts.common_passwords import is_common
from service.accounts.keyed_hash import keyed_hash

SHORTEST, LONGEST = 12, 256  # characters in NFKC

OUR_PARAMETERS = "$argon2id$v=19$m=47104,t=1,p=1$"
"""The beginning of every hash that `hash_password` makes."""

# Hashes that no password matches: the first has our parameters, the second those of older hashes.
STAND_INS = (
    "$argon2id$v=19$m=47104,t=1,p=1$z/G7qxPLFuT/9UPFg5WjOw$40yC6trOdoNwqac/FDN177ld5Xh6/bcsHSLou+dMKbU",
    "$argon2id$v=19$m=65536,t=3,p=4$POLGdgIR4+cTlBOrcIUa6Q$TVTaeUkTohMxI7WsM4XeSJXzJbA1nh8L+IycIRGpClg",
)

_hasher = argon2.PasswordHasher(time_cost=1, memory_cost=46 * 1024, parallelism=1)


class PasswordRefused(Exception):
    """The password breaks a rule.

    `detail` begins with a verb ("must have …"), as the detail of a field error does.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(f"the password {detail}")
        self.detail = detail


def check_password(password: str) -> None:
    """Raises `PasswordRefused` if this may not be a new password."""
    normal = normal_password(password)
    # Both forms are counted, because ㍿ is one character and NFKC makes it four, but it is as easy to guess.
    if min(len(password), len(normal)) < SHORTEST or len(normal) > LONGEST:
        raise PasswordRefused(f"must have {SHORTEST} to {LONGEST} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in normal):
        raise PasswordRefused("must not contain control characters, because nobody can type them into a form")
    if is_common(normal):
        raise PasswordRefused(
            "must not be one of the most common passwords, also not with digits at its end: choose another one"
        )


def random_password() -> str:
    """Returns a random password of 16 characters that `check_password` accepts."""
    while is_common(password := secrets.token_urlsafe(12)):
        pass  # a Bloom filter wrongly refuses a few passwords
    return password


def normal_password(password: str) -> str:
    """Returns the password in NFKC. Only this form is hashed.

    Keyboards write some characters in different forms, which are equal in NFKC.
    """
    return unicodedata.normalize("NFKC", password)


def hash_password(password: str) -> str:
    """Returns the hash of a password. It takes 46 MiB and a core for a part of a second."""
    return _hasher.hash(normal_password(password))


@dataclass(frozen=True, slots=True)
class Verified:
    matches: bool
    rehashed: str | None = None
    """The new hash to store, if the old hash has other parameters or is of a text that was not normalised."""


def verify_password(password_hash: str, password: str) -> Verified:
    """Verifies a password against a hash.

    A password beyond ASCII is also tried as typed, and in NFC and NFD, because the hash may be
    older than the normalisation.
    """
    normal = normal_password(password)
    forms = [normal, password, *(unicodedata.normalize(form, password) for form in ("NFC", "NFD"))]
    for text in dict.fromkeys(forms):
        try:
            _hasher.verify(password_hash, text)
        except argon2.exceptions.VerificationError:
            continue
        old = text != normal or _hasher.check_needs_rehash(password_hash)
        return Verified(True, _hasher.hash(normal) if old else None)
    return Verified(False)


def stand_in_for(email: str, secret: str, *, older_hashes: bool) -> str:
    """Returns the hash to verify against for an email that nobody has.

    It costs as much as the hash of an account. While accounts have older hashes, half of the emails
    get the parameters of those, always the same half, so that the time of an answer does not tell
    an account with an older hash from an unknown email.
    """
    return STAND_INS[keyed_hash(secret, "stand-in", email)[0] & 1 if older_hashes else 0]
