"""The valid and invalid values of AUDIT_CHECKPOINT_URL."""

from pathlib import Path

import pytest

from service.config import ConfigError, Settings, load_settings

PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://rireki@db.example.com/rireki",
    "REDIS_URL": "redis://redis.example.com",
    "JWT_SECRET": "x" * 32,
}
S3 = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "eu-west-1"}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def settings_of(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("mailto:hunter2", {}),
        ("hunter2", {}),
        ("https://", {}),
        ("https://[hunter2", {}),
        ("https://example.com/hunter2?x=1", {}),
        ("https://example.com/../hunter2", {}),
        ("https://example.com/a b", {}),
        ("file://example.com/hunter2", {}),
        ("file:///", {}),
        ("file:///no-such-folder/hunter2", {}),
        ("file:///tmp", {}),
        ("s3://Hunter2/prefix", S3),
        ("s3://bucket/../hunter2", S3),
        ("s3://bucket/prefix", {}),
        ("s3://bucket/prefix", {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hunter2"}),
        ("http://copies.example.com/", PRODUCTION),
        ("https://10.0.0.1/", PRODUCTION),
    ],
)
def test_a_wrong_address_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, url: str, more: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=r"^AUDIT_CHECKPOINT_URL (must|needs|leads)") as refused:
        settings_of(monkeypatch, AUDIT_CHECKPOINT_URL=url, **more)

    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value).lower()


def test_the_address_of_the_store_obeys_outgoing_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^AWS_ENDPOINT_URL must begin with https://"):
        settings_of(
            monkeypatch, AUDIT_CHECKPOINT_URL="s3://bucket", AWS_ENDPOINT_URL="http://s3.example.com", **PRODUCTION, **S3
        )  # fmt: skip


def test_good_addresses_are_accepted_and_their_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}/a%20b", "https://u:hunter2@copies.example.com/prefix/", "s3://bucket", "s3://bucket/a/b/"):
        settings = settings_of(monkeypatch, AUDIT_CHECKPOINT_URL=url, **S3)

        assert settings.audit_checkpoint_url == url
        assert "hunter2" not in repr(settings)
