"""Each option of DATABASE_URL is passed on, translated, dropped or refused."""

from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from events.database import Database, connect, connect_unsettled
from events.database_check import Unusable, check_database
from events.database_url import BadDatabaseUrl, read_database_url, with_service
from service.config import ConfigError, load_settings

SECRET = "hunter2"


def with_options(url: str, options: str) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{options}"


async def setting(url: str, name: str) -> str | None:
    connection = await connect(url)
    try:
        value: str | None = await connection.fetchval("select current_setting($1, true)", name)
        return value
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "option",
    [
        "channel_binding=prefer", "channel_binding=disable", "connect_timeout=5", "connect_timeout=0", "connect_timeout=-1",
        "sslmode=prefer", "sslmode=disable", "sslmode=allow", "target_session_attrs=any", "target_session_attrs=read-write",
        "target_session_attrs=primary", "application_name=mine", "fallback_application_name=mine", "client_encoding=UTF8",
        "client_encoding=auto", "keepalives=1", "keepalives=0", "keepalives_idle=30", "keepalives_interval=5", "keepalives_count=3",
        "tcp_user_timeout=1000", "gssencmode=prefer", "gssencmode=disable", "krbsrvname=postgres", "gsslib=gssapi", "sslsni=1",
        "sslcompression=0", "options=-c%20search_path%3Dpublic", "load_balance_hosts=disable", "min_protocol_version=3.0",
        "max_protocol_version=latest", "replication=false", "sslmode=", "work_mem=8MB", "search_path=public", "sslcertmode=allow",
        "requiressl=0", "gssdelegation=0", "channel_binding=prefer&connect_timeout=5&gssencmode=prefer&sslmode=prefer",
    ],
)  # fmt: skip
async def test_a_supported_option_of_libpq_works(database_url: str, option: str) -> None:
    url = with_options(database_url, option)

    await check_database(url)

    assert await setting(url, "timezone") == "UTC"
    database = Database(url, pool_size=1)
    await database.connect()
    assert await database.fetch_val("select 1") == 1
    await database.disconnect()


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (f"channel_binding={SECRET}", "channel_binding"),
        ("channel_binding=require", "channel_binding"),
        ("gssencmode=require", "gssencmode"),
        (f"sslmode={SECRET}", "sslmode"),
        ("sslmode=verify_full", "sslmode"),
        ("sslmode=Require", "sslmode"),
        (f"sslnegotiation={SECRET}", "sslnegotiation"),
        ("sslnegotiation=direct", "sslnegotiation"),
        (f"target_session_attrs={SECRET}", "target_session_attrs"),
        (f"ssl_min_protocol_version={SECRET}", "ssl_min_protocol_version"),
        (f"sslrootcert=/nowhere/{SECRET}.pem", "sslrootcert"),
        (f"sslcert=/nowhere/{SECRET}.pem", "sslcert"),
        (f"sslkey=/nowhere/{SECRET}.pem", "sslkey"),
        (f"sslcrl=/nowhere/{SECRET}.pem", "sslcrl"),
        (f"passfile=/nowhere/{SECRET}", "passfile"),
        (f"connect_timeout={SECRET}", "connect_timeout"),
        ("connect_timeout=1.5", "connect_timeout"),
        (f"keepalives_idle={SECRET}", "keepalives_idle"),
        (f"tcp_user_timeout={SECRET}", "tcp_user_timeout"),
        ("client_encoding=EUC_JP", "client_encoding"),
        ("require_auth=scram-sha-256", "require_auth"),
        ("requirepeer=postgres", "requirepeer"),
        ("sslcrldir=/tmp", "sslcrldir"),
        ("sslsni=0", "sslsni"),
        ("sslcertmode=require", "sslcertmode"),
        ("load_balance_hosts=random", "load_balance_hosts"),
        ("replication=database", "replication"),
        ("min_protocol_version=3.2", "min_protocol_version"),
        (f"scram_client_key={SECRET}", "scram_client_key"),
        (f"sslmod={SECRET}", "sslmod"),  # a typing error must not lead to a connection without TLS
        (f"ssl={SECRET}", "ssl"),
        (f"channel_bindin={SECRET}", "channel_bindin"),
        ("statement_timeout=1", "statement_timeout"),
        ("timezone=Asia/Tokyo", "timezone"),
        ("sslrootcert=system&sslmode=require", "sslrootcert"),
    ],
)
async def test_an_unsupported_option_is_refused_by_its_name_and_without_its_value(
    database_url: str, option: str, name: str
) -> None:
    with pytest.raises(Unusable, match=f"^has the option `{name}`") as refused:
        await check_database(with_options(database_url, option))

    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("option", [f"foo={SECRET}", f"work_mem={SECRET}", f"max_connections=3&foo.bar={SECRET}"])
async def test_an_unknown_option_is_refused_by_its_name(database_url: str, option: str) -> None:
    with pytest.raises(Unusable, match=r"^has the option `(foo|work_mem|max_connections)`") as refused:
        await check_database(with_options(database_url, option))

    assert SECRET not in str(refused.value)


async def test_a_wrong_setting_in_options_is_refused_in_one_line_without_its_value(database_url: str) -> None:
    with pytest.raises(Unusable) as refused:
        await check_database(with_options(database_url, f"options=-c%20work_mem%3D{SECRET}"))

    assert "`work_mem`" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+asyncpg://u:{SECRET}@h/db",
        f"host=h user=u password={SECRET} dbname=db",
        f"mysql://u:{SECRET}@h/db",
        f"//u:{SECRET}@h/db",
        f"postgresql:u:{SECRET}@h/db",
        f"postgresql://u:12#{SECRET}@h/db",
        f"postgresql://u:12/{SECRET}@h/db",
        f"postgresql://u:12?{SECRET}=x@h/db",
        f"postgresql://u:12?{SECRET}@h/db",
        f"postgresql://u:12@{SECRET}@h/db",
        f"postgresql://u:{SECRET}@h:port/db",
        f"postgresql://u:{SECRET}@h:0/db",
        f"postgresql://u:{SECRET}@h:65536/db",
        f"postgresql://u:{SECRET}@h:99999999999999999999/db",
        f"postgresql://u:{SECRET}@h1,,h2/db",
        f"postgresql://u:{SECRET}@:5432/db",
        f"postgresql://u:{SECRET}@[::1/db",
        f"postgresql://u:{SECRET}@::1/db",
        f"postgresql://u:{SECRET}@[nowhere]/db",
        f"postgresql://u:{SECRET} @h/db",
        f"postgresql://u:{SECRET}@h/db\n",
        f"postgresql://u:{SECRET}%00@h/db",
        f"postgresql://u:{SECRET}%ff@h/db",
        f"postgresql://u:{SECRET}@h/db?sslmode",
        f"postgresql://u:{SECRET}@h/db?{SECRET} x=1",
        f"postgresql://u:{SECRET}@h1,h2/db?port=1,2,3",
        f"postgresql://u:{SECRET}@h/db?hostaddr=127.0.0.1",
        f"postgresql://u:{SECRET}@h/db?service=none",
    ],
)
@pytest.mark.parametrize("variable", ["DATABASE_URL", "MIGRATE_DATABASE_URL"])
def test_a_malformed_address_is_refused_in_a_line_that_shows_only_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/db")
    monkeypatch.setenv(variable, url)

    with pytest.raises(ConfigError) as refused:
        load_settings()

    assert str(refused.value).startswith(f"{variable} ")
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgres://h", ["h"], [5432]),
        ("postgresql://a,b:5433,[::1]:5434,[fe80::1%25eth0]", ["a", "b", "::1", "fe80::1%eth0"], [5432, 5433, 5434, 5432]),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql:5433/db", ["/var/run/postgresql"], [5433]),
        ("postgresql:///db?host=/var/run/postgresql&port=5433", ["/var/run/postgresql"], [5433]),
        ("postgresql://?host=%2Ftmp,h&port=1,2", ["/tmp", "h"], [1, 2]),
        ("postgresql://?host=::1", ["::1"], [5432]),
        ("postgresql://?host=a,b&port=6", ["a", "b"], [6, 6]),
        ("postgresql://?hostaddr=127.0.0.1", ["127.0.0.1"], [5432]),
        ("postgresql://a?host=b", ["a"], [5432]),  # asyncpg reads it in this way
        ("postgresql:///db", None, None),
    ],
)
def test_hosts_are_read_in_every_form_of_libpq(url: str, hosts: list[str] | None, ports: list[int] | None) -> None:
    arguments = read_database_url(url).arguments

    assert (arguments["host"], arguments["port"]) == (hosts, ports)


@pytest.mark.parametrize(
    ("url", "user", "password", "database"),
    [
        ("postgresql://h", None, None, None),
        ("postgresql://u:@h/", "u", None, None),
        ("postgresql://:p@h/d", None, "p", "d"),
        ("postgresql://u%40x:p%40%2F%3F%23%25%20%E5%B1%A5@h/d%2Fe", "u@x", "p@/?#% 履", "d/e"),
        ("postgresql://u:p:q@h/d", "u", "p:q", "d"),
        ("postgresql://u:50%off+1@h/d", "u", "50%off+1", "d"),
        ("postgresql://h?user=u@tenant&password=p%26q&dbname=d", "u@tenant", "p&q", "d"),
        ("postgresql://h?database=d", None, None, "d"),
    ],
)
def test_user_password_and_database_are_read_unescaped(
    url: str, user: str | None, password: str | None, database: str | None
) -> None:
    arguments = read_database_url(url).arguments

    assert (arguments["user"], arguments["password"], arguments["database"]) == (user, password, database)
    assert "p@" not in repr(read_database_url(url))


@pytest.mark.parametrize(("text", "seconds"), [("1", 2.0), ("30", 30.0), ("0", 10.0), ("-5", 10.0)])
def test_connect_timeout_is_read_as_libpq_reads_it(text: str, seconds: float) -> None:
    assert read_database_url(f"postgresql://h?connect_timeout={text}").arguments["timeout"] == seconds


async def test_the_first_host_that_answers_is_used(database_url: str) -> None:
    address = read_database_url(database_url).arguments
    hosts = ",".join(["127.0.0.1", *(quote(host, safe="") for host in address["host"])])
    ports = ",".join(["1", *map(str, address["port"])])
    user, password = quote(address["user"] or "", safe=""), quote(address["password"] or "", safe="")
    url = f"postgresql://{user}:{password}@/{address['database']}?host={hosts}&port={ports}"

    await check_database(url)

    assert await setting(url, "timezone") == "UTC"


async def test_names_and_settings_in_the_address_are_set_in_the_session(database_url: str) -> None:
    url = with_options(database_url, "application_name=it's%20mine%5C&keepalives_idle=77&work_mem=9MB&options=-c%20geqo%3Doff")

    assert await setting(url, "application_name") == "it's mine\\"
    assert await setting(url, "tcp_keepalives_idle") in ("77", "0")  # 0 over a Unix socket, which has no keepalives
    assert await setting(url, "work_mem") == "9MB"
    assert await setting(url, "geqo") == "off"
    assert await setting(url, "lock_timeout") == "5s"


async def test_an_unsettled_connection_has_only_the_settings_of_the_address(database_url: str) -> None:
    connection: asyncpg.Connection[asyncpg.Record] = await connect_unsettled(with_options(database_url, "connect_timeout=9"))

    assert await connection.fetchval("select current_setting('statement_timeout')") == "0"
    await connection.close()


def test_a_service_is_read_from_its_file_and_the_address_overrides_it(tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text("[blue]\nhost=/run/blue\nport=5433\nuser=u\npassword=p%q&r\ndbname=d\nsslmode=verify-full\n")

    arguments = read_database_url(with_service("postgresql://me@?service=blue&dbname=other", file)).arguments

    assert (arguments["host"], arguments["port"], arguments["user"]) == (["/run/blue"], [5433], "me")
    assert (arguments["password"], arguments["database"]) == ("p%q&r", "other")
    assert arguments["dsn"].endswith("sslmode=verify-full")


def test_a_service_may_not_set_an_unsupported_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "services").write_text("[blue]\nhost=h\nchannel_binding=require\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://?service=blue")

    with pytest.raises(ConfigError, match=r"^DATABASE_URL has the option `channel_binding`"):
        load_settings()


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:*:secret\n")
    file.chmod(0o644)

    with pytest.raises(BadDatabaseUrl, match="give it mode 0600"):
        read_database_url(f"postgresql://h?passfile={file}")

    file.chmod(0o600)
    assert read_database_url(f"postgresql://h?passfile={file}")


def test_a_migration_address_needs_database_url_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("MIGRATE_DATABASE_URL", "postgresql://h/db")

    with pytest.raises(
        ConfigError, match=r"^MIGRATE_DATABASE_URL is a direct address of the database in DATABASE_URL: set DATABASE_URL too$"
    ):
        load_settings()
