"""The rules for new passwords, and the hashes of passwords."""

import secrets
import tracemalloc
import unicodedata

import argon2
import pytest

from service.accounts import common_passwords
from service.accounts.passwords import (
    OUR_PARAMETERS,
    STAND_INS,
    PasswordRefused,
    check_password,
    hash_password,
    random_password,
    stand_in_for,
    verify_password,
)
from tests.service_fixture import PASSWORD

LENGTH = "must have 12 to 256 characters"
COMMON = "must not be one of the most common passwords, also not with digits at its end: choose another one"
WITHOUT_FORM = ["aaaaaaaaaaab", "correct horse battery staple", "パスワードではない文字列", "twelve chars", "hwqzpxkvjmtb"]


def refusal_of(password: str) -> str:
    with pytest.raises(PasswordRefused) as refused:
        check_password(password)
    return refused.value.detail


@pytest.mark.parametrize("password", ["", "x", "eleven char", "x" * 257, "履" * 257])
def test_a_password_must_have_12_to_256_characters(password: str) -> None:
    assert refusal_of(password) == LENGTH


@pytest.mark.parametrize("password", ["twelve chars", "履歴" * 128, "x-y/z " * 42 + "four"])
def test_a_password_of_12_to_256_characters_is_accepted(password: str) -> None:
    check_password(password)


@pytest.mark.parametrize("password", [unicodedata.normalize("NFD", "éééééééééé"), "㍿㍿㍿", "ﷺ" * 20, "ﬁﬂﬁﬂﬁﬂ"])
def test_the_characters_are_counted_after_and_before_the_normalisation(password: str) -> None:
    """The decomposed form of ten letters is twenty characters, and ㍿ becomes four characters."""
    assert refusal_of(password) == LENGTH


@pytest.mark.parametrize("character", ["\0", "\n", "\t", "\x7f", "\x85", "\ud800"])
def test_a_password_without_typeable_characters_is_refused(character: str) -> None:
    assert refusal_of(f"correct horse{character}battery") == (
        "must not contain control characters, because nobody can type them into a form"
    )


@pytest.mark.parametrize(
    "password",
    [
        "password12345", "PASSWORD12345", "Qwertyuiop123", "123456789012", "1234567890123", "sunshine202612", "Passw0rd1234567",
        "ｐａｓｓｗｏｒｄ１２３４５", "iloveyou12345678", "administrator1", "PolniyPizdec0211", "polniypizdec0211",
        "dragon000000000", "qwertyuiopasdfgh", "sakura20262026", "Welcome123456789",
    ],
)  # fmt: skip
def test_a_common_password_is_refused_in_every_case_and_with_digits_at_its_end(password: str) -> None:
    assert refusal_of(password) == COMMON


@pytest.mark.parametrize("password", WITHOUT_FORM)
def test_a_password_needs_no_capital_letters_digits_or_signs(password: str) -> None:
    check_password(password)


def test_a_random_password_is_hardly_ever_taken_for_a_common_one() -> None:
    taken = [text for text in (secrets.token_urlsafe(16) for _ in range(20_000)) if common_passwords.is_common(text)]

    assert len(taken) <= 5


def test_a_generated_password_passes_the_rules() -> None:
    for _ in range(50):
        check_password(random_password())


def test_looking_for_a_common_password_keeps_no_memory() -> None:
    common_passwords.is_common("warm up")
    tracemalloc.start()

    for number in range(100):
        common_passwords.is_common(f"a password {number} of many")

    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 20_000
    assert most < 200_000


def test_the_file_of_common_passwords_is_read_whole_or_not_at_all() -> None:
    assert common_passwords.FILE.stat().st_size == common_passwords.BYTES


def test_a_new_hash_has_the_parameters_of_owasp() -> None:
    assert hash_password(PASSWORD).startswith("$argon2id$v=19$m=47104,t=1,p=1$")


def test_a_hash_with_other_parameters_verifies_and_is_replaced() -> None:
    old = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4).hash(PASSWORD)

    verified = verify_password(old, PASSWORD)

    assert verified.matches
    assert verified.rehashed is not None
    assert verified.rehashed.startswith("$argon2id$v=19$m=47104,t=1,p=1$")
    assert verify_password(verified.rehashed, PASSWORD).matches
    assert verify_password(verified.rehashed, PASSWORD).rehashed is None


def test_an_unknown_email_is_verified_against_a_hash_that_nothing_matches() -> None:
    assert [verify_password(stand_in, "anything").matches for stand_in in STAND_INS] == [False, False]


def test_an_unknown_email_costs_like_some_account_and_always_the_same() -> None:
    """A sign-in takes the same time whether or not an account with an older hash exists."""
    emails = [f"{number}@example.com" for number in range(200)]

    def chosen(secret: str, *, older_hashes: bool) -> list[str]:
        return [stand_in_for(email, secret, older_hashes=older_hashes) for email in emails]

    assert set(chosen("a secret", older_hashes=True)) == set(STAND_INS)
    assert chosen("a secret", older_hashes=True) == chosen("a secret", older_hashes=True)
    assert chosen("a secret", older_hashes=True) != chosen("another secret", older_hashes=True)
    assert set(chosen("a secret", older_hashes=False)) == {STAND_INS[0]}
    assert STAND_INS[0].startswith(OUR_PARAMETERS)
    assert hash_password(PASSWORD).startswith(OUR_PARAMETERS)
