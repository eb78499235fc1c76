"""The web application, assembled from its parts, and what every request passes through."""

import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Iterable

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import again, audit, auth, bulk, chatwork, companies, health, jobs, operations, stream, verification, waiting
from service.endpoint import routes
from service.health import Metrics
from service.openapi import openapi_routes
from service.page import Page
from service.parts import Parts
from service.problems import answer_problem
from service.requests import header
from service.verification import Verifier

log = structlog.get_logger("rireki.http")

ENDPOINTS = (
    *auth.ENDPOINTS,
    *stream.ENDPOINTS,
    *bulk.ENDPOINTS,
    *jobs.ENDPOINTS,
    *again.ENDPOINTS,
    *waiting.ENDPOINTS,
    *audit.ENDPOINTS,
    *verification.ENDPOINTS,
    *chatwork.ENDPOINTS,
    *companies.ENDPOINTS,
    *operations.ENDPOINTS,
    *health.ENDPOINTS,
)


def create_app(parts: Parts, page: Page | None = None) -> Starlette:
    """The application. It serves once its lifespan has begun; `parts.live.close()` comes before its end."""
    page = page or Page()
    verifier = Verifier(parts.database)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with parts.live.running(), verifier.running():
            yield

    async def answer_error(request: Request, error: Exception) -> Response:
        not_found = isinstance(error, HTTPException) and error.status_code == 404
        return (page.not_found(request) if not_found else None) or await answer_problem(request, error)

    measured = Metrics(parts.metrics)
    declared = [*page.fixed_routes(), *openapi_routes(ENDPOINTS), *routes(ENDPOINTS), *page.routes_with_parameters()]
    fixed = [route for route in declared if "{" not in route.path]
    app = Starlette(
        routes=[FixedAddresses(fixed), *(route for route in declared if route not in fixed), *fixed],
        middleware=[Middleware(Passage, metrics=measured, secure=parts.settings.production)],
        exception_handlers={HTTPException: answer_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.parts = parts
    app.state.metrics = measured
    app.state.verifier = verifier
    return app


class FixedAddresses(BaseRoute):
    """Finds a route whose address has no parameters at once, where a router tries one after another."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, Route] = {}
        for route in routes:
            self._routes.setdefault(route.path, route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and not scope.get("root_path") else None
        return (Match.NONE, {}) if route is None else _matched(route, scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["route"].handle(scope, receive, send)


def _matched(route: Route, scope: Scope) -> tuple[Match, Scope]:
    found = Match.FULL if route.methods is None or scope["method"] in route.methods else Match.PARTIAL
    return found, {"route": route, "endpoint": route.endpoint, "path_params": {}}


# What every request passes through --------------------------------------------------------------------------------------------

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Passage:
    """Gives a request its id, an answer its headers, the log its line, and an error its problem."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, secure: bool) -> None:
        self._app = app
        self._metrics = metrics
        headers = HEADERS | ({"Strict-Transport-Security": "max-age=31536000"} if secure else {})
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        request_id = _request_id(request)
        request.state.request_id = request_id
        began, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                given = {name for name, _ in headers}
                headers += [header for header in self._headers if header[0] not in given]
                headers.append((b"x-request-id", request_id.encode()))
                self._metrics.seconds_of(scope["method"], _route(scope)).observe(time.perf_counter() - began)
            await send(message)

        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = status or 499
        except Exception as error:
            # Here an error ends: as an answer, or, once one has begun, as one that breaks off and shows it.
            response = await answer_problem(request, error)
            if status:
                raise
            await response(scope, receive, send_with_headers)
        finally:
            self._metrics.requests_of(scope["method"], _route(scope), str(status)).inc()
            log.info(
                "request", method=scope["method"], path=scope["path"], status=status,
                ms=round((time.perf_counter() - began) * 1000, 1),
            )  # fmt: skip
            structlog.contextvars.reset_contextvars(**bound)


def _request_id(request: Request) -> str:
    given = header(request, b"x-request-id")
    return given if given is not None and SANE_REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def _route(scope: Scope) -> str:
    """The address as it is declared: no label for each job."""
    route = scope.get("route")
    return route.path if isinstance(route, Route) else "none"
