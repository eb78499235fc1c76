"""The settings of keys, and the errors for wrong ones."""

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from events.secret_redaction import scrubbed
from projections.proof.cosignature import Cosigner
from projections.proof.signed_note import Signer, new_signer
from service.checkpoints.keys import given_keys, signing_keys, verifier_keys
from service.config import ConfigError, SealerSettings, Settings, load_settings, secrets_of

ORIGIN = "log.example.com"
WITNESS = str(Cosigner("w.example.com", bytes(32)).witness)


@pytest.fixture
def key() -> Signer:
    return new_signer(ORIGIN)


@pytest.fixture
def older() -> Signer:
    return new_signer(ORIGIN)


def settings_of(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_both_lines_of_the_variable_sign_in_their_order(monkeypatch: pytest.MonkeyPatch, key: Signer, older: Signer) -> None:
    settings = settings_of(monkeypatch, AUDIT_SIGNING_KEY=f"\n {key.to_text()}\r\n{older.to_text()}\n\n")

    assert list(signing_keys(settings, ORIGIN)) == [key, older]


def test_keys_come_from_a_file_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: Signer, older: Signer) -> None:
    (tmp_path / "key").write_text(f"{key.to_text()}\n{older.to_text()}\n")
    settings = settings_of(monkeypatch, AUDIT_SIGNING_KEY_FILE=str(tmp_path / "key"))

    assert list(signing_keys(settings, ORIGIN)) == [key, older]
    assert key.to_text() not in scrubbed(f"the key is {key.to_text()}")


def test_verifier_keys_are_listed_with_the_newest_last(monkeypatch: pytest.MonkeyPatch, key: Signer, older: Signer) -> None:
    oldest = new_signer(ORIGIN).verifier
    settings = settings_of(
        monkeypatch,
        AUDIT_SIGNING_KEY=f"{key.to_text()}\n{older.to_text()}",
        AUDIT_VERIFIER_KEYS=f"{oldest}, {older.verifier}",
    )

    assert list(verifier_keys(settings, given_keys(settings)[1])) == [oldest, older.verifier, key.verifier]


def test_development_keeps_a_key_for_each_log_for_this_user_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = settings_of(monkeypatch, RIREKI_HOME=str(tmp_path))

    first = signing_keys(settings, "a")
    other = signing_keys(settings, "b")

    assert (first, other) == (signing_keys(settings, "a"), signing_keys(settings, "b"))
    assert [key.name for key in (*first, *other)] == ["a", "b"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("environment", ["test", "production"])
def test_outside_development_no_key_is_invented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: str) -> None:
    monkeypatch.setenv("SEALER_DATABASE_URL", "postgresql://127.0.0.1/x")
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1/x")
    monkeypatch.setenv("APP_ENV", environment)
    monkeypatch.setenv("RIREKI_HOME", str(tmp_path))
    settings = load_settings(SealerSettings)

    assert list(signing_keys(settings, ORIGIN)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_key_for_another_log_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, key: Signer) -> None:
    settings = settings_of(monkeypatch, AUDIT_SIGNING_KEY=key.to_text())

    with pytest.raises(ConfigError) as refused:
        signing_keys(settings, "rireki/abc")

    assert str(refused.value) == (
        f"AUDIT_SIGNING_KEY: the key is for the log {ORIGIN}, and the log of this database is rireki/abc: make a key for it with"
        " `rireki audit keygen`"
    )


def test_the_private_key_leaves_the_environment_and_every_output(monkeypatch: pytest.MonkeyPatch, key: Signer) -> None:
    monkeypatch.setenv("AUDIT_SIGNING_KEY", f"{key.to_text()}\n{new_signer(ORIGIN).to_text()}")

    settings = load_settings()

    assert "AUDIT_SIGNING_KEY" not in os.environ
    assert key.to_text() in secrets_of(settings)
    assert key.to_text() not in scrubbed(f"the key is {key.to_text()}!")
    assert "PRIVATE+KEY" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "AUDIT_SIGNING_KEY",
            "secret-text",
            "must have a key from `rireki audit keygen` on each line. A private key must begin",
        ),
        ("AUDIT_SIGNING_KEY", "{key}\n{key}", "has the same key on both lines"),
        ("AUDIT_SIGNING_KEY", "{key}\n{older}\n{older}", "must have one or two lines"),
        ("AUDIT_SIGNING_KEY", "{key}\n{other}", "must have two keys of one log"),
        ("AUDIT_SIGNING_KEY", "{vkey}", "must have a key from `rireki audit keygen`"),
        ("AUDIT_VERIFIER_KEYS", "{vkey},nonsense", "must be verifier keys, as `rireki audit key` prints them"),
        ("AUDIT_VERIFIER_KEYS", "{cut}", "The id of the verifier's key does not belong"),
        ("AUDIT_VERIFIER_KEYS", "{vkey} {key}", "key 2 of 2 is not one. This is a private key"),
        ("AUDIT_LOG_ORIGIN", "two words", "must be a name of 1 to 500 visible characters"),
        ("AUDIT_LOG_ORIGIN", "a+b", "must be a name of 1 to 500 visible characters"),
        ("AUDIT_LOG_ORIGIN", "x" * 501, "must be a name of 1 to 500 visible characters"),
        ("AUDIT_CLOCK_TOLERANCE", "an hour", "must be a duration of at most 7 days, such as 90s, 30m, 1h or 1d"),
        ("AUDIT_CLOCK_TOLERANCE", "8d", "must be a duration of at most 7 days"),
        ("AUDIT_WITNESSES", WITNESS, "must be witnesses as a verifier key, a space and an address"),
        ("AUDIT_WITNESSES", "w https://w.example.com", "must have the verifier key of each witness before its address"),
        ("AUDIT_WITNESSES", "{vkey} https://w.example.com", "This key is for a log's signatures"),
        ("AUDIT_WITNESSES", "{key} https://w.example.com", "witness 1 of 1 has none. This is a private key"),
        ("AUDIT_WITNESSES", "https://me:secret-text@w.example.com {vkey}", "witness 1 of 1 has none"),
        ("AUDIT_WITNESSES", f"{WITNESS} ftp://w.example.com", "must have the address of each witness after its key"),
        ("AUDIT_WITNESSES", f"{WITNESS} https://a, {WITNESS} https://b", "names a witness twice"),
    ],
)
def test_a_wrong_value_is_one_line_without_secrets(
    monkeypatch: pytest.MonkeyPatch, key: Signer, older: Signer, variable: str, value: str, said: str
) -> None:
    vkey, other = str(key.verifier), new_signer("another").to_text()
    text = value.format(
        key=key.to_text(), older=older.to_text(), other=other, vkey=vkey, cut=f"{ORIGIN}+00000000+{vkey.partition('+')[2][9:]}"
    )

    with pytest.raises(ConfigError) as refused:
        settings_of(monkeypatch, **{variable: text})

    line = str(refused.value)
    assert line.startswith(f"{variable} ")
    assert said in line
    assert "\n" not in line
    assert "PRIVATE+KEY+log" not in line
    assert "secret-text" not in line
    # No part of the secret either, which ends the text of a key.
    assert key.to_text()[-44:-30] not in line


def test_the_password_of_a_witness_leaves_every_output(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, AUDIT_WITNESSES=f"{WITNESS} https://me:secret-text@w.example.com")

    assert "secret-text" in secrets_of(settings)
    assert "secret-text" not in repr(settings)


def test_a_key_and_a_file_together_are_refused(monkeypatch: pytest.MonkeyPatch, key: Signer) -> None:
    with pytest.raises(ConfigError, match=r"^AUDIT_SIGNING_KEY and AUDIT_SIGNING_KEY_FILE are both set"):
        settings_of(monkeypatch, AUDIT_SIGNING_KEY=key.to_text(), AUDIT_SIGNING_KEY_FILE="/key")


@pytest.mark.parametrize(
    ("contents", "said"), [(None, "No such file"), (b"x", "must have a key"), (b"\xff", "not UTF-8"), (b"x" * 10_001, "longer")]
)
def test_a_key_file_that_cannot_be_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, contents: bytes | None, said: str
) -> None:
    if contents is not None:
        (tmp_path / "key").write_bytes(contents)
    settings = settings_of(monkeypatch, AUDIT_SIGNING_KEY_FILE=str(tmp_path / "key"))

    with pytest.raises(ConfigError, match=f"^AUDIT_SIGNING_KEY_FILE: the key file .*{said}"):
        signing_keys(settings, ORIGIN)


def test_durations_and_witnesses_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, AUDIT_CLOCK_TOLERANCE="90m", AUDIT_WITNESSES=f" {WITNESS}  https://w.example.com/a/ ,")

    assert settings.audit_clock_tolerance == timedelta(minutes=90)
    assert [(each.key, each.url) for each in settings.audit_witnesses] == [(WITNESS, "https://w.example.com/a")]
    assert Settings.model_fields["audit_clock_tolerance"].default == timedelta(hours=1)
