"""Reads DATABASE_URL as asyncpg does, and supports further options of libpq.

Options: https://www.postgresql.org/docs/current/libpq-connect.html

asyncpg sends every option that it does not know to the server as a setting. This module decides about each option: it passes
the option on, translates it, drops it if asyncpg behaves as the option asks anyway, or refuses it. An error never quotes a
value, because a value may be a secret or a part of a secret.
"""

import configparser
import os
import re
import ssl
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

SCHEMES = ("postgresql", "postgres")
CONNECT_TIMEOUT = 10.0  # seconds to wait for a connection, if the address names no limit

CHOICES: dict[str, Collection[str]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "target_session_attrs": ("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
    "gsslib": ("gssapi", "sspi"),
}
FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "passfile")
ASYNCPG_READS = (*CHOICES, *FILES, "sslpassword", "krbsrvname")

HOLDS_ANYWAY: dict[str, Collection[str]] = {
    "channel_binding": ("disable", "prefer"),
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "gssdelegation": ("0",),
    "gssencmode": ("disable", "prefer"),
    "keepalives": ("0", "1"),
    "load_balance_hosts": ("disable",),
    "max_protocol_version": ("3.0", "3.2", "latest"),
    "min_protocol_version": ("3.0",),
    "replication": ("false", "off", "no", "0"),
    "sslcertmode": ("allow",),
    "sslcompression": ("0", "1"),  # libpq ignores this option too
    "sslsni": ("1",),
}
"""Options and those of their values that ask for what asyncpg does anyway.

An option with such a value is dropped; with every other value it is refused.
"""

NEVER = (
    "oauth_client_id", "oauth_client_secret", "oauth_issuer", "oauth_scope", "require_auth", "requirepeer", "scram_client_key",
    "scram_server_key", "sslcrldir", "sslkeylogfile",
)  # fmt: skip
"""Options of libpq that asyncpg does not support. An address with one of them is refused.

Most are about security, so it would be dangerous to ignore them silently.
"""

SERVER_KEEPALIVES = {
    "keepalives_idle": "tcp_keepalives_idle",
    "keepalives_interval": "tcp_keepalives_interval",
    "keepalives_count": "tcp_keepalives_count",
    "tcp_user_timeout": "tcp_user_timeout",
}
"""Maps libpq's keepalive options to the server settings that replace them.

libpq's options are for the client's end of a connection; the settings are for the server's end.
"""

LOOKS_LIKE_SECURITY = re.compile(r"ssl|tls|gss|krb|scram|oauth|require|auth|channel|pass|cert")
A_SETTING = re.compile(r"[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?", re.IGNORECASE)
ESCAPES = "write each `@` `/` `?` `#` `%` of a user or a password as %40 %2F %3F %23 %25"


class BadDatabaseUrl(ValueError):
    """The address cannot be used.

    The message continues a sentence that begins with the variable's name, and quotes no value of the address.
    """


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A parsed address.

    `arguments` are for `asyncpg.connect`. `settings` are server settings for each session.
    """

    arguments: dict[str, Any] = field(repr=False)
    settings: dict[str, str]
    sslmode: str | None
    place: str
    """The hosts and ports as text for messages."""


def read_database_url(url: str, *, pinned: Collection[str] = ()) -> DatabaseUrl:
    """Parses an address.

    `pinned` names the server settings that Rireki sets itself. An address that sets one of them is refused, except for
    `application_name` and the keepalive options. Raises `BadDatabaseUrl`.
    """
    parts = _split(url)
    options = dict(parts.options)
    hosts, ports = _hosts(parts.hosts, options)
    arguments: dict[str, Any] = {
        "host": hosts,
        "port": ports,
        "user": _first(parts.user, options.pop("user", None)),
        "password": _first(parts.password, options.pop("password", None)),
        "database": _first(parts.database, options.pop("dbname", None), options.pop("database", None)),
        "timeout": _timeout(options.pop("connect_timeout", None)),
    }
    _drop_what_holds_anyway(options)
    _refuse_what_cannot_be_had(options)
    native = {name: options.pop(name) for name in ASYNCPG_READS if name in options}
    _check_native(native)
    if native.get("sslrootcert") == "system":
        arguments["ssl"] = _trusting_the_system(native)
    arguments["dsn"] = f"postgresql://?{urlencode(native)}" if native else "postgresql://"
    if startup := options.pop("options", None):
        arguments["server_settings"] = {"options": startup}
    place = ", ".join(hosts if hosts and hosts[0].startswith("/") else map(_place, hosts, ports)) if hosts and ports else ""
    return DatabaseUrl(arguments, _settings(options, pinned), native.get("sslmode"), place or "PostgreSQL's usual place here")


def with_service(url: str, service_file: Path | None) -> str:
    """Returns the address with the options that the service file defines for its `service`.

    An option in the address wins over the same option of the service. The service file is the one that the option
    `servicefile` names, else `service_file`, else ~/.pg_service.conf. Raises `BadDatabaseUrl`.
    """
    parts = _split(url)
    options = dict(parts.options)
    service, named = options.pop("service", None), options.pop("servicefile", None)
    if service is None and named is None:
        return url
    own = set(options) | {"dbname"} if parts.database or "database" in options else set(options)
    own |= {name for name, given in (("user", parts.user), ("password", parts.password)) if given}
    own |= {"host", "hostaddr", "port"} if parts.hosts else set()
    file = Path(named) if named else service_file or Path("~/.pg_service.conf").expanduser()
    defined = _defined(service, file) if service else {}
    options |= {name: value for name, value in defined.items() if name not in own and value}
    query = "&".join(f"{name}={quote(value, safe='/,:')}" for name, value in options.items())
    return f"{url.partition('?')[0]}?{query}"


def _defined(service: str, file: Path) -> dict[str, str]:
    services = configparser.ConfigParser(interpolation=None, default_section="", strict=False)
    try:
        services.read_string(file.read_text("utf-8"))
        return dict(services[service])
    except KeyError:
        raise BadDatabaseUrl("has the option `service` with a name that the service file does not define") from None
    except (OSError, UnicodeDecodeError, configparser.Error):
        raise BadDatabaseUrl("has the option `service`, and the service file cannot be read") from None


@dataclass(frozen=True, slots=True)
class _Parts:
    user: str | None
    password: str | None
    hosts: list[tuple[str, str]]
    """Pairs of host and port; the port may be empty."""
    database: str | None
    options: dict[str, str]


def _split(url: str) -> _Parts:
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES:
        raise BadDatabaseUrl("must be an address like postgresql://user:password@host:5432/database")
    if not url.isprintable() or " " in url:
        raise BadDatabaseUrl("has a space or a control character in it: write it as %20, or remove it")
    if "#" in rest:
        raise BadDatabaseUrl(f"has an unescaped `#`: {ESCAPES}")
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    # `u:12?3@h/db` has an unescaped password; in `h?user=u@tenant` the `@` is legal.
    split_early = authority and not at and any("@" in option and not option.startswith("user=") for option in query.split("&"))
    if "@" in credentials or "@" in path or "/" in path or split_early:
        raise BadDatabaseUrl(f"has an unescaped `@`, `/` or `?` in its user, password or database: {ESCAPES}")
    user, _, password = credentials.partition(":")
    return _Parts(
        user=_unescaped(user) or None,
        password=_unescaped(password) or None,
        hosts=[_host(host) for host in hosts.split(",")] if hosts else [],
        database=_unescaped(path) or None,
        options=dict(_options(query)),
    )


def _unescaped(text: str) -> str:
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadDatabaseUrl("has escapes that are not UTF-8") from None
    if "\0" in plain:
        raise BadDatabaseUrl("has a NUL character (%00) in it")
    return plain


def _host(text: str) -> tuple[str, str]:
    """Reads a host and its port from text like `h`, `h:1`, `[::1]:1` or `%2Fvar%2Frun:1`."""
    match = re.fullmatch(r"\[([^\[\]]+)\](?::(\d*))?|([^\[\]:]+)(?::(\d*))?", text)
    if match is None:
        raise BadDatabaseUrl(f"has a host or a port that cannot be read, as in host:5432 or [::1]:5432 ({ESCAPES})")
    literal, literal_port, name, port = match.groups()
    if literal is not None and not _is_address(literal):
        raise BadDatabaseUrl("has brackets around a host that is not an IPv6 address: remove them, or correct the address")
    return _unescaped(literal or name), literal_port or port or ""


def _options(query: str) -> Iterator[tuple[str, str]]:
    for option in query.split("&") if query else []:
        name, found, value = option.partition("=")
        if not found or not A_SETTING.fullmatch(name):
            raise BadDatabaseUrl(f"has an option that is not of the form name=value after its `?` ({ESCAPES})")
        if value:
            yield name, _unescaped(value)


def _hosts(of_authority: list[tuple[str, str]], options: dict[str, str]) -> tuple[list[str] | None, list[int] | None]:
    """Returns the hosts and ports, each None if the address does not name them.

    A host or a port before the `?` wins over libpq's options `host` and `port`. `hostaddr` beside a host is refused.
    """
    named, numbered, ports = options.pop("host", ""), options.pop("hostaddr", ""), options.pop("port", "")
    if numbered and (named or of_authority):
        raise BadDatabaseUrl("has the option `hostaddr` beside a host: name the address alone, or the host alone")
    places = of_authority or [_host_option(host) for host in (named or numbered).split(",") if host]
    given = ports.split(",") if ports else []
    if not places:
        return None, [_port(port) for port in given] or None
    if len(given) > 1 and len(given) != len(places):
        raise BadDatabaseUrl("has the option `port` with another number of ports than there are hosts")
    defaults = given * len(places) if len(given) == 1 else given or ["5432"] * len(places)
    return [host for host, _ in places], [_port(port or default) for (_, port), default in zip(places, defaults, strict=True)]


def _host_option(text: str) -> tuple[str, str]:
    return (text, "") if text.startswith("/") or _is_address(text) else _host(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise BadDatabaseUrl(f"has a port that is no number from 1 to 65535 ({ESCAPES})")
    return int(text)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text.partition("%")[0]))
    except ValueError:
        return False


def _first(*values: str | None) -> str | None:
    return next(filter(None, values), None)


def _timeout(text: str | None) -> float:
    """Returns the time limit for connecting in seconds, at least 2 as in libpq.

    For 0 or less, libpq would wait for ever; Rireki waits `CONNECT_TIMEOUT`.
    """
    if text is None:
        return CONNECT_TIMEOUT
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise BadDatabaseUrl("has the option `connect_timeout`, which must be a whole number of seconds")
    return float(max(int(text), 2)) if int(text) > 0 else CONNECT_TIMEOUT


def _drop_what_holds_anyway(options: dict[str, str]) -> None:
    if options.pop("requiressl", "0") == "1":
        options.setdefault("sslmode", "require")
    for name, values in HOLDS_ANYWAY.items():
        if name in options and options.pop(name).lower() not in values:
            raise BadDatabaseUrl(f"has the option `{name}`, of which only {_or(values)} is supported: change or remove it")


def _refuse_what_cannot_be_had(options: Mapping[str, str]) -> None:
    for name in options:
        known = name in ASYNCPG_READS or name in SERVER_KEEPALIVES
        if name in NEVER or (not known and LOOKS_LIKE_SECURITY.search(name)):
            raise BadDatabaseUrl(f"has the option `{name}`, which is not supported: remove it")


def _check_native(options: Mapping[str, str]) -> None:
    for name, values in CHOICES.items():
        if name in options and options[name] not in values:
            raise BadDatabaseUrl(f"has the option `{name}`, which must be {_or(values)}")
    for name in FILES:
        if name in options and (name, options[name]) != ("sslrootcert", "system"):
            _check_file(name, Path(options[name]))
    if options.get("sslnegotiation") == "direct" and options.get("sslmode") not in ("require", "verify-ca", "verify-full"):
        raise BadDatabaseUrl("has the option `sslnegotiation`, which needs `sslmode` to be require, verify-ca or verify-full")


def _check_file(name: str, path: Path) -> None:
    if not path.is_file() or not os.access(path, os.R_OK):
        raise BadDatabaseUrl(f"has the option `{name}`, which must name a file that can be read")
    if name == "passfile" and path.stat().st_mode & 0o077:
        raise BadDatabaseUrl("has the option `passfile`, and others may read that file: give it mode 0600")


def _trusting_the_system(native: dict[str, str]) -> ssl.SSLContext:
    """Makes a TLS context for `sslrootcert=system`, and removes that option from `native`.

    asyncpg would take `system` for the name of a file.
    """
    del native["sslrootcert"]
    if native.setdefault("sslmode", "verify-full") != "verify-full":
        raise BadDatabaseUrl("has the option `sslrootcert` as the system's, which needs `sslmode` to be verify-full")
    for name in ("sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version"):
        if name in native:
            raise BadDatabaseUrl(f"has the option `{name}`, which is not supported beside the system's `sslrootcert`")
    context = ssl.create_default_context()
    if "sslcert" in native:
        password = native.get("sslpassword", "")
        try:
            context.load_cert_chain(native["sslcert"], native.get("sslkey"), password=lambda: password)
        except OSError:
            raise BadDatabaseUrl(
                "has options `sslcert` and `sslkey` that do not go together, or a wrong `sslpassword`"
            ) from None
    return context


def _settings(options: dict[str, str], pinned: Collection[str]) -> dict[str, str]:
    """Returns the remaining options as server settings, because asyncpg treats them so too."""
    fallback = options.pop("fallback_application_name", None)
    settings = {} if fallback is None else {"application_name": fallback}
    for name, value in options.items():
        setting = SERVER_KEEPALIVES.get(name, name).lower()
        if name in SERVER_KEEPALIVES and not (value.isascii() and value.isdigit()):
            raise BadDatabaseUrl(f"has the option `{name}`, which must be a whole number")
        if setting in pinned and name not in SERVER_KEEPALIVES and setting != "application_name":
            raise BadDatabaseUrl(f"has the option `{name}`, which Rireki sets itself: remove it")
        settings[setting] = value
    return settings


def _or(values: Collection[str]) -> str:
    *others, last = values
    return f"{', '.join(others)} or {last}" if others else last
