"""Signing in through an identity provider."""

import base64
from urllib.parse import parse_qs, urlsplit

import httpx2 as httpx
import pytest
from structlog.testing import capture_logs

from service.accounts.oidc_provider import KEYS_REST
from service.accounts.users import add_user
from service.config import Settings
from service.http.cookies import SESSION
from tests.api.oidc import START, OidcSite, oidc_site, outcome_of, site
from tests.http_client import http_client
from tests.oidc_server import CLIENT_ID, CLIENT_SECRET, SigningKey
from tests.service_fixture import PASSWORD, SECRET, Service, make_context, service, serving

__all__ = ["service", "site"]

EMAIL = "yamada@example.com"


async def me(browser: httpx.AsyncClient) -> httpx.Response:
    return await browser.get("/api/auth/me")


async def test_the_first_sign_in_makes_an_account_and_the_next_finds_it(site: OidcSite) -> None:
    async with site.browser() as browser:
        answer = await site.sign_in(browser)
        first = (await me(browser)).json()["user"]
    site.provider.person["email"] = "new-name@example.com"
    async with site.browser() as browser:
        again = await site.sign_in(browser)
        second = (await me(browser)).json()["user"]

    assert (outcome_of(answer), outcome_of(again)) == ("/", "/")
    assert (first["email"], first["name"], first["role"]) == (EMAIL, "山田", "employee")
    assert second == first
    user = await site.user(EMAIL)
    assert user is not None
    assert user["password_hash"] is None
    assert (
        await site.database.fetch_val("select subject from identities where issuer = :url", {"url": site.provider.url})
        == "sub-1"
    )


async def test_the_code_is_exchanged_with_the_secret_and_the_verifier(site: OidcSite) -> None:
    assert await site.outcome() == "/"

    form = site.provider.forms[0]
    given = base64.b64decode(form["authorization"].removeprefix("Basic ")).decode()
    assert given == "rireki%20of%20the%20tests:a%20secret%3A%20with%20signs%20%2F%20and%20%3D%3D"
    assert len(form["code_verifier"]) >= 43
    assert "client_secret" not in form


@pytest.mark.parametrize(
    ("secret", "methods", "sent"),
    [
        (CLIENT_SECRET, ["client_secret_post"], {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}),
        (None, ["none"], {"client_id": CLIENT_ID, "client_secret": None}),
    ],
)
async def test_the_secret_is_sent_as_the_provider_reads_it(
    service: Service, secret: str | None, methods: list[str], sent: dict[str, str | None]
) -> None:
    async with oidc_site(service, oidc_client_secret=secret) as site:
        site.provider.document["token_endpoint_auth_methods_supported"] = methods
        assert await site.outcome() == "/"

    form = site.provider.forms[0]
    assert form["authorization"] is None
    assert {name: form.get(name) for name in sent} == sent


async def test_the_role_comes_from_the_claim(site: OidcSite) -> None:
    claims: list[tuple[object, str]] = [
        ("admin", "admin"), (["employee", "auditor"], "auditor"), (["x", "admin", "auditor"], "admin"), ("auditor", "auditor"),
        ("owner", "employee"), ([], "employee"), (None, "employee"), ({"admin": True}, "employee"), ([["admin"]], "employee"),
        ("administrator", "employee"),
    ]  # fmt: skip
    for number, (claim, role) in enumerate(claims):
        site.provider.person |= {"roles": claim, "sub": f"sub-{number}", "email": f"{number}@example.com"}
        assert await site.outcome() == "/"

        user = await site.user(f"{number}@example.com")
        assert user is not None
        assert user["role"] == role, claim


async def test_the_provider_changes_the_role_at_the_next_sign_in(site: OidcSite) -> None:
    for claim, role in (("admin", "admin"), (["auditor"], "auditor"), (None, "employee")):
        site.provider.person["roles"] = claim
        async with site.browser() as browser:
            await site.sign_in(browser)

            assert (await me(browser)).json()["user"]["role"] == role


async def test_the_last_admin_stays_an_admin(site: OidcSite) -> None:
    site.provider.person["roles"] = "admin"
    assert await site.outcome() == "/"
    await site.database.execute("update users set role = 'employee' where email <> :email", {"email": EMAIL})
    site.provider.person["roles"] = "employee"

    assert await site.outcome() == "/"

    user = await site.user(EMAIL)
    assert user is not None
    assert user["role"] == "admin"


async def test_accounts_and_roles_that_the_provider_decides_are_on_record(site: OidcSite) -> None:
    for claim in ("auditor", "auditor", "employee"):
        site.provider.person["roles"] = claim
        assert await site.outcome() == "/"

    user = await site.user(EMAIL)
    assert user is not None
    records = (await site.service.as_auditor.get("/api/audit/access")).json()["records"]
    assert [(record["actor"], record["action"], record["target"]) for record in reversed(records)] == [
        ("system:oidc", "add_user", f"user:{user['id']} role=auditor"),
        ("system:oidc", "link_identity", f"user:{user['id']} issuer={site.provider.url}"),
        ("system:oidc", "change_user", f"user:{user['id']} role=employee"),
    ]
    assert all(record["address"] == "127.0.0.1" and record["requestId"] for record in records)


async def test_a_sign_in_that_changes_no_account_is_not_on_record(site: OidcSite) -> None:
    site.provider.person |= {"email": "admin@example.com", "roles": "employee"}
    await site.database.execute("update users set password_hash = null where email = 'admin@example.com'")
    assert await site.outcome() == "/"  # the last admin stays an admin

    assert await site.outcome() == "/"

    records = (await site.service.as_auditor.get("/api/audit/access")).json()["records"]
    assert [record["action"] for record in records] == ["link_identity"]


async def test_a_role_that_the_provider_takes_away_is_gone_in_earlier_sessions_too(site: OidcSite) -> None:
    site.provider.person["roles"] = "admin"
    async with site.browser() as earlier:
        await site.sign_in(earlier)
        assert (await me(earlier)).json()["user"]["role"] == "admin"
        site.provider.person["roles"] = "employee"

        assert await site.outcome() == "/"

        assert (await me(earlier)).json()["user"]["role"] == "employee"


async def test_without_a_claim_for_roles_an_admin_decides_them(service: Service) -> None:
    async with oidc_site(service) as site:
        site.provider.person["roles"] = "admin"
        assert await site.outcome() == "/"
        await site.database.execute("update users set role = 'auditor' where email = :email", {"email": EMAIL})
        assert await site.outcome() == "/"
        user = await site.user(EMAIL)

    assert user is not None
    assert user["role"] == "auditor"


async def test_an_account_with_a_password_is_not_taken_over(site: OidcSite) -> None:
    site.provider.person["email"] = " ADMIN@example.com"

    assert await site.outcome() == "email-taken"
    assert await site.database.fetch_val("select count(*) from identities") == 0


async def test_somebody_who_is_signed_in_joins_the_identity_to_the_account(site: OidcSite) -> None:
    site.provider.person["email"] = "admin@example.com"
    async with site.browser() as browser:
        await browser.post("/api/auth/login", json={"email": "admin@example.com", "password": PASSWORD})
        assert outcome_of(await site.sign_in(browser)) == "/"

    async with site.browser() as browser:
        assert outcome_of(await site.sign_in(browser)) == "/"
        assert (await me(browser)).json()["user"]["id"] == site.service.admin.id
    records = (await site.service.as_auditor.get("/api/audit/access")).json()["records"]
    assert [(record["actor"], record["action"], record["target"]) for record in records] == [
        ("system:oidc", "link_identity", f"user:{site.service.admin.id} issuer={site.provider.url}")
    ]


async def test_the_session_of_another_account_joins_nothing(site: OidcSite) -> None:
    site.provider.person["email"] = "admin@example.com"
    async with site.browser() as browser:
        await browser.post("/api/auth/login", json={"email": "employee@example.com", "password": PASSWORD})

        assert outcome_of(await site.sign_in(browser)) == "email-taken"


async def test_an_invited_account_without_a_password_is_theirs(site: OidcSite) -> None:
    await add_user(site.database, EMAIL, "auditor", PASSWORD)
    await site.database.execute("update users set password_hash = null where email = :email", {"email": EMAIL})

    async with site.browser() as browser:
        assert outcome_of(await site.sign_in(browser)) == "/"
        assert (await me(browser)).json()["user"]["email"] == EMAIL


async def test_the_next_holder_of_an_email_does_not_get_the_account(site: OidcSite) -> None:
    assert await site.outcome() == "/"
    site.provider.person["sub"] = "sub-2"

    assert await site.outcome() == "email-taken"


async def test_an_unverified_email_is_refused(site: OidcSite) -> None:
    for verified in (False, None, "true", 1):
        site.provider.person["email_verified"] = verified
        assert await site.outcome() == "email-not-verified"
    del site.provider.person["email_verified"]

    assert await site.outcome() == "email-not-verified"
    assert await site.user(EMAIL) is None


async def test_an_identity_without_an_email_is_refused(site: OidcSite) -> None:
    for email in (None, "", "nobody", 7, "a b@example.com", "a@b\0", f"{'a' * 250}@example.com"):
        site.provider.person["email"] = email

        assert await site.outcome() == "email-missing"


async def test_an_account_without_a_name_is_named_after_its_email(site: OidcSite) -> None:
    for email, name in (("yamada@example.com", "yamada"), (f"{'a' * 210}@example.com", "a" * 200)):
        site.provider.person |= {"sub": email, "email": email, "name": None}

        assert await site.outcome() == "/"

        user = await site.user(email)
        assert user is not None
        assert user["name"] == name


async def test_a_disabled_user_stays_out(site: OidcSite) -> None:
    assert await site.outcome() == "/"
    await site.database.execute("update users set disabled_at = now() where email = :email", {"email": EMAIL})

    assert await site.outcome() == "disabled"


async def test_a_disabled_account_is_not_joined(site: OidcSite) -> None:
    await add_user(site.database, EMAIL, "employee", PASSWORD)
    await site.database.execute(
        "update users set password_hash = null, disabled_at = now() where email = :email", {"email": EMAIL}
    )

    assert await site.outcome() == "disabled"


async def test_a_new_key_of_the_provider_is_read_once(site: OidcSite) -> None:
    assert await site.outcome() == "/"
    assert site.context.oidc is not None
    site.provider.key = SigningKey("second", "ES256")
    site.context.oidc.provider._keys_read_at -= KEYS_REST

    assert await site.outcome() == "/"
    assert await site.outcome() == "/"

    assert site.provider.asked.count("/keys") == 2
    assert site.provider.asked.count("/.well-known/openid-configuration") == 1


async def test_invented_keys_do_not_make_the_service_flood_the_provider(site: OidcSite) -> None:
    stranger = SigningKey("invented")
    site.provider.sign = stranger.sign

    assert [await site.outcome() for _ in range(4)] == ["token"] * 4
    assert site.provider.asked.count("/keys") == 1


async def test_the_person_comes_back_to_the_page_where_the_sign_in_began(site: OidcSite) -> None:
    for to, shown in {"/jobs": "/jobs", "/jobs/0190b1a0": "/jobs/0190b1a0"}.items():
        async with site.browser() as browser:
            assert outcome_of(await site.sign_in(browser, f"{START}?to={to}")) == shown


async def test_no_sign_in_ends_at_another_host(site: OidcSite) -> None:
    for to in ("//evil.example", "https://evil.example", "/\\evil.example", "evil", "/%09/evil.example", "/a b"):
        async with site.browser() as browser:
            begun = await browser.get(START, params={"to": to})
            back = await browser.get(begun.headers["location"])
            answer = await browser.get(back.headers["location"])

        assert answer.headers["location"] == "/"


async def test_the_page_learns_the_ways_to_sign_in(site: OidcSite) -> None:
    async with site.browser() as browser:
        assert (await browser.get("/api/auth/methods")).json() == {"password": True, "oidc": True}
    assert (await site.service.as_nobody.get("/api/auth/methods")).json() == {"password": True, "oidc": False}
    assert (await site.service.as_nobody.get(START)).status_code == 404


async def test_in_production_the_provider_is_sent_back_to_https_with_host_cookies(site: OidcSite) -> None:
    context = site.context
    production = make_context(
        context.database, context.bus, context.store, app_env="production", database_url="postgresql://x/y",
        redis_url="redis://x", jwt_secret=SECRET,
    )  # fmt: skip
    object.__setattr__(production, "oidc", context.oidc)

    async with serving(production) as url, http_client(url) as browser:
        begun = await browser.get(START)

    sent = parse_qs(urlsplit(begun.headers["location"]).query)
    assert sent["redirect_uri"] == [f"https://{urlsplit(url).netloc}/api/auth/oidc/callback"]
    assert sent["prompt"] == ["login"]
    cookie = begun.headers["set-cookie"]
    assert cookie.startswith("__Host-rireki_oidc=")
    assert {"secure", "httponly", "samesite=lax", "path=/", "max-age=600"} == set(cookie.lower().split("; ")[1:])


async def test_a_sign_in_writes_one_line_without_email_code_or_token(site: OidcSite) -> None:
    with capture_logs() as lines:
        await site.outcome()
        site.provider.person["email_verified"] = False
        await site.outcome()

    told = [line for line in lines if line["event"] == "sign-in"]
    assert [(line["method"], line["outcome"]) for line in told] == [("oidc", "signed in"), ("oidc", "email-not-verified")]
    assert told[0]["email_hash"] == site.context.devices.account(EMAIL)
    assert not [line for line in lines if EMAIL in str(line) or "eyJ" in str(line)]


async def test_the_cookies_of_the_session_and_the_device_are_set_and_that_of_the_sign_in_goes(site: OidcSite) -> None:
    async with site.browser() as browser:
        answer = await site.sign_in(browser)

    cookies = {cookie.split("=")[0]: cookie for cookie in answer.headers.get_list("set-cookie")}
    assert set(cookies) == {SESSION, "rireki_device", "rireki_oidc"}
    assert "max-age=0" in cookies["rireki_oidc"].lower()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"oidc_issuer": "https://id.example.com"}, "OIDC_CLIENT_ID is required with OIDC_ISSUER"),
        ({"oidc_client_id": "x"}, "OIDC_CLIENT_ID has no effect without OIDC_ISSUER"),
        ({"oidc_role_claim": "x"}, "OIDC_ROLE_CLAIM has no effect without OIDC_ISSUER"),
        ({"oidc_issuer": "https://id.example.com?a=b", "oidc_client_id": "x"}, "OIDC_ISSUER must be an address without"),
        ({"oidc_issuer": "id.example.com", "oidc_client_id": "x"}, "must be an address like"),
        (
            {
                "oidc_issuer": "http://id.example.com", "oidc_client_id": "x", "app_env": "production",
                "database_url": "postgresql://x/y", "redis_url": "redis://x", "jwt_secret": SECRET,
            },
            "OIDC_ISSUER must",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        Settings(**({"app_env": "test"} | given))  # type: ignore[arg-type]
