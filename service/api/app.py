"""The ASGI application: routes, request ids, response headers, the request log, errors."""

import contextlib
import re
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.allowed_hosts import host_of
from service.api import (
    access,
    auth,
    chatwork,
    checkpoints,
    companies,
    health,
    job_streams,
    job_waiting,
    jobs,
    jobs_again,
    jobs_bulk,
    oidc,
    operations,
    own_account,
    past_jobs,
    proofs,
    users,
    verification,
    verify_job,
)
from service.api import log as event_log
from service.api.docs_page import openapi_routes
from service.config import Settings
from service.http.context import ApiContext
from service.http.cors import Cors
from service.http.endpoint import routes
from service.http.headers import security_headers
from service.http.logs import ABOUT, new_request_id
from service.http.metrics import Metrics
from service.http.problems import Problem, answer_problem
from service.http.request import client_of, header
from service.limits.over_limit import OverLimit
from service.page import Page

log = structlog.get_logger("rireki.http")

ENDPOINTS = (
    *auth.ENDPOINTS,
    *oidc.ENDPOINTS,
    *own_account.ENDPOINTS,
    *users.ENDPOINTS,
    *job_streams.ENDPOINTS,
    *jobs_bulk.ENDPOINTS,
    *jobs.ENDPOINTS,
    *jobs_again.ENDPOINTS,
    *job_waiting.ENDPOINTS,
    *event_log.ENDPOINTS,
    *verification.ENDPOINTS,
    *verify_job.ENDPOINTS,
    *checkpoints.ENDPOINTS,
    *access.ENDPOINTS,
    *past_jobs.ENDPOINTS,
    *proofs.ENDPOINTS,
    *chatwork.ENDPOINTS,
    *companies.ENDPOINTS,
    *operations.ENDPOINTS,
    *health.ENDPOINTS,
)


def create_app(context: ApiContext, page: Page | None = None) -> "Application":
    """Returns the application of one API process.

    The application can serve after its lifespan has started. Call `context.job_watches.close()` before you stop the server,
    because the server waits for the open streams, which this call ends.
    """
    page = page or Page()

    @contextlib.asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        async with context.limits.running(), context.job_watches.running(), context.verifier.running():
            yield

    declared = [
        *page.fixed_routes(),
        *openapi_routes(ENDPOINTS, page),
        *routes(ENDPOINTS, context),
        *page.routes_with_parameters(),
    ]
    fixed = [route for route in declared if "{" not in route.path]
    router = Router(
        [FixedAddresses(fixed), *(route for route in declared if route not in fixed), *fixed],
        redirect_slashes=False, lifespan=lifespan,
    )  # fmt: skip
    return Application(router, page, context.metrics, context.settings)


class FixedAddresses(BaseRoute):
    """Finds a route without path parameters by one look-up in a dictionary.

    Trick: Starlette's router tries its routes one after another. Saves 8 % of a request's CPU (bench/results/tricks.md).
    Delete it when Starlette finds fixed paths by a look-up.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, Route] = {}
        for route in routes:
            self._routes.setdefault(route.path, route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and not scope.get("root_path") else None
        return (Match.NONE, {}) if route is None else _matched(route, scope)

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        route: Route = scope["route"]
        return route.handle(scope, receive, send)


def _matched(route: Route, scope: Scope) -> tuple[Match, Scope]:
    found = Match.FULL if route.methods is None or scope["method"] in route.methods else Match.PARTIAL
    return found, {"route": route, "endpoint": route.endpoint, "path_params": {}}


VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")


class Application:
    """Adds request ids, response headers, the request log and metrics to the router.

    It refuses requests for other hosts, and answers preflights of listed origins. It answers an exception that no endpoint has
    handled with a problem document.
    """

    def __init__(self, router: Router, page: Page, metrics: Metrics, settings: Settings) -> None:
        self.router = router
        self._page = page
        self._metrics = metrics
        self._proxies = settings.trusted_proxies
        self._hosts = settings.allowed_hosts
        self._cors = Cors(settings.cors_allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # With an app in the scope, the router raises exceptions for 404 and 405 instead of answering.
        if scope["type"] != "http":
            await self.router(scope, receive, send)
            return
        self._proxies.apply(scope)
        request_id = scope.setdefault("state", {})["request_id"] = _request_id(scope)
        began, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                headers += security_headers(headers)
                headers += self._cors.headers(scope)
                headers.append((b"x-request-id", request_id.encode()))
                self._metrics.seconds_of(*_method_and_route(scope)).observe(time.perf_counter() - began)
            await send(message)

        before = ABOUT.set({"request_id": request_id})
        try:
            self._check_host(scope)
            answer: ASGIApp = self._cors.preflight(scope) or self.router
            await answer(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = status or 499
        except Exception as error:
            # If the response has begun, no other can be sent. The exception goes on to the server, which closes the connection.
            response = await self._answer_error(Request(scope, receive), error)
            if status:
                raise
            await response(scope, receive, send_with_headers)
        finally:
            self._metrics.requests_of(*_method_and_route(scope), str(status)).inc()
            log.info(
                "request", method=scope["method"], path=scope["path"], client=client_of(scope), status=status,
                ms=round((time.perf_counter() - began) * 1000, 1),
            )  # fmt: skip
            ABOUT.reset(before)

    def _check_host(self, scope: Scope) -> None:
        """Raises `Problem` 421 if `Host` is missing or is not one of ALLOWED_HOSTS."""
        if self._hosts is not None and not self._hosts.include(host_of(header(scope, b"host") or "")):
            raise Problem(
                421, "This service does not answer to the name in `Host`. Its operator lists the names in ALLOWED_HOSTS."
            )

    async def _answer_error(self, request: Request, error: Exception) -> Response:
        if isinstance(error, OverLimit):
            self._metrics.refused(error.setting)
        not_found = isinstance(error, HTTPException) and error.status_code == 404
        return (self._page.not_found(request) if not_found else None) or await answer_problem(request, error)


def _request_id(scope: Scope) -> str:
    given = header(scope, b"x-request-id")
    return given if given is not None and VALID_REQUEST_ID.fullmatch(given) else new_request_id()


def _method_and_route(scope: Scope) -> tuple[str, str]:
    """Returns the labels of a metric: the method and the path of the route as it is declared.

    All unknown paths have one common label, and so have all unknown methods. Otherwise clients could create any number of
    labels.
    """
    route, method = scope.get("route"), scope["method"]
    if not isinstance(route, Route):
        return "other", "none"
    return method if route.methods is None or method in route.methods else "other", route.path
