"""Check REDIS_URL by redis-py's rules.

Error messages show the names of options but no value, because a value may be a password.
"""

import contextlib
import math
import os
import re
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlsplit

SHAPE = "must be an address like redis://…, rediss://… or unix:///path/to/socket"
ENCODE = "write them percent-encoded (%23 for #, %2F for /, %3F for ?, %40 for @)"


def checked_redis_url(value: str) -> str:
    """Returns the address, if redis-py accepts it and reads it as the operator meant it.

    Raises: `ValueError`, whose message names the broken rule.
    """
    if "#" in value:
        raise ValueError(
            f"must not contain a #, which ends an address. If its password or user has reserved characters, {ENCODE}"
        )
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{SHAPE}. If its password or user has reserved characters, {ENCODE}") from None
    if parts.scheme not in ("redis", "rediss", "unix") or any(map(str.isspace, value)):
        raise ValueError(SHAPE)
    if "@" in parts.path + parts.query and parts.scheme != "unix":
        raise ValueError(f"must not contain an @ after its host. If its password or user has reserved characters, {ENCODE}")
    if parts.scheme == "unix":
        if not parts.path.strip("/") or parts.hostname:
            raise ValueError("must name its socket by an absolute path, as in unix:///run/redis/redis.sock?db=0")
    elif not parts.hostname:
        raise ValueError(SHAPE)
    elif (database := parts.path.strip("/")) and not _is_whole(unquote(database)):
        raise ValueError("must name its database by a number, as in redis://127.0.0.1:6379/0")
    _check_options(parts.scheme, parts.query)
    return value


def _check_options(scheme: str, query: str) -> None:
    seen = set()
    for name, given in parse_qsl(query, keep_blank_values=True):
        shown = name if re.fullmatch(r"[a-z_]{1,40}", name) else "that stands first"
        if name in seen:
            raise ValueError(f"has the option {shown} twice: remove one")
        seen.add(name)
        if name == "socket_keepalive" and scheme == "unix":
            raise ValueError(f"has the option {shown}, which is for TCP: remove it from a unix:// address")
        if name in OPTIONS:
            fits, rule = OPTIONS[name]
        elif name in TLS_OPTIONS and scheme != "rediss":
            raise ValueError(f"has the option {shown}, which is for TLS: use rediss:// instead of {scheme}://, or remove it")
        elif name in TLS_OPTIONS:
            fits, rule = TLS_OPTIONS[name]
        else:
            known = [*OPTIONS, *(TLS_OPTIONS if scheme == "rediss" else ())]
            raise ValueError(f"has the option {shown}, which is not supported. The supported ones are: {', '.join(known)}")
        # redis-py removes the percent-encoding of a value twice, so this does too: first
        # `parse_qsl` does, and then `unquote`.
        if not fits(unquote(given)):
            raise ValueError(f"has the option {shown}, which must be {rule}")


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _is_seconds(least: float) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        with contextlib.suppress(ValueError):
            seconds = float(text)
            return math.isfinite(seconds) and least <= seconds <= 3600
        return False

    return fits


def _is_yes_or_no(text: str) -> bool:
    return text.lower() in ("true", "false", "yes", "no", "1", "0", "t", "f", "y", "n")


def _is_file(text: str) -> bool:
    return os.path.isfile(text) and os.access(text, os.R_OK)


def _is_folder(text: str) -> bool:
    return os.path.isdir(text)


Rule = tuple[Callable[[str], bool], str]
YES_OR_NO: Rule = (_is_yes_or_no, "true or false")
FILE: Rule = (_is_file, "the path of a file that can be read")
TEXT: Rule = (bool, "given a value")
OPTIONS: dict[str, Rule] = {
    "db": (_is_whole, "a number"),
    "username": TEXT,
    "password": TEXT,
    "client_name": (lambda text: re.fullmatch(r"[!-~]+", text) is not None, "printable ASCII without blanks"),
    # An idle worker sends a command that blocks for one second, so a shorter timeout would break
    # it.
    "socket_timeout": (_is_seconds(2), "a number of seconds, 2 or more"),
    "socket_connect_timeout": (_is_seconds(0.1), "a number of seconds, 0.1 or more"),
    "socket_keepalive": YES_OR_NO,
    "retry_on_timeout": YES_OR_NO,
    "health_check_interval": (_is_whole, "a whole number of seconds"),
}
TLS_OPTIONS: dict[str, Rule] = {
    "ssl_cert_reqs": (lambda text: text in ("none", "optional", "required"), "none, optional or required"),
    "ssl_check_hostname": YES_OR_NO,
    "ssl_ca_certs": FILE,
    "ssl_ca_path": (_is_folder, "the path of a folder"),
    "ssl_certfile": FILE,
    "ssl_keyfile": FILE,
    "ssl_password": TEXT,
}
