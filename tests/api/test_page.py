"""The page over HTTP: its document, its files, its Content-Security-Policy."""

import asyncio
import contextlib
import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest

from events.bus import Bus
from events.database import Database
from events.store import Store
from service.api.app import create_app
from service.http.context import ApiContext
from service.page import Page
from tests.http_client import http_client
from tests.service_fixture import make_context

INDEX = '<!doctype html><html lang="ja"><title>Rireki 履歴</title><div id="page"></div></html>'
SCRIPT = "console.log('履歴');\n" * 50
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
ADDRESSES = ("/", "/sign-in", "/chatwork", "/jobs", "/jobs/1", "/companies", "/companies/1", "/audit")


@pytest.fixture
def context(database: Database, bus: Bus, store: Store) -> ApiContext:
    return make_context(database, bus, store)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Makes the folder of a built page, and a secret file outside that folder."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX, encoding="utf-8")
    (folder / "manifest.webmanifest").write_text("{}", encoding="utf-8")
    (folder / "assets" / "index-a1b2.js").write_text(SCRIPT, encoding="utf-8")
    (folder / "assets" / "icon-c3d4.png").write_bytes(b"\x89PNG")
    (tmp_path / "secret.js").write_text("secret", encoding="utf-8")
    return folder


@contextlib.asynccontextmanager
async def browser(context: ApiContext, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(context, Page(folder))
    async with http_client("http://rireki", transport=httpx.ASGITransport(app)) as client:
        yield client


async def test_every_address_of_the_page_gets_the_same_document(context: ApiContext, built: Path) -> None:
    async with browser(context, built) as client:
        answers = [await client.get(address, headers=HTML) for address in ADDRESSES]

    for answer in answers:
        assert (answer.status_code, answer.text) == (200, INDEX)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_content_security_policy_allows_only_this_host_and_nothing_inline(context: ApiContext, built: Path) -> None:
    async with browser(context, built) as client:
        policy = (await client.get("/jobs/1")).headers["content-security-policy"]

    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert (directives.pop("require-trusted-types-for"), directives.pop("trusted-types")) == ("'script'", "dompurify")
    assert {name: source for name, source in directives.items() if source != "'self'"} == {
        "default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    assert set(directives) >= {"script-src", "style-src", "img-src", "connect-src"}


async def test_files_with_a_hash_in_their_name_are_cached_for_a_year(context: ApiContext, built: Path) -> None:
    async with browser(context, built) as client:
        script = await client.get("/assets/index-a1b2.js")
        icon = await client.get("/assets/icon-c3d4.png")
        manifest = await client.get("/manifest.webmanifest")

    assert script.text == SCRIPT
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert (icon.content, icon.headers["content-type"]) == (b"\x89PNG", "image/png")
    for asset in (script, icon):
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asset.headers["x-content-type-options"] == "nosniff"
    assert manifest.headers["content-type"] == "application/manifest+json"
    assert manifest.headers["cache-control"] == "no-cache"


async def test_text_is_compressed_for_clients_that_accept_gzip(context: ApiContext, built: Path) -> None:
    async def sent(encoding: str) -> tuple[str | None, bytes]:
        request = client.build_request("GET", "/assets/index-a1b2.js", headers={"Accept-Encoding": encoding})
        answer = await client.send(request, stream=True)
        assert answer.headers["vary"] == "Accept-Encoding"
        raw = b"".join([piece async for piece in answer.aiter_raw()])
        assert int(answer.headers["content-length"]) == len(raw)
        return answer.headers.get("content-encoding"), raw

    async with browser(context, built) as client:
        zipped = await sent("br, gzip;q=0.9")
        plain = [await sent("identity"), await sent("br, gzip;q=0"), await sent("")]

    assert zipped[0] == "gzip"
    assert gzip.decompress(zipped[1]).decode() == SCRIPT
    assert len(zipped[1]) < len(SCRIPT) / 4
    assert plain == [(None, SCRIPT.encode())] * 3


async def test_a_file_that_the_browser_has_gets_304(context: ApiContext, built: Path) -> None:
    async with browser(context, built) as client:
        first = await client.get("/jobs")
        again = await client.get("/jobs", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
        (built / "index.html").write_text(INDEX + "<!-- new -->", encoding="utf-8")
        changed = await client.get("/jobs", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (changed.status_code, changed.text) == (200, INDEX + "<!-- new -->")


@pytest.mark.parametrize(
    "name", ["../secret.js", "%2e%2e/secret.js", "..%2f..%2fsecret.js", "nothing.js", "", "a" * 5000, "%00"]
)
async def test_no_path_reads_a_file_outside_the_page_s_folder(context: ApiContext, built: Path, name: str) -> None:
    async with browser(context, built) as client:
        path = httpx.URL("http://rireki").copy_with(raw_path=f"/assets/{name}".encode())
        answer = await client.get(path, headers=HTML)

    assert answer.status_code == 404
    assert "secret" not in answer.text


async def test_an_unknown_path_is_the_page_for_a_browser_and_a_problem_for_a_program(context: ApiContext, built: Path) -> None:
    async with browser(context, built) as client:
        to_browser = await client.get("/nothing/here", headers=HTML)
        to_program = await client.get("/nothing/here")
        posted = await client.post("/nothing", headers=HTML)
        in_api = [await client.get(address, headers=HTML) for address in ("/api", "/api/nothing", "/api/jobs/", "/assets/x.js")]

    assert (to_browser.status_code, to_browser.text) == (404, INDEX)
    assert "script-src 'self'" in to_browser.headers["content-security-policy"]
    for answer in (to_program, posted, *in_api):
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_without_a_build_a_plain_page_says_so_in_both_languages(context: ApiContext, tmp_path: Path) -> None:
    async with browser(context, tmp_path / "nowhere") as client:
        pages = await asyncio.gather(*(client.get(address, headers=HTML) for address in ADDRESSES))
        linked = [await client.get(address) for address in re.findall(r'href="([^"]+)"', pages[0].text)]
        unknown = await client.get("/nothing", headers=HTML)

    for page in pages:
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "まだビルドされていません" in page.text
        assert "has not been built" in page.text
    assert [answer.status_code for answer in linked] == [200] * 4
    assert unknown.status_code == 404
