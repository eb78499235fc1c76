"""Opens the parts of a process by its settings, and closes them in reverse order."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

import structlog

from events.bus import Bus, RedisBus
from events.concurrency import end, lasting
from events.database import Database, connect_unsettled
from events.database_check import Unusable, check_database, check_schema, place_of
from events.database_faults import UnsuitableDatabase
from events.redis_faults import redis_fault
from events.store import Store
from migrations.migrate import migrate
from projections.checkpoints import NoLog, current_origin
from projections.jobs import JobsView
from projections.seal import keep_sealing
from service.accounts.secret_file import jwt_secret, keep_secret
from service.checkpoints.copies import copies_of
from service.checkpoints.keys import signing_keys
from service.checkpoints.signing import Signing
from service.checkpoints.witness_client import Witnesses
from service.config import ConfigError, Settings, without_effect
from service.http.context import ApiContext
from service.readiness import NO_KEY, SEALING, SEALING_APART, SERVING, SERVING_AND_SEALING, refuse_what_is_unsuitable
from workers.chatwork.sandbox import Sandbox
from workers.delivery.wire import LocalWire, Wire
from workers.resources import Resources
from workers.worker import Worker

log = structlog.get_logger("rireki")

ANSWER_WITHIN = 5.0  # seconds after which a request that writes fails, if the database is unreachable
FIRST_EMAIL = "admin@example.com"
YOUNGEST = 5_000  # the youngest generation is collected after this many new objects; Python's default suits small programs


@dataclass(frozen=True, slots=True)
class Core:
    """The parts that the API and the workers have.

    `sealer` is the database over which this process seals, or None if another process seals. `signing` is None if this
    process does not sign.
    """

    settings: Settings
    database: Database
    bus: Bus
    store: Store
    wire: Wire
    resources: Resources
    sealer: Database | None = None
    signing: Signing | None = None


@contextlib.contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """Yields the URL of a database, which accepts connections while the block lasts.

    It is DATABASE_URL, or else the URL of the embedded PostgreSQL under RIREKI_HOME, which runs as
    long as any process uses it.

    Raises: `ConfigError`, `EmbeddedError`.
    """
    if settings.database_url is not None:
        _check("DATABASE_URL", settings.database_url)
        yield settings.database_url
        return
    if settings.production:
        raise ConfigError("DATABASE_URL is required in production")
    from service.embedded.postgres import EmbeddedPostgres

    server = EmbeddedPostgres.start(settings.rireki_home)
    try:
        yield server.url()
    finally:
        server.close()


@contextlib.contextmanager
def migrate_database_url(settings: Settings) -> Iterator[str]:
    """Yields the URL by which migrations reach the same database.

    It is MIGRATE_DATABASE_URL, which leads to the server directly and not through a pooler. If that
    is not set, it is the URL that `database_url` gives.
    """
    if settings.migrate_database_url is None:
        with database_url(settings) as url:
            yield url
        return
    _check("MIGRATE_DATABASE_URL", settings.migrate_database_url)
    yield settings.migrate_database_url


@contextlib.contextmanager
def sealer_url(settings: Settings) -> Iterator[str]:
    """Gives the URL for `rireki seal`: SEALER_DATABASE_URL, or else what `database_url` gives.

    A sealer's own role has no right to migrate, so the schema is prepared only in the second case.
    """
    if settings.sealer_database_url is not None:
        _check("SEALER_DATABASE_URL", settings.sealer_database_url)
        yield settings.sealer_database_url
        return
    with database_url(settings) as url:
        prepare_schema(settings, url)
        yield url


def _check(variable: str, url: str) -> None:
    try:
        asyncio.run(check_database(url))
    except Unusable as error:
        raise ConfigError(f"{variable} {error}") from error


def prepare_schema(settings: Settings, url: str) -> None:
    """Migrates the schema in development and tests.

    In production it only checks the schema, because there `rireki migrate` is a separate step.
    """
    if settings.production:
        asyncio.run(check_schema(url))
        return
    if settings.migrate_database_url is None:
        migrate(url, connect_unsettled, origin=settings.audit_log_origin)
        return
    with migrate_database_url(settings) as direct:
        migrate(direct, connect_unsettled, origin=settings.audit_log_origin)


@contextlib.asynccontextmanager
async def opened(settings: Settings, url: str, *, seals: bool = False) -> AsyncIterator[Core]:
    """Opens the parts of a process, and closes them at the end of the block.

    With `seals` the process also seals the log. A worker never does: it runs other people's code,
    which must not hold the rights to the order of the log.

    Raises `ConfigError`, `UnsuitableDatabase`.
    """
    if settings.redis_url is not None and (fault := await redis_fault(settings.redis_url)) is not None:
        raise ConfigError(f"REDIS_URL: {fault}")
    async with contextlib.AsyncExitStack() as stack:
        database = Database(url)
        await database.connect()
        stack.push_async_callback(database.disconnect)
        duty = SERVING_AND_SEALING if seals and settings.sealer_database_url is None else SERVING
        for warning in await refuse_what_is_unsuitable(database, production=settings.production, duty=duty):
            log.warning(warning)
        bus = Bus() if settings.redis_url is None else RedisBus(settings.redis_url)
        await bus.start()
        stack.push_async_callback(bus.stop)
        store = Store(database, bus)
        await store.start()
        stack.push_async_callback(store.stop)
        wire = _wire(settings)
        await wire.start()
        stack.push_async_callback(wire.stop)
        resources = await stack.enter_async_context(_resources(settings, database))
        sealer, signing = await stack.enter_async_context(_sealing_beside(settings, database)) if seals else (None, None)
        yield Core(settings, database, bus, store, wire, resources, sealer, signing)


@contextlib.asynccontextmanager
async def sealing(settings: Settings, url: str) -> AsyncIterator[tuple[Database, Signing | None]]:
    """Seals and signs the log of the database at `url` while the block lasts.

    Yields the connections, and what signs, or None without a key.

    Raises `ConfigError`, `UnsuitableDatabase`.
    """
    async with sealers_database(settings, url) as database, _sealing_over(settings, database) as signing:
        yield database, signing


@contextlib.asynccontextmanager
async def sealers_database(settings: Settings, url: str) -> AsyncIterator[Database]:
    """Opens the database of a sealer, after it was checked. Raises `ConfigError`, `UnsuitableDatabase`."""
    duty = SEALING if settings.sealer_database_url is None else SEALING_APART
    database = Database(url, pool_size=4)
    await database.connect()
    try:
        try:
            warnings = await refuse_what_is_unsuitable(database, production=settings.production, duty=duty)
        except UnsuitableDatabase as error:
            if settings.sealer_database_url is None:
                raise
            raise ConfigError(f"SEALER_DATABASE_URL: {error}") from error
        for warning in warnings:
            log.warning(warning)
        yield database
    finally:
        await database.disconnect()


@contextlib.asynccontextmanager
async def _sealing_beside(settings: Settings, database: Database) -> AsyncIterator[tuple[Database, Signing | None]]:
    """Seals over SEALER_DATABASE_URL, or else over the connections of the service itself."""
    if settings.sealer_database_url is None:
        async with _sealing_over(settings, database) as signing:
            yield database, signing
        return
    try:
        await check_database(settings.sealer_database_url)
    except Unusable as error:
        raise ConfigError(f"SEALER_DATABASE_URL {error}") from error
    async with sealing(settings, settings.sealer_database_url) as (sealer, signing):
        if await place_of(sealer) != await place_of(database):
            raise ConfigError("SEALER_DATABASE_URL leads to another database than DATABASE_URL: name the same one")
        yield sealer, signing


@contextlib.asynccontextmanager
async def _sealing_over(settings: Settings, database: Database) -> AsyncIterator[Signing | None]:
    async with signing_over(settings, database) as signing:
        task = lasting(keep_sealing(database), "sealer")
        try:
            async with contextlib.AsyncExitStack() as stack:
                if signing is not None:
                    await stack.enter_async_context(signing.running())
                    witnesses = Witnesses(database, settings.audit_witnesses, settings.outgoing)
                    await stack.enter_async_context(witnesses.running())
                yield signing
        finally:
            await end(task)


@contextlib.asynccontextmanager
async def signing_over(settings: Settings, database: Database) -> AsyncIterator[Signing | None]:
    """Yields what signs the log of this database; None if there is no key, with a warning in production.

    Raises `ConfigError`, `UnsuitableDatabase`.
    """
    try:
        async with database.raw() as connection:
            origin = await current_origin(connection)
    except NoLog as error:
        raise UnsuitableDatabase(str(error)) from error
    if settings.audit_log_origin not in (None, origin):
        log.warning("AUDIT_LOG_ORIGIN has no effect, because the log of this database already has a name", origin=origin)
    keys = signing_keys(settings, origin)
    if not keys:
        if settings.production:
            log.warning(NO_KEY)
        yield None
        return
    copies = copies_of(settings)
    try:
        yield Signing(database, keys, copies, settings.audit_verifier_keys)
    finally:
        if copies is not None:
            await copies.close()


def warn_of_variables_without_effect(settings: Settings) -> None:
    """Logs a warning for each set variable that has no effect yet."""
    for variable in without_effect(settings):
        log.warning("this variable is set, but it has no effect yet", variable=variable)


def keep_what_is_loaded() -> None:
    """Exempts all existing objects from garbage collection.

    Call it once, when everything is loaded. Otherwise the collector visits all loaded objects again
    and again.
    """
    # Trick. Saves 13 % of a drained job's CPU (bench/results/tricks.md). Delete it when CPython's collector leaves old objects
    # alone by itself.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST, 10, 10)


@contextlib.asynccontextmanager
async def _resources(settings: Settings, database: Database) -> AsyncIterator[Resources]:
    from workers.chatwork.client import Chatwork, ChatworkSettings
    from workers.outgoing_http import Outgoing
    from workers.summaries.summariser import Summariser, SummarySettings

    async with contextlib.AsyncExitStack() as stack:
        base_url, token, outgoing = settings.chatwork_api_base_url, settings.chatwork_api_token, settings.outgoing
        if settings.chatwork_sandbox:
            sandbox = await stack.enter_async_context(_sandbox(settings))
            base_url, token, outgoing = sandbox.base_url, sandbox.token, Outgoing()
        chatwork: Chatwork | None = None
        if token is not None:
            try:
                chatwork_settings = ChatworkSettings(
                    base_url=base_url,
                    token=token,
                    rate_limit=settings.chatwork_rate_limit,
                    new_rooms_active=settings.chatwork_new_rooms_active,
                )
            except ValueError as error:
                raise ConfigError(f"CHATWORK_API_TOKEN: {error}") from error
            chatwork = Chatwork(chatwork_settings, database, outgoing=outgoing, left_alone=_pausing(database, "Chatwork"))
            stack.push_async_callback(chatwork.close)
        summaries = SummarySettings(settings.openai_api_key, settings.openai_model, settings.openai_base_url)
        summariser = Summariser(summaries, settings.outgoing)
        stack.push_async_callback(summariser.close)
        yield Resources(database=database, chatwork=chatwork, summariser=summariser)


def _pausing(database: Database, service: str) -> Callable[[float], Awaitable[None]]:
    """Returns a function that pauses the job types that call `service`.

    The client of `service` calls it with the seconds of a long wait that `service` asks for.
    """
    from workers.pauses import Pauses
    from workers.registry import types_that_call

    async def pause(seconds: float) -> None:
        reason = f"{service} allows no more requests for now"
        await Pauses(database).pause_at_least(types_that_call(service), seconds, reason=reason, actor=f"system:{service}")

    return pause


def api_context(core: Core) -> "ApiContext":
    from service.accounts.access_records import AccessRecords
    from service.accounts.known_devices import KnownDevices
    from service.accounts.oidc_sign_in import Oidc
    from service.accounts.sign_in_limit import SignInLimit
    from service.accounts.users import Users
    from service.checkpoints.trust import trust_of
    from service.http.context import ApiContext
    from service.limits.limits import Limits
    from service.live.job_watches import JobWatches
    from service.live.verifier import Verifier

    jobs, secret = JobsView(core.database), jwt_secret(core.settings)
    return ApiContext(
        settings=core.settings,
        database=core.database,
        store=core.store.with_time_limit(ANSWER_WITHIN),
        bus=core.bus,
        jobs=jobs,
        wire=core.wire,
        resources=core.resources,
        users=Users(core.database, secret),
        devices=KnownDevices(secret),
        oidc=Oidc.of(core.settings, secret),
        access_records=AccessRecords(core.database),
        sign_in_limit=SignInLimit(core.settings.redis_url),
        limits=Limits(core.settings, core.database),
        job_watches=JobWatches(core.bus, jobs, core.store, core.sealer),
        verifier=Verifier(
            core.database,
            partial(trust_of, core.settings, core.database),
            clock_tolerance=core.settings.audit_clock_tolerance.total_seconds(),
        ),
        sealer=core.sealer,
        signing=core.signing,
    )


def worker_of(core: Core) -> "Worker":
    from workers.registry import JOB_TYPES
    from workers.worker import Worker

    return Worker(
        database=core.database,
        store=core.store,
        bus=core.bus,
        wire=core.wire,
        resources=core.resources,
        job_types=JOB_TYPES,
    )


async def first_sign_in(settings: Settings, database: Database) -> tuple[str, str] | None:
    """Returns the email and password of the generated admin; None outside development.

    The first call adds the admin, with a random password that is kept in RIREKI_HOME/sign-in (mode
    0600). If that file does not exist and there are users, it adds nobody and returns None.

    Raises: `ConfigError` if HOST is not a loopback address, because the password is printed.
    """
    from service.accounts.passwords import random_password
    from service.accounts.users import CannotAdd, Role, add_user, nobody_yet

    if settings.app_env != "development":
        return None
    path = settings.rireki_home / "sign-in"
    if not path.exists() and not await nobody_yet(database):
        return None
    email, _, password = keep_secret(path, f"{FIRST_EMAIL} {random_password()}").partition(" ")
    if not settings.listens_on_loopback:
        raise ConfigError(
            f"HOST {settings.host} is beyond loopback, and the generated sign-in in {path} is for this machine only: "
            "add people with `rireki users add`, and delete that file"
        )
    with contextlib.suppress(CannotAdd):
        await add_user(database, email, Role.ADMIN, password, "Admin")
    return email, password


def _sandbox(settings: Settings) -> "Sandbox":
    from workers.chatwork.sandbox import Sandbox
    from workers.chatwork.sandbox.data import SandboxDataError

    try:
        return Sandbox(settings.chatwork_sandbox_data, limit=settings.chatwork_rate_limit)
    except SandboxDataError as error:
        raise ConfigError(f"CHATWORK_SANDBOX_DATA: {error}") from error


def _wire(settings: Settings) -> Wire:
    if settings.redis_url is None:
        return LocalWire()
    from workers.delivery.redis_wire import RedisWire

    return RedisWire(settings.redis_url)
