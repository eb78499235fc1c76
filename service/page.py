"""Serves the page that people use: the files that Vite builds from `service/web`.

Every address of the page gets the same HTML document, because a script in the browser chooses what
to show at an address. The Content-Security-Policy allows scripts, styles and requests of this host
only.
"""

import functools
import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from service.http.headers import PAGE_POLICY
from service.http.request import wants

STATIC = Path(__file__).parent / "static"
ADDRESSES = ("/", "/sign-in", "/invitation", "/chatwork", "/jobs", "/companies", "/audit")
ADDRESSES_WITH_ID = ("/jobs/{id}", "/companies/{id}")

# A file with this header never changes, because its name holds the hash of its content.
FOR_EVER = "public, max-age=31536000, immutable"
ASK_EACH_TIME = "no-cache"

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".map": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
COMPRESSED = {".html", ".js", ".css", ".svg", ".json", ".map", ".txt", ".webmanifest"}

_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class File:
    media_type: str
    body: bytes
    zipped: bytes | None
    etag: str


class Page:
    """The built page in a folder. If it has not been built, a plain page says how to build it."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder

    def fixed_routes(self) -> list[Route]:
        others = (path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file())
        names = [name for name in others if name != "index.html" and not name.startswith("assets/")]
        return [
            *(Route(address, self._document) for address in ADDRESSES),
            *(Route(f"/{name}", self._file) for name in sorted(names)),
            Route("/home.css", _start_style),
        ]

    def routes_with_parameters(self) -> list[Route]:
        documents = [Route(address, self._document) for address in ADDRESSES_WITH_ID]
        return [*documents, Route("/assets/{name:path}", self._asset)]

    def has(self, name: str) -> bool:
        return self._read(name) is not None

    def not_found(self, request: Request) -> Response | None:
        """Returns the page, with status 404, to a browser that asks for an unknown address.

        The page then says that the address is unknown. Returns None for other clients and methods,
        for addresses below /api and /assets, and if the page has not been built.
        """
        path, html = request.url.path, wants(request, "application/problem+json", "text/html") == "text/html"
        file = self._read("index.html") if html and request.method in ("GET", "HEAD") else None
        if file is None or path == "/api" or path.startswith(("/api/", "/assets/")):
            return None
        return _answer(request, file, ASK_EACH_TIME, status=404)

    async def _document(self, request: Request) -> Response:
        file = self._read("index.html")
        if file is None:
            return HTMLResponse(START_PAGE, headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": ASK_EACH_TIME})
        return _answer(request, file, ASK_EACH_TIME)

    async def _file(self, request: Request) -> Response:
        return _answer(request, self._must_read(request.url.path.lstrip("/")), ASK_EACH_TIME)

    async def _asset(self, request: Request) -> Response:
        return _answer(request, self._must_read(f"assets/{request.path_params['name']}"), FOR_EVER)

    def _must_read(self, name: str) -> File:
        file = self._read(name)
        if file is None:
            raise HTTPException(404)
        return file

    def _read(self, name: str) -> File | None:
        """Returns the file, or None if it does not exist or is outside the folder."""
        try:
            path = (self._folder / name).resolve()
            if not path.is_file() or not path.is_relative_to(self._folder.resolve()):
                return None
            return _read_file(path, path.stat().st_mtime_ns)
        except (OSError, ValueError):
            # The name is too long or holds a NUL character.
            return None


@functools.lru_cache(maxsize=256)
def _read_file(path: Path, changed: int) -> File:
    """Reads and compresses the file, or returns it from the cache.

    `changed` is the time of the file's last change in nanoseconds. It is a part of the cache's key,
    so a file that has changed is read again.
    """
    body = path.read_bytes()
    zipped = gzip.compress(body, mtime=0) if path.suffix in COMPRESSED else None
    media_type = MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    return File(media_type, body, zipped, hashlib.sha256(body).hexdigest()[:32])


def _answer(request: Request, file: File, caching: str, status: int = 200) -> Response:
    body, etag = file.body, f'"{file.etag}"'
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": caching}
    if file.zipped is not None:
        headers["Vary"] = "Accept-Encoding"
        if _GZIP.search(request.headers.get("accept-encoding", "")):
            body, etag = file.zipped, f'"{file.etag}-gzip"'
            headers["Content-Encoding"] = "gzip"
    headers["ETag"] = etag
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if status == 200 and etag in known:
        headers.pop("Content-Encoding", None)
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers | {"Content-Type": file.media_type})


START_PAGE = """\
<!doctype html>
<html lang="ja">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Rireki 履歴</title>
<link rel="stylesheet" href="/home.css">
<main>
<h1>Rireki 履歴</h1>
<p>時間のかかる処理（Chatwork のルームやメッセージの同期、要約の下書き）をジョブとして実行し、
すべての変化をイベントとして残すサービスです。</p>
<p lang="en">A job service that forgets nothing: slow work (syncing Chatwork, drafting summaries) runs as jobs, and every change of
a job is an event that stays.</p>
<p>画面はまだビルドされていません。<code>make setup</code> でビルドされます。
<span lang="en">The page has not been built: <code>make setup</code> builds it.</span></p>
<ul>
<li><a href="/api/docs">API を見る・試す <span lang="en">Browse and try the API</span></a></li>
<li><a href="/api/openapi.json">OpenAPI 3.1</a></li>
<li><a href="/readyz">状態 <span lang="en">Is it ready?</span></a></li>
</ul>
</main>
</html>
"""
START_STYLE = "body{font:1.1rem/1.7 system-ui,sans-serif;margin:0}main{max-width:40rem;margin:4rem auto;padding:0 1.5rem}"


async def _start_style(request: Request) -> Response:
    return Response(START_STYLE, media_type="text/css")
