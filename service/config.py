"""The settings of a process. Only this file reads the environment, once, at the start.

A missing or malformed variable raises `ConfigError` with one line that begins with the variable's
name. That line and the `repr` of the settings never contain a secret.
"""

import base64
import binascii
import ctypes
import os
import ssl
from collections.abc import Callable, Sequence
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from events.database_url import read_database_url, with_service
from events.secret_redaction import hide
from projections.proof.cosignature import Witness, read_witness
from projections.proof.signed_note import Verifier
from service.allowed_hosts import read_allowed_hosts
from service.allowed_origins import read_allowed_origins
from service.audit_values import (
    WitnessAddress,
    read_origin,
    read_signing_keys,
    read_tolerance,
    read_verifier_keys,
    read_witnesses,
)
from service.checkpoint_url import S3Access, read_checkpoint_url, s3_access
from service.limit_values import Rate, read_most, read_rate
from service.redis_url import checked_redis_url
from service.trusted_proxies import TrustedProxies, read_trusted_proxies
from workers.hosts import HostNames
from workers.outgoing_http import Outgoing, trusting
from workers.outgoing_rules import NOTHING_MORE, OutgoingRules, read_outgoing_allow

CHATWORK_API = "https://api.chatwork.com/v2"
TRUSTED_PROXIES = "127.0.0.1,::1"
CHATWORK_LIMIT = 300  # requests in any 5 minutes; Chatwork allows no more for one token
JWT_SECRET_BYTES = 32


class ConfigError(Exception):
    """A variable is missing or malformed.

    The message is one line that names the variable and the rule.
    """


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        # The message does not repeat the value, because it may hold a password.
        wanted = " or ".join(f"{scheme}://…" for scheme in schemes)
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            raise ValueError(f"must be an address like {wanted}") from None
        host = parts.hostname or ""
        if parts.scheme not in schemes or not host or any(map(str.isspace, host)):
            raise ValueError(f"must be an address like {wanted}")
        return value

    return AfterValidator(check)


def _database_url(value: str) -> str:
    file = os.environ.get("PGSERVICEFILE")
    value = with_service(value, Path(file) if file else None)
    read_database_url(value)
    return value


def _checkpoint_url(value: str) -> str:
    read_checkpoint_url(value)
    return value


def _for_a_header(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII, because it is sent in a header (is there a line break at its end?)")
    return value


def _long_enough(value: str) -> str:
    if len(value.encode()) < JWT_SECRET_BYTES:
        raise ValueError(f"must have at least {JWT_SECRET_BYTES} bytes")
    return value


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("must be base64, as Chatwork shows it") from None
    return value


def _proxy(value: str) -> str:
    # The message does not repeat the value, because it may hold a password.
    value = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(value)
        _ = parts.port
        fit = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fit = False
    if (
        not fit
        or not value.isascii()
        or not value.isprintable()
        or " " in value
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError("must be the address of a proxy like http://proxy.example.com:3128 (SOCKS is not supported)")
    return value


def _certificates(value: Path) -> Path:
    try:
        trusting(value)
    except OSError as error:
        reason = "has no certificate in it" if isinstance(error, ssl.SSLError) else f"cannot be read ({error.strerror})"
        raise ValueError(f"must be a PEM file with the certificate authorities to trust: {value} {reason}") from None
    return value


def _signing_keys(value: str) -> str:
    read_signing_keys(value)
    return value


def _readable_file(value: Path) -> Path:
    if not value.is_file() or not os.access(value, os.R_OK):
        raise ValueError(f"must be a readable file: {value} is not")
    return value


def _read_by(read: Callable[[str], object]) -> BeforeValidator:
    """Returns a validator that parses a text of the environment and leaves other values alone."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


RateLimit = Annotated[Rate | None, NoDecode, _read_by(read_rate)]
NumberLimit = Annotated[int | None, NoDecode, _read_by(read_most)]

Secret = Field(default=None, repr=False)


class Settings(BaseSettings):
    """One field for each environment variable. `.env.example` explains them."""

    required_in_production: ClassVar[tuple[str, ...]] = ("database_url", "redis_url", "jwt_secret")

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    app_env: Literal["development", "test", "production"] = "development"
    database_url: Annotated[str, AfterValidator(_database_url)] | None = Secret
    migrate_database_url: Annotated[str, AfterValidator(_database_url)] | None = Secret
    sealer_enabled: bool = True
    sealer_database_url: Annotated[str, AfterValidator(_database_url)] | None = Secret
    audit_checkpoint_url: Annotated[str, AfterValidator(_checkpoint_url)] | None = Secret
    aws_access_key_id: str | None = Secret
    aws_secret_access_key: str | None = Secret
    aws_session_token: str | None = Secret
    aws_region: str | None = None
    aws_endpoint_url: Annotated[str, _url("http", "https")] | None = None
    redis_url: Annotated[str, AfterValidator(checked_redis_url)] | None = Secret
    job_worker_enabled: bool = True
    jwt_secret: Annotated[str, AfterValidator(_long_enough)] | None = Secret
    metrics_token: Annotated[str, AfterValidator(_for_a_header)] | None = Secret
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    trusted_proxies: Annotated[TrustedProxies, NoDecode, _read_by(read_trusted_proxies)] = read_trusted_proxies(TRUSTED_PROXIES)
    allowed_hosts: Annotated[HostNames | None, NoDecode, _read_by(read_allowed_hosts)] = None
    cors_allowed_origins: Annotated[frozenset[str], NoDecode, _read_by(read_allowed_origins)] = frozenset()
    rireki_home: Path = Path(".rireki")
    worker_shutdown_grace_seconds: float = Field(default=25, ge=0, le=3600, allow_inf_nan=False)

    limit_requests: RateLimit = Rate(600, 60)
    limit_streams: NumberLimit = 20
    limit_held_answers: NumberLimit = 20
    limit_active_jobs: NumberLimit = 1000
    limit_paid_jobs: RateLimit = Rate(200, 86400)

    chatwork_api_base_url: Annotated[str, _url("http", "https")] = CHATWORK_API
    chatwork_api_token: Annotated[str, AfterValidator(_for_a_header)] | None = Secret
    chatwork_rate_limit: int = Field(default=CHATWORK_LIMIT, ge=1, le=1_000_000)
    chatwork_sandbox_data: Annotated[Path, AfterValidator(_readable_file)] | None = None
    chatwork_new_rooms_active: bool = True
    chatwork_auto_sync_enabled: bool = False
    chatwork_auto_sync_interval_minutes: int = Field(default=15, ge=1, le=7 * 24 * 60)
    chatwork_auto_sync_room_limit: int | None = Field(default=None, ge=1, le=2**31 - 1)
    chatwork_webhook_token: Annotated[str, AfterValidator(_base64)] | None = Secret
    chatwork_webhook_cooldown_seconds: float = Field(default=60, ge=0, allow_inf_nan=False)

    openai_api_key: Annotated[str, AfterValidator(_for_a_header)] | None = Secret
    openai_model: str = "gpt-6-luna"
    openai_base_url: Annotated[str, _url("http", "https")] | None = None

    oidc_issuer: Annotated[str, _url("http", "https")] | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = Secret
    oidc_role_claim: str | None = None

    audit_signing_key: Annotated[str, AfterValidator(_signing_keys)] | None = Secret
    audit_signing_key_file: Path | None = None
    audit_log_origin: Annotated[str, AfterValidator(read_origin)] | None = None
    audit_verifier_keys: Annotated[Sequence[Verifier], NoDecode, _read_by(read_verifier_keys)] = ()
    audit_clock_tolerance: Annotated[timedelta, NoDecode, _read_by(read_tolerance)] = timedelta(hours=1)
    audit_witnesses: Annotated[Sequence[WitnessAddress], NoDecode, _read_by(read_witnesses)] = ()

    https_proxy: Annotated[str, AfterValidator(_proxy)] | None = Secret
    no_proxy: str = ""
    ssl_cert_file: Annotated[Path, AfterValidator(_certificates)] | None = None
    outgoing_allow: Annotated[OutgoingRules | None, NoDecode, _read_by(read_outgoing_allow)] = None

    @property
    def outgoing(self) -> Outgoing:
        """The settings of outgoing calls: proxy, certificates, allowed servers.

        They apply to Chatwork, the language model and the identity provider.
        """
        rules = NOTHING_MORE if self.production and self.outgoing_allow is None else self.outgoing_allow
        return Outgoing(self.https_proxy, self.no_proxy, self.ssl_cert_file, rules)

    @property
    def checkpoint_store(self) -> S3Access | None:
        """How to reach the bucket of AUDIT_CHECKPOINT_URL; None if it names no bucket."""
        return None if self.audit_checkpoint_url is None else self.store_of(self.audit_checkpoint_url)

    def store_of(self, url: str) -> S3Access | None:
        """How to reach the bucket at an address; None if it names no bucket."""
        return s3_access(
            url,
            key_id=self.aws_access_key_id,
            secret=self.aws_secret_access_key,
            token=self.aws_session_token,
            region=self.aws_region,
            endpoint=self.aws_endpoint_url,
        )

    @property
    def witnesses(self) -> Sequence[Witness]:
        """The keys of the witnesses in AUDIT_WITNESSES."""
        return [read_witness(address.key) for address in self.audit_witnesses]

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def chatwork_sandbox(self) -> bool:
        """Whether the sandbox replaces Chatwork.

        It does in development, unless CHATWORK_API_TOKEN or CHATWORK_API_BASE_URL is set.
        """
        chosen = self.chatwork_api_token is not None or "chatwork_api_base_url" in self.model_fields_set
        return self.app_env == "development" and not chosen

    @property
    def listens_on_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="before")
    @classmethod
    def _worker_is_apart_in_production(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("app_env") == "production":
            values.setdefault("job_worker_enabled", False)
        return values

    @model_validator(mode="after")
    def _migrates_what_it_uses(self) -> Self:
        if self.migrate_database_url is not None and self.database_url is None:
            raise ValueError("MIGRATE_DATABASE_URL is a direct address of the database in DATABASE_URL: set DATABASE_URL too")
        return self

    @model_validator(mode="after")
    def _seals_what_it_uses(self) -> Self:
        if self.sealer_database_url is not None and self.database_url is None:
            raise ValueError(
                "SEALER_DATABASE_URL is another role's address of the database in DATABASE_URL: set DATABASE_URL too"
            )
        return self

    @model_validator(mode="after")
    def _signs_with_one_key(self) -> Self:
        if self.audit_signing_key is not None and self.audit_signing_key_file is not None:
            raise ValueError("AUDIT_SIGNING_KEY and AUDIT_SIGNING_KEY_FILE are both set: set only one of them")
        return self

    @model_validator(mode="after")
    def _calls_only_what_it_may(self) -> Self:
        for name in ("chatwork_api_base_url", "openai_base_url", "oidc_issuer"):
            url = getattr(self, name)
            if url is not None and (reason := self.outgoing.refusal(url)) is not None:
                raise ValueError(f"{name.upper()} {reason}")
        for witness in self.audit_witnesses:
            if (reason := self.outgoing.refusal(witness.url)) is not None:
                raise ValueError(f"AUDIT_WITNESSES {reason}")
        return self

    @model_validator(mode="after")
    def _copies_to_where_it_may(self) -> Self:
        if self.audit_checkpoint_url is None:
            return self
        try:
            store = self.checkpoint_store
        except ValueError as error:
            raise ValueError(f"AUDIT_CHECKPOINT_URL {error}") from None
        url, name = self.audit_checkpoint_url, "AUDIT_CHECKPOINT_URL"
        if store is not None and store.endpoint is not None:
            url, name = store.endpoint, "AWS_ENDPOINT_URL"
        if url.startswith("http") and (reason := self.outgoing.refusal(url)) is not None:
            raise ValueError(f"{name} {reason}")
        return self

    @model_validator(mode="after")
    def _knows_its_provider(self) -> Self:
        given = [name for name in ("client_id", "client_secret", "role_claim") if getattr(self, f"oidc_{name}") is not None]
        if self.oidc_issuer is None and given:
            raise ValueError(f"OIDC_{given[0].upper()} has no effect without OIDC_ISSUER: set OIDC_ISSUER too")
        if self.oidc_issuer is not None and self.oidc_client_id is None:
            raise ValueError("OIDC_CLIENT_ID is required with OIDC_ISSUER: the provider gives one to this service")
        parts = urlsplit(self.oidc_issuer or "")
        if parts.query or parts.fragment or parts.username:
            raise ValueError("OIDC_ISSUER must be an address without user, query and fragment, as the provider writes it")
        return self

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        if not self.production:
            return self
        missing = [name.upper() for name in self.required_in_production if getattr(self, name) is None]
        if missing:
            *others, last = missing
            listed = f"{', '.join(others)} and {last} are" if others else f"{last} is"
            raise ValueError(f"{listed} required in production")
        if self.chatwork_rate_limit > CHATWORK_LIMIT:
            raise ValueError(f"CHATWORK_RATE_LIMIT must be at most {CHATWORK_LIMIT} in production")
        if self.chatwork_sandbox_data is not None:
            raise ValueError("CHATWORK_SANDBOX_DATA must not be set in production, because there is no sandbox there")
        if not all(origin.startswith("https://") for origin in self.cors_allowed_origins):
            raise ValueError("CORS_ALLOWED_ORIGINS must list only https:// origins in production")
        return self


class SealerSettings(Settings):
    """The settings of `rireki seal`.

    It needs only a database: no Redis, and no key of sign-in tokens.
    """

    required_in_production: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _seals_what_it_uses(self) -> Self:
        if self.production and self.sealer_database_url is None and self.database_url is None:
            raise ValueError("SEALER_DATABASE_URL or DATABASE_URL is required in production")
        return self


def without_effect(settings: Settings) -> list[str]:
    """Returns the names of the variables that are set and have no effect yet."""
    names = [name for name in settings.model_fields_set if name.startswith(("chatwork_auto_sync_", "chatwork_webhook_"))]
    return sorted(name.upper() for name in names if getattr(settings, name) not in (None, False))


SECRET_IN_A_QUERY = frozenset({"password", "sslpassword", "ssl_password", "token", "api-key", "api_key", "key", "sig"})


def secrets_of(settings: Settings) -> set[str]:
    """Returns the values that no output may contain: keys, tokens, passwords in addresses."""
    found: set[str] = set()
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if not isinstance(value, str):
            continue
        if "://" in value:
            found |= secrets_in_address(value)
        elif not field.repr:
            found |= {value, *value.splitlines()} if name == "audit_signing_key" else {value}
    for witness in settings.audit_witnesses:
        found |= secrets_in_address(witness.url)
    return found - {""}


def secrets_in_address(address: str) -> set[str]:
    """Returns the password of an address, and the secrets in its query. A text that is no address has none."""
    # `urlsplit` refuses a password with a bracket, which the drivers accept.
    place, _, query = address.partition("://")[2].partition("#")[0].partition("?")
    secrets = {value for name, value in parse_qsl(query) if name.lower() in SECRET_IN_A_QUERY}
    return {place.partition("/")[0].rpartition("@")[0].partition(":")[2], *secrets} - {""}


def load_settings(kind: type[Settings] = Settings, *, without: tuple[str, ...] = ()) -> Settings:
    """Read the settings from the environment. Raises `ConfigError`.

    After this call, the secrets in the settings are removed from everything that is logged, stored
    or printed. The variables in `without` are not read, and are removed from this process's
    environment. So is AUDIT_SIGNING_KEY after it was read, because handlers run in this process and
    in processes that it starts.
    """
    for name in [name for name in os.environ if name.lower() in without]:
        _forget(name)
    settings = _read_environment(kind)
    for name in [name for name in os.environ if name.lower() == "audit_signing_key"]:
        _forget(name)
    hide(secrets_of(settings))
    return settings


def _forget(name: str) -> None:
    """Removes a variable, also from the memory in which the process got its environment.

    Code in this process could otherwise read it in /proc/self/environ.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    address = libc.getenv(os.fsencode(name))
    if address:
        ctypes.memset(address, 0, len(os.fsencode(os.environ[name])))
    del os.environ[name]


def _read_environment(kind: type[Settings]) -> Settings:
    try:
        # The lower-case spelling takes precedence, as in curl, Python and Go.
        lower_case: dict[str, Any] = {name: os.environ[name] for name in ("https_proxy", "no_proxy") if os.environ.get(name)}
        return kind(**lower_case)
    except ValidationError as error:
        raise ConfigError(_line(error)) from None


def _line(error: ValidationError) -> str:
    """Returns pydantic's first fault, in one line that begins with the variable's name."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    message = message.replace("Input should be", "must be").replace("Input", "it")
    return f"{str(first['loc'][0]).upper()} {message.split(', unable to')[0]}"
