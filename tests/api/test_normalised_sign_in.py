"""Emails and passwords work in every Unicode form in which keyboards type them (NFKC)."""

import asyncio
import os
import subprocess
import sys
import unicodedata

import argon2
import pytest

from events.database import Database
from service.accounts import passwords
from service.accounts.sign_in_queue import SignInLine
from service.accounts.users import CannotAdd, User, Users, add_user
from tests.service_fixture import SECRET

EMAIL = "yamada@example.com"


async def sign_in(database: Database, email: str, password: str) -> tuple[User, str] | None:
    return await Users(database, SECRET).sign_in(email, password, SignInLine(), "192.0.2.1")


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


FORMS = [
    ("pâsswörd-ガギグ", decomposed("pâsswörd-ガギグ")),
    (decomposed("pâsswörd-ガギグ"), "pâsswörd-ガギグ"),
    ("password 2026-12", "password ２０２６-１２"),
    ("ｐａｓｓｗｏｒｄ－２０２６－１２", "password-2026-12"),
    ("ﾊﾟｽﾜｰﾄﾞですよ、はい。", "パスワードですよ、はい。"),
    ("twelve　chars", "twelve chars"),
    ("ﬁle-№-①-passed", "file-No-1-passed"),
]


@pytest.mark.parametrize(("new_password", "typed"), FORMS)
async def test_a_password_is_equal_in_every_unicode_form(database: Database, new_password: str, typed: str) -> None:
    await add_user(database, EMAIL, "employee", new_password)

    assert await sign_in(database, EMAIL, typed) is not None
    assert await sign_in(database, EMAIL, new_password) is not None
    assert await sign_in(database, EMAIL, typed + "x") is None


@pytest.mark.parametrize(
    ("old", "typed"),
    [
        (decomposed("pâsswörd"), decomposed("pâsswörd")),
        (decomposed("pâsswörd"), "pâsswörd"),
        ("password-２０２６", "password-２０２６"),
        ("pâsswörd－①", decomposed("pâsswörd－①")),
    ],
)
async def test_an_old_hash_still_signs_in_and_is_replaced(database: Database, old: str, typed: str) -> None:
    await add_user(database, EMAIL, "employee", "another password")
    await database.execute("update users set password_hash = :hash", {"hash": passwords._hasher.hash(old)})

    assert await sign_in(database, EMAIL, typed) is not None

    rehashed = str(await database.fetch_val("select password_hash from users"))
    assert passwords._hasher.verify(rehashed, unicodedata.normalize("NFKC", typed))
    assert await sign_in(database, EMAIL, typed) is not None
    assert await database.fetch_val("select password_hash from users") == rehashed


async def test_a_hash_with_weaker_parameters_is_replaced(database: Database) -> None:
    await add_user(database, EMAIL, "employee", "a long password")
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("a long password")
    await database.execute("update users set password_hash = :hash", {"hash": weak})

    assert await sign_in(database, EMAIL, "a long password") is not None

    assert not passwords._hasher.check_needs_rehash(str(await database.fetch_val("select password_hash from users")))


@pytest.mark.parametrize(
    "typed", ["ｙａｍａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ", " Yamada@Example.com ", "　yamada@example.com　", "YAMADA@EXAMPLE.COM"]
)
async def test_an_email_is_equal_in_every_width_and_case(database: Database, typed: str) -> None:
    await add_user(database, EMAIL, "employee", "a long password")

    assert await sign_in(database, typed, "a long password") is not None
    with pytest.raises(CannotAdd, match=f"there is already a user with the email {EMAIL}"):
        await add_user(database, typed, "employee", "a long password")


async def test_an_email_stored_before_normalisation_signs_in_and_cannot_be_added_twice(database: Database) -> None:
    await add_user(database, EMAIL, "employee", "a long password")
    await database.execute("update users set email = 'ｙａｍａｄａ@example.com'")

    assert await sign_in(database, "ｙａｍａｄａ@example.com", "a long password") is not None
    with pytest.raises(CannotAdd, match="there is already a user with the email"):
        await add_user(database, EMAIL, "employee", "a long password")


@pytest.mark.parametrize("short", [decomposed("éééééé"), "㍿㍿㍿", "１２３４５６７８９０１"])
async def test_the_shortest_unicode_form_of_a_password_must_be_long_enough(database: Database, short: str) -> None:
    with pytest.raises(CannotAdd, match="the password must have 12 to 256 characters"):
        await add_user(database, EMAIL, "employee", short)


async def test_the_command_takes_a_password_in_any_form(database: Database, database_url: str) -> None:
    command = [sys.executable, "-m", "service.cli", "users", "add", EMAIL, "--role", "employee", "--password-stdin"]
    given = decomposed("pâsswörd-２０２６-１２").encode() + b"\n"
    environment = os.environ | {"DATABASE_URL": database_url, "APP_ENV": "test"}

    added = await asyncio.to_thread(subprocess.run, command, input=given, env=environment, capture_output=True, timeout=60)

    assert added.returncode == 0, added.stderr
    assert await sign_in(database, EMAIL, "pâsswörd-2026-12") is not None
