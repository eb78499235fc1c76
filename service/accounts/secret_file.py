"""Secrets kept in files under RIREKI_HOME, such as the signing key of development."""

import os
import secrets
from pathlib import Path

from events.secret_redaction import hide
from service.config import JWT_SECRET_BYTES, ConfigError, Settings, _long_enough


def jwt_secret(settings: Settings) -> str:
    """Returns the key that signs tokens: JWT_SECRET if it is set, else a random key.

    In development the random key is kept under RIREKI_HOME, so that people stay signed in after a
    restart.

    Raises: `ConfigError` if the file cannot be used.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret
    if settings.app_env != "development":
        return secrets.token_hex(JWT_SECRET_BYTES)
    path = settings.rireki_home / "jwt-secret"
    try:
        key = _long_enough(keep_secret(path, secrets.token_hex(JWT_SECRET_BYTES)))
        hide([key])
        return key
    except OSError as error:
        raise ConfigError(f"RIREKI_HOME: cannot keep the signing key in {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"JWT_SECRET is not set, and {path} is damaged ({error}): delete that file") from error


def keep_secret(path: Path, fresh: str) -> str:
    """Returns the text of the file. Without a file, first writes `fresh` to it.

    The new file has mode 0600. If two processes write at once, the text of the first one is kept,
    and both return that text. Raises `OSError`.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(fresh)
            file.flush()
            os.fsync(file.fileno())
        try:
            # `link` fails if the file exists, so the first process wins, and the others read its
            # whole text.
            os.link(written, path)
        except FileExistsError:
            pass
        finally:
            written.unlink()
    return path.read_text(encoding="utf-8").strip()
