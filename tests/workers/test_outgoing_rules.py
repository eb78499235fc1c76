"""Which servers may be called: https at public addresses, and what OUTGOING_ALLOW names."""

import pytest

from service.config import ConfigError, Settings, load_settings
from workers.hosts import read_address
from workers.outgoing_rules import NOTHING_MORE, OutgoingRefused, is_public, read_outgoing_allow

PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://rireki@db.example.com/rireki",
    "REDIS_URL": "redis://redis.example.com",
    "JWT_SECRET": "x" * 32,
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*Settings.model_fields, "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def settings_of(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


PUBLIC = (
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:200::1",
)

NOT_PUBLIC = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1",
    "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
)  # fmt: skip


def test_only_addresses_of_machines_in_the_internet_are_public() -> None:
    found = {text: is_public(address) for text in (*PUBLIC, *NOT_PUBLIC) if (address := read_address(text)) is not None}

    assert found == dict.fromkeys(PUBLIC, True) | dict.fromkeys(NOT_PUBLIC, False)


@pytest.mark.parametrize(
    ("allow", "url", "permitted"),
    [
        ("none", "https://api.chatwork.com/v2", True),
        ("none", "https://8.8.8.8", True),
        ("none", "http://8.8.8.8", False),
        ("none", "http://api.chatwork.com/v2", False),
        ("none", "https://127.0.0.1", False),
        ("none", "https://127.1", False),
        ("none", "https://2130706433", False),
        ("none", "https://0x7f.1", False),
        ("none", "https://0177.0.0.1", False),
        ("none", "https://localhost", False),
        ("none", "https://LOCALHOST.", False),
        ("none", "https://a.localhost", False),
        ("none", "https://[::1]", False),
        ("none", "https://[::ffff:10.0.0.1]", False),
        ("none", "https://169.254.169.254/latest/meta-data", False),
        ("none", "https://[fd00:ec2::254]", False),
        ("10.0.0.0/8", "http://10.1.2.3:8000/v1", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]", True),
        ("10.0.0.0/8", "https://192.168.0.1", False),
        ("10.0.0.0/8", "http://llm.internal", True),  # The address of llm.internal may be in 10.0.0.0/8.
        ("10.0.0.0/8", "http://192.168.0.1", False),
        ("::ffff:10.0.0.0/104", "http://10.1.2.3", True),
        ("[::1]", "http://[::1]:8000", True),
        ("127.0.0.1", "http://localhost:8000", True),
        ("localhost", "http://localhost:8000", True),
        ("llm.internal", "http://LLM.internal.:8000", True),
        ("llm.internal", "http://other.internal", False),
        ("*.internal", "http://llm.internal", True),
        ("*.internal", "http://internal", False),
        ("履歴.example.com", "http://xn--fht636a.example.com", True),
        ("0.0.0.0/0,::/0", "http://169.254.169.254", True),
    ],
)
def test_what_a_url_shows_is_refused_without_dns(allow: str, url: str, permitted: bool) -> None:
    assert (read_outgoing_allow(allow).refusal(url) is None) is permitted


@pytest.mark.parametrize(
    ("allow", "host", "addresses", "is_https", "permitted"),
    [
        ("none", "a.test", ["8.8.8.8", "2606:4700::1"], True, ["8.8.8.8", "2606:4700::1"]),
        ("none", "a.test", ["10.0.0.1", "8.8.8.8"], True, ["8.8.8.8"]),
        ("none", "a.test", ["10.0.0.1", "fe80::1%eth0"], True, None),
        ("none", "a.test", ["8.8.8.8"], False, None),
        ("none", "a.test", [], True, []),
        ("10.0.0.0/8", "a.test", ["10.0.0.1", "192.168.0.1"], False, ["10.0.0.1"]),
        ("10.0.0.0/8", "a.test", ["::ffff:10.0.0.1"], True, ["::ffff:10.0.0.1"]),
        ("10.0.0.0/8", "a.test", ["8.8.8.8"], False, None),
        ("a.test", "a.test", ["169.254.169.254"], False, ["169.254.169.254"]),
        ("a.test", "b.test", ["169.254.169.254"], True, None),
    ],
)
def test_each_address_of_a_name_is_checked(
    allow: str, host: str, addresses: list[str], is_https: bool, permitted: list[str] | None
) -> None:
    rules = read_outgoing_allow(allow)

    if permitted is None:
        with pytest.raises(OutgoingRefused, match=rf"^{host} is not called, because .* name it in OUTGOING_ALLOW\.$"):
            rules.permitted(host, addresses, is_https=is_https)
    else:
        assert rules.permitted(host, addresses, is_https=is_https) == permitted


def test_everything_may_be_called_in_development_and_tests_and_public_https_in_production(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings_of(monkeypatch).outgoing.rules is None
    assert settings_of(monkeypatch, APP_ENV="test").outgoing.rules is None
    assert settings_of(monkeypatch, **PRODUCTION).outgoing.rules == NOTHING_MORE
    assert settings_of(monkeypatch, APP_ENV="development", OUTGOING_ALLOW="none").outgoing.rules == NOTHING_MORE


@pytest.mark.parametrize("name", ["CHATWORK_API_BASE_URL", "OPENAI_BASE_URL"])
@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://api.example.com/v1", "must begin with https://, or its host must be named in OUTGOING_ALLOW"),
        (
            "https://10.0.0.5:8443/v1",
            "leads to a private or reserved address, which must be named in OUTGOING_ALLOW to be called",
        ),
        ("https://localhost/v1", "leads to a private or reserved address, which must be named in OUTGOING_ALLOW to be called"),
    ],
)
def test_a_url_that_must_not_be_called_ends_the_start_in_production(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, line: str
) -> None:
    assert settings_of(monkeypatch, **{name: url})

    with pytest.raises(ConfigError) as refused:
        settings_of(monkeypatch, **PRODUCTION)

    assert str(refused.value) == f"{name} {line}"
    assert settings_of(monkeypatch, OUTGOING_ALLOW="10.0.0.5, localhost, api.example.com").outgoing


def test_behind_a_proxy_the_proxy_checks_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    proxied = settings_of(monkeypatch, **PRODUCTION, HTTPS_PROXY="http://10.0.0.9:3128", OPENAI_BASE_URL="https://10.0.0.5/v1")

    assert proxied.outgoing.refusal("https://10.0.0.5/v1") is None
    with pytest.raises(ConfigError, match=r"^OPENAI_BASE_URL leads to a private"):
        settings_of(monkeypatch, NO_PROXY="10.0.0.0/8")


@pytest.mark.parametrize(
    "wrong",
    [
        ",", "*", "llm.internal:8000", "http://llm.internal", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.300", "a b", "none,10.0.0.0/8,",
        "[::1", "10.0.0.0/8;a", "*.*.a", "a/b",
    ],
)  # fmt: skip
def test_a_malformed_list_is_one_line_at_the_start(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"^OUTGOING_ALLOW must be `none`, or hosts, IP addresses and networks [^\n]*$"):
        settings_of(monkeypatch, OUTGOING_ALLOW=wrong)
