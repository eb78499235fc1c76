"""`/api/openapi.json`, and Swagger UI to browse it at `/api/docs`."""

import asyncio
from collections.abc import Sequence

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from service.http.endpoint import Endpoint
from service.http.headers import DOCS_POLICY
from service.http.openapi import JSON_TYPE, openapi_document
from service.page import Page

DOCS_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Rireki API</title>
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/api/docs/favicon-32x32.png">
<link rel="license" href="/api/docs/LICENSE.txt">
<div id="docs"></div>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</html>
"""

# The script is served as a separate file, because the page's Content-Security-Policy forbids inline scripts.
DOCS_SCRIPT = """\
SwaggerUIBundle({url: "/api/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null, tryItOutEnabled: true})
"""

SWAGGER_UI = "api/docs/swagger-ui-bundle.js"  # The build of the page copies Swagger UI's files to this folder.

NOT_BUILT_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Rireki API</title>
<h1>Rireki API</h1>
<p>Swagger UI has not been built. Run <code>make setup</code> to build it together with the page.</p>
<p>The OpenAPI document is at <a href="/api/openapi.json">/api/openapi.json</a>.</p>
</html>
"""


def openapi_routes(endpoints: Sequence[Endpoint], page: Page) -> list[Route]:
    """Returns the routes of the OpenAPI document and of Swagger UI."""
    document = _Document(endpoints)

    async def openapi_json(request: Request) -> Response:
        return Response(await document.as_json(), media_type=JSON_TYPE)

    async def docs_page(request: Request) -> Response:
        shown = DOCS_PAGE if page.has(SWAGGER_UI) else NOT_BUILT_PAGE
        return HTMLResponse(shown, headers={"Content-Security-Policy": DOCS_POLICY})

    return [
        Route("/api/openapi.json", openapi_json),
        Route("/api/docs", docs_page),
        Route("/api/docs/start.js", _docs_script),
    ]


class _Document:
    """Makes the OpenAPI document at the first request for it, and keeps it.

    Making it takes a tenth of a second, by which every process would start later. It is made in a
    thread, because the event loop must not wait for it.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._made: asyncio.Task[bytes] | None = None

    async def as_json(self) -> bytes:
        if self._made is None:
            self._made = asyncio.create_task(asyncio.to_thread(self._make))
        # A client that disconnects must not cancel the task for the others that wait for it.
        return await asyncio.shield(self._made)

    def _make(self) -> bytes:
        return orjson.dumps(openapi_document(self._endpoints))


async def _docs_script(request: Request) -> Response:
    return Response(DOCS_SCRIPT, media_type="text/javascript")
