"""The settings: which values are accepted or refused, and one line for each fault."""

import os
import stat
from pathlib import Path

import pytest

from service.accounts.secret_file import jwt_secret
from service.config import ConfigError, SealerSettings, Settings, load_settings

SECRET = "0123456789abcdef0123456789abcdef"
PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://rireki:hunter2@db.example.com/rireki",
    "REDIS_URL": "rediss://:hunter2@redis.example.com:6380/0",
    "JWT_SECRET": SECRET,
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def settings_of(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_an_empty_environment_is_enough_for_development(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch)

    assert (settings.app_env, settings.host, settings.port, settings.rireki_home) == (
        "development", "127.0.0.1", 8000, Path(".rireki"),
    )  # fmt: skip
    assert settings.job_worker_enabled
    assert settings.chatwork_sandbox
    assert settings.worker_shutdown_grace_seconds == 25


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, PORT="", DATABASE_URL="", JOB_WORKER_ENABLED="", APP_ENV="")

    assert (settings.port, settings.database_url, settings.job_worker_enabled) == (8000, None, True)


def test_in_production_serve_runs_no_jobs_unless_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not settings_of(monkeypatch, **PRODUCTION).job_worker_enabled
    assert settings_of(monkeypatch, JOB_WORKER_ENABLED="true").job_worker_enabled


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL", "JWT_SECRET"])
def test_production_requires_the_variables_that_development_does_without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    with pytest.raises(ConfigError, match=f"^{missing} is required in production$"):
        settings_of(monkeypatch, **(PRODUCTION | {missing: ""}))


def test_a_sealer_in_production_needs_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")

    with pytest.raises(ConfigError, match=r"^SEALER_DATABASE_URL or DATABASE_URL is required in production$"):
        load_settings(SealerSettings)
    monkeypatch.setenv("SEALER_DATABASE_URL", PRODUCTION["DATABASE_URL"])
    assert load_settings(SealerSettings).sealer_database_url == PRODUCTION["DATABASE_URL"]


def test_a_sealers_address_beside_no_database_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^SEALER_DATABASE_URL is another role's address .*: set DATABASE_URL too$"):
        settings_of(monkeypatch, SEALER_DATABASE_URL=PRODUCTION["DATABASE_URL"])


@pytest.mark.parametrize("name", ["SEALER_DATABASE_URL", "sealer_database_url"])
def test_a_withheld_variable_is_in_no_settings_and_in_no_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, PRODUCTION["DATABASE_URL"])

    settings = load_settings(without=("sealer_database_url",))

    assert settings.sealer_database_url is None
    assert name not in os.environ


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_ENV", "staging"),
        ("DATABASE_URL", "mysql://root:hunter2@localhost/rireki"),
        ("DATABASE_URL", "postgresql://root:hunter2@localhost:port/rireki"),
        ("REDIS_URL", "localhost:6379?hunter2"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://127.0.0.1:6379/hunter2"),
        ("JOB_WORKER_ENABLED", "perhaps"),
        ("SEALER_ENABLED", "perhaps"),
        ("SEALER_DATABASE_URL", "mysql://root:hunter2@localhost/rireki"),
        ("JWT_SECRET", "hunter2"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("WORKER_SHUTDOWN_GRACE_SECONDS", "-1"),
        ("WORKER_SHUTDOWN_GRACE_SECONDS", "nan"),
        ("CHATWORK_API_BASE_URL", "api.chatwork.com"),
        ("CHATWORK_API_BASE_URL", "https://api chatwork.com"),
        ("CHATWORK_API_TOKEN", "hunter2\n"),
        ("METRICS_TOKEN", "hunter2é"),
        ("OPENAI_API_KEY", "hunter2\nhunter2"),
        ("CHATWORK_RATE_LIMIT", "0"),
        ("CHATWORK_RATE_LIMIT", "99999999999999999999"),
        ("CHATWORK_SANDBOX_DATA", "/nowhere/rooms.ndjson"),
        ("CHATWORK_NEW_ROOMS_ACTIVE", "2"),
        ("CHATWORK_AUTO_SYNC_INTERVAL_MINUTES", "0"),
        ("CHATWORK_AUTO_SYNC_ROOM_LIMIT", "many"),
        ("LIMIT_REQUESTS", "600"),
        ("LIMIT_REQUESTS", "0/minute"),
        ("LIMIT_REQUESTS", "600/fortnight"),
        ("LIMIT_STREAMS", "20/minute"),
        ("LIMIT_HELD_ANSWERS", "-1"),
        ("LIMIT_ACTIVE_JOBS", "none"),
        ("LIMIT_PAID_JOBS", "99999999999/day"),
        ("AUDIT_CHECKPOINT_URL", "ftp://hunter2.example.com"),
        ("CHATWORK_WEBHOOK_TOKEN", "hunter2!"),
        ("CHATWORK_WEBHOOK_COOLDOWN_SECONDS", "soon"),
        ("OPENAI_BASE_URL", "ftp://models.example.com"),
    ],
)
def test_a_malformed_value_is_refused_in_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_of(monkeypatch, **{name: value})

    line = str(refused.value)
    assert line.startswith(f"{name} ")
    assert "\n" not in line
    assert "hunter2" not in line


def test_production_refuses_a_sandbox_and_a_rate_above_chatworks_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rooms = tmp_path / "rooms.ndjson"
    rooms.write_text("")

    with pytest.raises(ConfigError, match=r"^CHATWORK_SANDBOX_DATA must not be set in production"):
        settings_of(monkeypatch, **PRODUCTION, CHATWORK_SANDBOX_DATA=str(rooms))
    with pytest.raises(ConfigError, match=r"^CHATWORK_RATE_LIMIT must be at most 300 in production"):
        settings_of(monkeypatch, CHATWORK_RATE_LIMIT="301", CHATWORK_SANDBOX_DATA="")
    assert not settings_of(monkeypatch, CHATWORK_RATE_LIMIT="300").chatwork_sandbox


@pytest.mark.parametrize(
    "environment",
    [{"CHATWORK_API_TOKEN": "t"}, {"CHATWORK_API_BASE_URL": "http://127.0.0.1:9"}, {"APP_ENV": "test"}],
)
def test_no_sandbox_runs_beside_the_real_chatwork_or_in_tests(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    assert not settings_of(monkeypatch, **environment).chatwork_sandbox


def test_the_text_form_of_the_settings_contains_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"METRICS_TOKEN": "hunter2", "CHATWORK_API_TOKEN": "hunter2", "OPENAI_API_KEY": "hunter2"}
    settings = settings_of(monkeypatch, **PRODUCTION, **secrets, CHATWORK_WEBHOOK_TOKEN="aHVudGVyMg==")

    assert settings.metrics_token == "hunter2"
    assert not any(secret in repr(settings) + str(settings) for secret in ("hunter2", SECRET, "aHVudGVyMg"))


def test_a_signing_key_of_31_bytes_is_refused_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^JWT_SECRET must have at least 32 bytes$"):
        settings_of(monkeypatch, JWT_SECRET=SECRET[:-1])


def test_the_development_key_is_kept_in_a_file_that_only_its_owner_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch)

    first, second = jwt_secret(settings), jwt_secret(load_settings())

    assert first == second
    assert len(first) >= 32
    assert [path.name for path in Path(".rireki").iterdir()] == ["jwt-secret"]
    assert stat.S_IMODE(Path(".rireki/jwt-secret").stat().st_mode) == 0o600


def test_a_damaged_development_key_is_refused_in_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch)
    jwt_secret(settings)
    Path(".rireki/jwt-secret").write_bytes(b"\xff")

    with pytest.raises(ConfigError, match=r"^JWT_SECRET is not set, and \.rireki/jwt-secret is damaged .*: delete that file$"):
        jwt_secret(settings)


def test_a_home_that_cannot_be_written_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".rireki").write_text("not a folder")

    with pytest.raises(ConfigError, match=r"^RIREKI_HOME: cannot keep"):
        jwt_secret(settings_of(monkeypatch))


def test_in_tests_sessions_are_signed_with_a_key_that_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, APP_ENV="test")

    assert jwt_secret(settings) != jwt_secret(settings)
    assert not Path(".rireki").exists()


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)])
def test_the_settings_say_whether_other_machines_can_reach_the_service(
    monkeypatch: pytest.MonkeyPatch, host: str, loopback: bool
) -> None:
    assert settings_of(monkeypatch, HOST=host).listens_on_loopback is loopback
