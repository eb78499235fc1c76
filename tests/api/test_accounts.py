"""Admins add people, change their accounts, and sign them out everywhere."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import httpx2 as httpx
import jwt
import pytest

from events.database import Database
from service.accounts import users
from service.accounts.people import AccountChange, LastAdmin, accounts, change_account
from service.accounts.users import Users
from tests.service_fixture import PASSWORD, SECRET, Service, service, user_of

__all__ = ["service"]

NEW_PASSWORD = "a violin under the lime tree"


async def sign_in(service: Service, email: str, password: str = PASSWORD) -> httpx.Response:
    return await service.as_nobody.post("/api/auth/login", json={"email": email, "password": password})


async def added(service: Service, **values: Any) -> dict[str, Any]:
    body = {"email": "new@example.com", "role": "employee", "password": PASSWORD} | values
    answer = await service.as_admin.post("/api/users", json=body)
    assert answer.status_code == 201, answer.text
    user: dict[str, Any] = answer.json()["user"]
    return user


async def test_a_person_is_added_and_signs_in(service: Service) -> None:
    user = await added(service, email=" New@Example.com", name="新田", role="auditor")

    assert user == {"id": user["id"], "email": "new@example.com", "name": "新田", "role": "auditor", "disabled": False}
    assert (await sign_in(service, "new@example.com")).json()["user"]["id"] == user["id"]
    assert (await service.as_admin.get(f"/api/users/{user['id']}")).json() == {"user": user}
    assert user in (await service.as_admin.get("/api/users")).json()["users"]


async def test_a_person_without_a_password_cannot_sign_in(service: Service) -> None:
    body = {"email": "new@example.com", "role": "employee"}

    answer = await service.as_admin.post("/api/users", json=body)

    assert answer.status_code == 201
    assert answer.json()["user"]["name"] == "new"
    assert (await sign_in(service, "new@example.com")).status_code == 401


@pytest.mark.parametrize(
    ("values", "status", "path", "rule"),
    [
        ({"email": "no address"}, 422, "email", "must be an email address like yamada@example.com, at most 254 characters"),
        ({"email": "EMPLOYEE@example.com"}, 409, "email", "belongs to another user: give another one"),
        ({"role": "root"}, 422, "role", "must be 'admin', 'employee' or 'auditor'"),
        ({"password": "short"}, 422, "password", "must have 12 to 256 characters"),
        ({"password": "Password12345"}, 422, "password", "must not be one of the most common passwords, also not with"),
        ({"name": " "}, 422, "name", "must have 1 to 200 characters, none of them NUL"),
        ({"id": str(uuid4())}, 422, "id", "is not a known field"),
        ({"disabled": True}, 422, "disabled", "is not a known field"),
    ],
)
async def test_an_invalid_new_person_is_refused_with_field_and_rule(
    service: Service, values: dict[str, Any], status: int, path: str, rule: str
) -> None:
    answer = await service.as_admin.post(
        "/api/users", json={"email": "new@example.com", "role": "employee", "password": PASSWORD} | values
    )

    assert answer.status_code == status
    (error,) = answer.json()["errors"]
    assert error["path"] == path
    assert error["detail"].startswith(rule)
    assert len((await service.as_admin.get("/api/users")).json()["users"]) == 4


async def test_a_change_of_an_account_is_answered_with_the_account(service: Service) -> None:
    address = f"/api/users/{service.employee.id}"

    answer = await service.as_admin.patch(address, json={"role": "auditor", "name": "佐藤", "password": NEW_PASSWORD})

    user = {"id": service.employee.id, "email": "employee@example.com", "name": "佐藤", "role": "auditor", "disabled": False}
    assert (answer.status_code, answer.json()) == (200, {"user": user})
    assert (await sign_in(service, "employee@example.com")).status_code == 401
    assert (await sign_in(service, "employee@example.com", NEW_PASSWORD)).json()["user"]["role"] == "auditor"
    assert (await service.as_admin.patch(address, json={})).json() == {"user": user}


@pytest.mark.parametrize(
    ("body", "path"),
    [({"name": ""}, "name"), ({"password": "short"}, "password"), ({"role": "root"}, "role"), ({"email": "x@y"}, "email")],
)
async def test_an_invalid_change_is_refused_and_changes_nothing(service: Service, body: dict[str, Any], path: str) -> None:
    before = await accounts(service.context.database)

    answer = await service.as_admin.patch(f"/api/users/{service.employee.id}", json={"disabled": True} | body)

    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, path)
    assert await accounts(service.context.database) == before


async def test_an_unknown_account_is_404(service: Service) -> None:
    for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/sign-out"), ("POST", "/invitation")):
        answer = await service.as_admin.request(method, f"/api/users/{uuid4()}{path}")
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such user.")


async def test_a_disabled_person_is_signed_out_and_cannot_sign_in_until_enabled(service: Service) -> None:
    address = f"/api/users/{service.employee.id}"

    disabled = (await service.as_admin.patch(address, json={"disabled": True})).json()["user"]

    assert disabled["disabled"] is True
    assert (await service.as_employee.get("/api/auth/me")).status_code == 401
    refused, wrong = await sign_in(service, "employee@example.com"), await sign_in(service, "employee@example.com", "wrong")
    assert (refused.status_code, refused.json()) == (wrong.status_code, wrong.json()) == (401, wrong.json())
    await service.as_admin.patch(address, json={"disabled": False})
    assert (await sign_in(service, "employee@example.com")).status_code == 200
    assert (await service.as_employee.get("/api/auth/me")).status_code == 401  # the old session does not come back


async def test_signing_out_everywhere_ends_all_sessions_of_one_person(service: Service) -> None:
    other_session = (await sign_in(service, "employee@example.com")).json()["token"]

    answer = await service.as_admin.post(f"/api/users/{service.employee.id}/sign-out")

    assert answer.status_code == 200
    assert (await service.as_employee.get("/api/auth/me")).status_code == 401
    bearer = {"Authorization": f"Bearer {other_session}"}
    service.as_nobody.cookies.clear()
    assert (await service.as_nobody.get("/api/auth/me", headers=bearer)).status_code == 401
    assert (await service.as_other.get("/api/auth/me")).status_code == 200
    assert (await sign_in(service, "employee@example.com")).status_code == 200


@pytest.mark.parametrize(
    "change", [{"role": "employee"}, {"disabled": True}, {"role": "admin", "disabled": True}, {"role": "auditor"}]
)
async def test_the_last_admin_stays_an_admin(service: Service, change: dict[str, Any]) -> None:
    disabled = await user_of(service.context.database, "disabled@example.com", "admin", "disabled")
    await change_account(service.context.database, disabled.id, AccountChange(disabled=True))

    answer = await service.as_admin.patch(f"/api/users/{service.admin.id}", json=change)

    assert (answer.status_code, answer.json()["detail"]) == (
        409, "This is the last enabled admin. Make somebody else an admin first.",
    )  # fmt: skip
    assert (await service.as_admin.get("/api/auth/me")).json()["user"]["role"] == "admin"
    second = await user_of(service.context.database, "second@example.com", "admin", "second")
    assert (await service.as_admin.patch(f"/api/users/{second.id}", json=change)).status_code == 200


async def test_an_admin_who_has_not_accepted_the_invitation_is_no_other_admin(service: Service) -> None:
    invited = {"email": "invited@example.com", "name": "招待", "role": "admin"}
    assert (await service.as_admin.post("/api/users", json=invited)).status_code == 201

    answer = await service.as_admin.patch(f"/api/users/{service.admin.id}", json={"role": "employee"})

    assert answer.status_code == 409


async def test_two_admins_who_demote_each_other_at_once_leave_one_admin(database: Database) -> None:
    for _ in range(20):
        one, other = [await user_of(database, f"{uuid4()}@example.com", "admin", "x") for _ in range(2)]
        demotion = AccountChange(role=users.Role.EMPLOYEE)

        ended = await asyncio.gather(
            *(change_account(database, admin.id, demotion) for admin in (one, other)), return_exceptions=True
        )

        assert [type(each) for each in ended].count(LastAdmin) == 1
        left = "select count(*) from users where role = 'admin' and disabled_at is null"
        assert await database.fetch_val(left) == 1
        await database.execute("delete from users")


# Effects ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"disabled": True}, {"signs_out": True}, {"password": NEW_PASSWORD}])
async def test_a_change_in_another_process_takes_effect_within_a_second(service: Service, change: dict[str, Any]) -> None:
    """The other process has only the database in common with this one."""
    assert (await service.as_employee.get("/api/auth/me")).status_code == 200
    await change_account(service.context.database, service.employee.id, AccountChange(**change))
    changed_at = time.monotonic()

    while (await service.as_employee.get("/api/auth/me")).status_code != 401:
        assert time.monotonic() < changed_at + 5, "the session goes on"
    assert users.FRESH <= 1.0


async def test_many_tokens_in_use_are_refreshed_by_one_query(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "FRESH", 0.0)
    people = Users(database, SECRET)
    tokens = [people.new_token(await user_of(database, f"{n}@example.com", "employee", f"{n}")) for n in range(50)]
    await asyncio.gather(*map(people.of_token, tokens))
    monkeypatch.setattr(users, "FRESH", 60.0)
    queries = 0
    asked = database.fetch_all

    async def counting(*query: Any) -> Any:
        nonlocal queries
        queries += 1
        return await asked(*query)

    monkeypatch.setattr(database, "fetch_all", counting)

    for token in tokens:
        assert await people.of_token(token) is not None

    assert queries == 1


async def test_a_token_of_an_earlier_version_is_valid_until_the_first_sign_out(service: Service) -> None:
    claims = {"sub": service.employee.id, "jti": "old", "exp": time.time() + 60}
    bearer = {"Authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}
    assert (await service.as_nobody.get("/api/auth/me", headers=bearer)).status_code == 200

    await service.as_admin.post(f"/api/users/{service.employee.id}/sign-out")

    assert (await service.as_nobody.get("/api/auth/me", headers=bearer)).status_code == 401
