"""The keys that sign the log, and the keys that verify it.

Only a process that signs holds private keys: `rireki seal`, or `rireki serve` if it seals. A worker never holds one.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from events.secret_redaction import hide
from projections.proof.signed_note import Signer, Verifier, new_signer
from service.accounts.secret_file import keep_secret
from service.audit_values import read_signing_keys
from service.config import ConfigError, Settings

LONGEST_FILE = 10_000  # bytes


def signing_keys(settings: Settings, origin: str) -> Sequence[Signer]:
    """Returns the keys that sign this log, the newest first.

    Returns no keys in production if no key is set.

    In development, a random key is kept under RIREKI_HOME for each log.

    Raises `ConfigError`, also if a key is for another log.
    """
    variable, keys = given_keys(settings)
    if not keys and settings.app_env == "development":
        variable, keys = "RIREKI_HOME", [_kept_key(settings.rireki_home, origin)]
    for key in keys:
        if key.name != origin:
            raise ConfigError(
                f"{variable}: the key is for the log {key.name}, and the log of this database is {origin}: make a key for it"
                " with `rireki audit keygen`"
            )
    return keys


def given_keys(settings: Settings) -> tuple[str, Sequence[Signer]]:
    """Returns the name of the variable that gives private keys, and these keys, newest first.

    There are none if AUDIT_SIGNING_KEY and AUDIT_SIGNING_KEY_FILE are unset. Raises `ConfigError`.
    """
    if settings.audit_signing_key is not None:
        return "AUDIT_SIGNING_KEY", read_signing_keys(settings.audit_signing_key)
    if settings.audit_signing_key_file is None:
        return "AUDIT_SIGNING_KEY", []
    variable = "AUDIT_SIGNING_KEY_FILE"
    return variable, _read(variable, settings.audit_signing_key_file)


def verifier_keys(settings: Settings, keys: Sequence[Signer]) -> Sequence[Verifier]:
    """Returns the keys that this installation trusts, the newest last.

    These are the keys of AUDIT_VERIFIER_KEYS in their order, then those of `keys`, which has the newest first.
    """
    trusted = [*settings.audit_verifier_keys, *(key.verifier for key in reversed(keys))]
    return [verifier for number, verifier in enumerate(trusted) if verifier not in trusted[:number]]


def trusted_keys(settings: Settings, origins: Iterable[str]) -> Sequence[Verifier]:
    """Returns the keys that this installation trusts for these logs. Makes no key.

    `origins` are the names of the log in this database. Raises `ConfigError`.
    """
    _, keys = given_keys(settings)
    if not keys and settings.app_env == "development":
        paths = [_path(settings.rireki_home, origin) for origin in origins]
        keys = [_read("RIREKI_HOME", path)[0] for path in reversed(paths) if path.exists()]
    return verifier_keys(settings, keys)


def _path(home: Path, origin: str) -> Path:
    # One home may be used with several databases, one after another, and each log has its own key.
    return home / f"log-key-{hashlib.sha256(origin.encode()).hexdigest()[:16]}"


def _kept_key(home: Path, origin: str) -> Signer:
    path = _path(home, origin)
    try:
        keep_secret(path, new_signer(origin).to_text())
    except OSError as error:
        raise ConfigError(f"RIREKI_HOME: cannot keep the log's key in {path}: {error.strerror}") from error
    return _read("RIREKI_HOME", path)[0]


def _read(variable: str, path: Path) -> Sequence[Signer]:
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_FILE + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{variable}: the key file {path} cannot be read: {reason}") from error
    if len(text) > LONGEST_FILE:
        raise ConfigError(f"{variable}: the key file {path} is longer than {LONGEST_FILE} bytes: it must have one or two lines")
    try:
        keys = read_signing_keys(text)
    except ValueError as error:
        raise ConfigError(f"{variable}: the key file {path} {error}") from None
    hide(line.strip() for line in text.splitlines())
    return keys
