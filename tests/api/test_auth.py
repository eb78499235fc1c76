"""Tests of signing in, signing out, and the tokens that are accepted."""

import asyncio
import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import jwt
import pytest

from events.database import Database
from service.accounts import users
from service.accounts.sign_in_limit import FOR_ONE_EMAIL, SignInLimit, TooManyTries
from service.accounts.users import CannotAdd, Users, add_user
from service.http.cookies import DEVICE, SESSION
from tests.http_client import http_client
from tests.service_fixture import PASSWORD, SECRET, Service, make_context, service, serving

__all__ = ["service"]


async def login(service: Service, email: str = "admin@example.com", password: str = PASSWORD) -> httpx.Response:
    return await service.as_nobody.post("/api/auth/login", json={"email": email, "password": password})


async def me(service: Service, **headers: str) -> httpx.Response:
    async with http_client(service.url) as client:
        return await client.get("/api/auth/me", headers=headers)


async def until(service: Service, token: str, status: int) -> httpx.Response:
    """Repeats a request until it gets this status, because tokens are cached for seconds."""
    give_up = time.monotonic() + users.FRESH + 2
    while True:
        answer = await me(service, Authorization=f"Bearer {token}")
        if answer.status_code == status or time.monotonic() > give_up:
            return answer
        await asyncio.sleep(0.05)


async def test_signing_in_gives_a_token_and_the_same_in_a_cookie(service: Service) -> None:
    answer = await login(service)

    user = {"id": service.admin.id, "email": "admin@example.com", "name": "管理者", "role": "admin"}
    assert answer.status_code == 200
    assert answer.json()["user"] == user
    cookie, device = answer.headers.get_list("set-cookie")
    assert cookie.startswith(f"{SESSION}={answer.json()['token']}; ")
    assert device.startswith(f"{DEVICE}=")
    assert set(device.lower().split("; ")[1:]) == {"httponly", "samesite=strict", "path=/", "max-age=34560000"}
    assert set(cookie.lower().split("; ")[1:]) == {"httponly", "samesite=lax", "path=/", "max-age=43200"}
    assert (await me(service, Cookie=f"{SESSION}={answer.json()['token']}")).json() == {"user": user}
    assert (await me(service, Authorization=f"Bearer {answer.json()['token']}")).json() == {"user": user}


async def test_the_case_of_an_email_does_not_matter(service: Service) -> None:
    assert (await login(service, " Admin@EXAMPLE.com ")).status_code == 200


@pytest.mark.parametrize(("email", "password"), [("admin@example.com", "wrong"), ("nobody@example.com", PASSWORD)])
async def test_a_wrong_password_and_an_unknown_email_get_the_same_answer(service: Service, email: str, password: str) -> None:
    answer = await login(service, email, password)

    assert answer.status_code == 401
    assert answer.json()["detail"] == "The email or the password is wrong."
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "set-cookie" not in answer.headers


STRANGE_CLAIMS: dict[str, list[object]] = {
    "sub": [
        "",
        "admin",
        "1",
        7,
        None,
        True,
        [],
        {},
        "\0",
        "\ud800",
        "0190b1a0-0000-7000-8000-00000000000g",
        "x" * 3_000,
        "履歴",
    ],
    "jti": ["", 7, None, [], "a\0b", "\ud800", "x" * 3_000],
    "exp": ["x", "9999999999", True, None, [], 10**18, 10**400, 1e308, float("inf"), float("nan"), -1],
    "iat": ["x", [], float("inf"), 10**400],
    "nbf": ["x", [], float("nan"), 10**400],
}


def signed(claims: dict[str, object]) -> str:
    """Makes a token with these claims and the right key, as another program could."""
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (HEAD, claims))
    mac = hmac.new(SECRET.encode(), head + b"." + body, "sha256").digest()
    return b".".join((head, body, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()


HEAD = {"alg": "HS256", "typ": "JWT"}


async def test_a_forged_or_malformed_token_gets_401(service: Service) -> None:
    good = {"sub": service.admin.id, "jti": "x", "exp": 2**31}
    forged = {
        "nonsense": "nonsense",
        "another key": jwt.encode(good, SECRET[::-1], "HS256"),
        "expired": jwt.encode(good | {"exp": 1}, SECRET, "HS256"),
        "without an id": jwt.encode({"sub": good["sub"], "exp": good["exp"]}, SECRET, "HS256"),
        "for ever": jwt.encode({"sub": good["sub"], "jti": "x"}, SECRET, "HS256"),
        "unsigned": jwt.encode(good, "", "none"),
        "another algorithm": jwt.encode(good, SECRET, "HS512"),
        "header without end": base64.urlsafe_b64encode(b"[" * 2_000).decode() + ".e30.x",
        "header without end, longer": base64.urlsafe_b64encode(b"[" * 20_000).decode() + ".e30.x",
        **{
            f"{name} {value!r:.40}": signed(good | {name: value}) for name, values in STRANGE_CLAIMS.items() for value in values
        },
    }

    answers = {flaw: await me(service, Authorization=f"Bearer {token}") for flaw, token in forged.items()}

    assert {flaw: answer.status_code for flaw, answer in answers.items()} == dict.fromkeys(forged, 401)
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {"Bearer"}
    assert (await me(service, Authorization=f"Bearer {jwt.encode(good, SECRET, 'HS256')}")).status_code == 200


async def test_a_request_without_a_token_gets_401(service: Service) -> None:
    for address in ("/api/auth/me", "/api/jobs", "/api/events"):
        assert (await service.as_nobody.get(address)).status_code == 401


async def test_an_admin_endpoint_refuses_an_employee(service: Service) -> None:
    assert (await service.as_employee.get("/api/events")).status_code == 403


async def test_only_admins_list_the_users_and_no_password_is_shown(service: Service) -> None:
    answer = await service.as_admin.get("/api/users")

    assert [(user["email"], user["role"]) for user in answer.json()["users"]] == [
        ("employee@example.com", "employee"), ("other@example.com", "employee"), ("auditor@example.com", "auditor"),
        ("admin@example.com", "admin"),
    ]  # fmt: skip
    assert set(answer.json()["users"][0]) == {"id", "email", "name", "role", "disabled"}
    assert (await service.as_employee.get("/api/users")).status_code == 403


async def test_signing_out_ends_the_token_itself(service: Service) -> None:
    token = service.context.users.new_token(service.admin)
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await me(service, **bearer)).status_code == 200

    answer = await service.as_nobody.post("/api/auth/logout", headers=bearer)

    assert answer.status_code == 204
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert (await me(service, **bearer)).status_code == 401
    assert (await service.as_admin.get("/api/auth/me")).status_code == 200


async def test_signing_out_ends_the_token_in_other_processes(service: Service, database: Database) -> None:
    token = service.context.users.new_token(service.admin)
    assert (await me(service, Authorization=f"Bearer {token}")).status_code == 200

    await Users(database, SECRET).end_token(token)

    assert (await until(service, token, 401)).status_code == 401


async def test_a_change_of_role_takes_effect_within_seconds(service: Service, database: Database) -> None:
    token = service.context.users.new_token(service.admin)
    assert (await me(service, Authorization=f"Bearer {token}")).json()["user"]["role"] == "admin"

    await database.execute("update users set role = 'employee' where id = :id", {"id": service.admin.id})

    give_up = time.monotonic() + users.FRESH + 2
    while (await service.as_admin.get("/api/events")).status_code != 403:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.05)


async def test_a_deleted_user_is_refused_within_seconds(service: Service, database: Database) -> None:
    token = service.context.users.new_token(service.employee)
    assert (await me(service, Authorization=f"Bearer {token}")).status_code == 200

    await database.execute("delete from users where id = :id", {"id": service.employee.id})

    assert (await until(service, token, 401)).status_code == 401


async def test_ended_tokens_are_deleted_after_their_expiry(service: Service, database: Database) -> None:
    await database.execute(
        "insert into ended_tokens (id, expires_at) values ('old', :past)", {"past": datetime.now(UTC) - timedelta(seconds=1)}
    )

    await service.context.users.end_token(service.context.users.new_token(service.admin))

    assert await database.fetch_val("select count(*) from ended_tokens where id = 'old'") == 0
    assert await database.fetch_val("select count(*) from ended_tokens") == 1


async def test_guessing_a_password_gets_429_with_retry_after(service: Service) -> None:
    guesses = [await login(service, password="wrong") for _ in range(FOR_ONE_EMAIL.amount)]

    stopped = await login(service)

    assert {guess.status_code for guess in guesses} == {401}
    assert stopped.status_code == 429
    assert 1 <= int(stopped.headers["retry-after"]) <= FOR_ONE_EMAIL.get_expiry()
    assert (await login(service, "employee@example.com")).status_code == 200


async def test_successful_sign_ins_are_not_limited(service: Service) -> None:
    answers = [(await login(service)).status_code for _ in range(FOR_ONE_EMAIL.amount + 1)]

    assert set(answers) == {200}


async def test_failed_sign_ins_are_counted_over_all_processes(redis_url: str) -> None:
    one, other = SignInLimit(redis_url), SignInLimit(redis_url)
    email = f"{time.monotonic_ns()}@example.com"
    for _ in range(FOR_ONE_EMAIL.amount // 2):
        await one.count("192.0.2.1", email)
        await other.count("192.0.2.1", email)

    with pytest.raises(TooManyTries) as refused:
        await one.count("192.0.2.1", email)

    assert refused.value.retry_after >= 1


async def test_without_redis_each_process_counts_sign_ins_alone() -> None:
    tries = SignInLimit("redis://127.0.0.1:1")
    for _ in range(FOR_ONE_EMAIL.amount):
        await tries.count("192.0.2.1", "a@example.com")

    with pytest.raises(TooManyTries):
        await tries.count("192.0.2.1", "a@example.com")


async def test_a_change_sent_by_a_page_of_another_site_is_refused(service: Service) -> None:
    address = "/api/jobs/0190b1a0-0000-7000-8000-000000000000/cancel"
    cookie = {"Cookie": f"{SESSION}={service.context.users.new_token(service.admin)}"}
    ours: list[dict[str, str]] = [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://jobs.example.com"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": service.url},
    ]
    theirs = (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Origin": service.url.replace("://", "://1]2[.")},
        {"Origin": service.url, "Sec-Fetch-Site": "cross-site"},
    )

    for headers in ours:
        assert (await service.as_nobody.post(address, headers=cookie | headers)).status_code == 404
    for headers in theirs:
        assert (await service.as_nobody.post(address, headers=cookie | headers)).status_code == 403


async def test_the_cookies_in_production_are_bound_to_this_host(service: Service) -> None:
    context = service.context
    production = make_context(
        context.database, context.bus, context.store, app_env="production", database_url="postgresql://x/y",
        redis_url="redis://x", jwt_secret=SECRET,
    )  # fmt: skip

    async with serving(production) as url, http_client(url) as client:
        answer = await client.post("/api/auth/login", json={"email": "admin@example.com", "password": PASSWORD})
        token = answer.json()["token"]
        client.cookies.clear()
        statuses = {
            name: (await client.get("/api/auth/me", headers={"Cookie": f"{name}={token}"})).status_code
            for name in (f"__Host-{SESSION}", SESSION)
        }

    for cookie, name in zip(answer.headers.get_list("set-cookie"), (SESSION, DEVICE), strict=True):
        assert cookie.startswith(f"__Host-{name}=")
        attributes = cookie.lower().split("; ")[1:]
        assert {"secure", "httponly", "path=/"} <= set(attributes)
        assert not [attribute for attribute in attributes if attribute.startswith("domain")]
    assert statuses == {f"__Host-{SESSION}": 200, SESSION: 401}
    assert answer.headers["strict-transport-security"]


async def test_the_events_are_streamed_by_the_cookie_in_production(service: Service) -> None:
    context = service.context
    production = make_context(
        context.database, context.bus, context.store, app_env="production", database_url="postgresql://x/y",
        redis_url="redis://x", jwt_secret=SECRET,
    )  # fmt: skip
    cookie = {"Cookie": f"__Host-{SESSION}={context.users.new_token(service.admin)}", "Accept": "text/event-stream"}

    async with (
        serving(production) as url,
        http_client(url) as client,
        client.stream("GET", "/api/jobs/stream", headers=cookie) as stream,
    ):
        assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


@pytest.mark.parametrize(
    ("email", "role", "password", "why"),
    [
        ("admin", "admin", PASSWORD, "'admin' is not an email address"),
        ("a@b\0", "admin", PASSWORD, "is not an email address"),
        ("new@example.com", "root", PASSWORD, "'root' is not a role: use admin, employee, auditor"),
        ("new@example.com", "admin", "short", "the password must have 12 to 256 characters"),
        ("new@example.com", "admin", "Password12345", "the password must not be one of the most common passwords"),
        ("EMPLOYEE@example.com", "admin", PASSWORD, "there is already a user with the email employee@example.com"),
    ],
)
async def test_an_invalid_new_user_is_refused_with_the_reason(
    database: Database, email: str, role: str, password: str, why: str
) -> None:
    await add_user(database, "employee@example.com", "employee", PASSWORD)

    with pytest.raises(CannotAdd, match=why):
        await add_user(database, email, role, password)

    assert await database.fetch_val("select count(*) from users") == 1


async def test_a_password_is_stored_as_an_argon2_hash_only(database: Database) -> None:
    await add_user(database, "new@example.com", "employee", PASSWORD)

    kept = await database.fetch_one("select * from users")
    assert kept is not None
    assert kept["password_hash"].startswith("$argon2id$")
    assert PASSWORD not in str(dict(kept))


async def test_a_malformed_token_does_not_affect_the_tokens_of_its_batch(service: Service) -> None:
    strange = signed({"sub": "admin", "jti": "x", "exp": 2**31})
    headers = [{"Authorization": f"Bearer {token}"} for token in (strange, service.context.users.new_token(service.admin))]

    answers = await asyncio.gather(*(me(service, **header) for header in headers * 5))

    assert [answer.status_code for answer in answers] == [401, 200] * 5
    assert (await service.as_nobody.post("/api/auth/logout", headers=headers[0])).status_code == 401
