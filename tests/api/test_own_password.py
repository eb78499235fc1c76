"""People change their own password, and set it by an invitation."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx2 as httpx
import pytest

from service.accounts.invitations import INVITATION_LIFE
from service.accounts.sign_in_limit import FOR_ONE_EMAIL
from tests.api.test_accounts import NEW_PASSWORD, added, sign_in
from tests.service_fixture import PASSWORD, Service, service

__all__ = ["service"]


async def change(client: httpx.AsyncClient, current: str = PASSWORD, new: str = NEW_PASSWORD) -> httpx.Response:
    return await client.post("/api/auth/password", json={"current": current, "new": new})


async def test_a_changed_password_ends_all_other_sessions_and_not_this_one(service: Service) -> None:
    other = (await sign_in(service, "employee@example.com")).json()["token"]
    service.as_nobody.cookies.clear()

    answer = await change(service.as_employee)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await service.as_employee.get("/api/auth/me")).status_code == 200
    bearer = {"Authorization": f"Bearer {other}"}
    assert (await service.as_nobody.get("/api/auth/me", headers=bearer)).status_code == 401
    assert (await sign_in(service, "employee@example.com")).status_code == 401
    assert (await sign_in(service, "employee@example.com", NEW_PASSWORD)).status_code == 200


async def test_a_session_that_survived_a_change_ends_with_the_next_change_by_another_session(service: Service) -> None:
    assert (await change(service.as_employee)).status_code == 204
    token = (await sign_in(service, "employee@example.com", NEW_PASSWORD)).json()["token"]
    service.as_nobody.cookies.clear()

    answer = await service.as_nobody.post(
        "/api/auth/password", json={"current": NEW_PASSWORD, "new": PASSWORD}, headers={"Authorization": f"Bearer {token}"}
    )

    assert answer.status_code == 204
    assert (await service.as_employee.get("/api/auth/me")).status_code == 401


async def test_signing_out_everywhere_ends_the_session_that_survived_a_change(service: Service) -> None:
    assert (await change(service.as_employee)).status_code == 204

    await service.as_admin.post(f"/api/users/{service.employee.id}/sign-out")

    assert (await service.as_employee.get("/api/auth/me")).status_code == 401


@pytest.mark.parametrize(
    ("current", "new", "path", "rule"),
    [
        ("not this one", NEW_PASSWORD, "current", "must be your present password"),
        (PASSWORD, "short", "new", "must have 12 to 256 characters"),
        (PASSWORD, "Password12345", "new", "must not be one of the most common passwords"),
    ],
)
async def test_a_refused_change_names_the_field_and_changes_nothing(
    service: Service, current: str, new: str, path: str, rule: str
) -> None:
    answer = await change(service.as_employee, current, new)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == path
    assert answer.json()["errors"][0]["detail"].startswith(rule)
    assert (await sign_in(service, "employee@example.com")).status_code == 200


async def test_a_stolen_session_cannot_guess_the_password_without_end(service: Service) -> None:
    guesses = [(await change(service.as_employee, f"wrong {n}")).status_code for n in range(FOR_ONE_EMAIL.amount)]

    stopped = await change(service.as_employee)

    assert set(guesses) == {422}
    assert stopped.status_code == 429
    assert int(stopped.headers["retry-after"]) >= 1


async def test_an_auditor_changes_the_own_password(service: Service) -> None:
    assert (await change(service.as_auditor)).status_code == 204


# Invitations ------------------------------------------------------------------------------------------------------------------


async def invited(service: Service, user_id: str) -> tuple[str, dict[str, Any]]:
    answer = await service.as_admin.post(f"/api/users/{user_id}/invitation")
    assert answer.status_code == 201
    invitation: dict[str, Any] = answer.json()["invitation"]
    return invitation["link"].partition("#")[2], invitation


async def accept(service: Service, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
    return await service.as_nobody.post("/api/auth/invitation", json={"token": token, "password": password})


async def test_an_invited_person_sets_the_password_and_signs_in(service: Service) -> None:
    user = await added(service, password=None)

    token, invitation = await invited(service, user["id"])

    assert invitation["link"] == f"{service.url}/invitation#{token}"
    left = datetime.fromisoformat(invitation["expiresAt"]) - datetime.now().astimezone()
    assert timedelta(0) < left <= INVITATION_LIFE
    assert (await accept(service, token)).status_code == 204
    assert (await sign_in(service, "new@example.com", NEW_PASSWORD)).status_code == 200


async def test_the_database_does_not_hold_the_token_of_an_invitation(service: Service) -> None:
    token, _ = await invited(service, service.employee.id)

    kept = await service.context.database.fetch_one("select i::text as text from invitations i")

    assert kept is not None
    assert token not in kept["text"]
    assert token.encode().hex() not in kept["text"]


async def test_an_unknown_used_replaced_expired_or_disabled_invitation_gets_the_same_answer(service: Service) -> None:
    database = service.context.database
    used, _ = await invited(service, service.employee.id)
    assert (await accept(service, used)).status_code == 204
    replaced, _ = await invited(service, service.other.id)
    await invited(service, service.other.id)
    expired, _ = await invited(service, service.auditor.id)
    await database.execute("update invitations set expires_at = now() where user_id = :id", {"id": service.auditor.id})
    new = await added(service, password=None)
    disabled, _ = await invited(service, new["id"])
    await database.execute("update users set disabled_at = now() where id = :id", {"id": new["id"]})

    answers = [await accept(service, token) for token in ("unknown", used, replaced, expired, disabled)]

    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert answers[0].json()["detail"] == "This invitation is not valid: it is unknown, used or expired. Ask for a new one."
    for email in ("other@example.com", "auditor@example.com"):
        assert (await sign_in(service, email)).status_code == 200


async def test_an_invitation_that_is_accepted_twice_at_once_works_once(service: Service) -> None:
    token, _ = await invited(service, service.employee.id)
    passwords = [f"{NEW_PASSWORD} {n}" for n in range(5)]

    answers = await asyncio.gather(*(accept(service, token, password) for password in passwords))

    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404, 404]
    (used,) = [password for password, answer in zip(passwords, answers, strict=True) if answer.status_code == 204]
    assert (await sign_in(service, "employee@example.com", used)).status_code == 200


async def test_an_accepted_invitation_ends_the_sessions_of_before(service: Service) -> None:
    token, _ = await invited(service, service.employee.id)

    await accept(service, token)

    assert (await service.as_employee.get("/api/auth/me")).status_code == 401


async def test_a_weak_password_does_not_use_the_invitation_up(service: Service) -> None:
    token, _ = await invited(service, service.employee.id)

    weak = await accept(service, token, "short")

    assert (weak.status_code, weak.json()["errors"][0]["path"]) == (422, "password")
    assert (await accept(service, token)).status_code == 204


@pytest.mark.parametrize("change", [{"disabled": True}, {"password": NEW_PASSWORD}])
async def test_a_new_password_and_a_disabled_account_end_the_invitation(service: Service, change: dict[str, Any]) -> None:
    token, _ = await invited(service, service.employee.id)

    await service.as_admin.patch(f"/api/users/{service.employee.id}", json=change)
    await service.as_admin.patch(f"/api/users/{service.employee.id}", json={"disabled": False})

    assert (await accept(service, token)).status_code == 404


async def test_a_disabled_person_is_not_invited(service: Service) -> None:
    await service.as_admin.patch(f"/api/users/{service.employee.id}", json={"disabled": True})

    assert (await service.as_admin.post(f"/api/users/{service.employee.id}/invitation")).status_code == 404
