"""The declaration of an endpoint, and the routes made from it.

The routes and the OpenAPI document are made from the same declarations, so the document cannot differ from the service.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from events.concurrency import Deadlines
from service.accounts.access_records import Access, Action
from service.accounts.users import READERS_OF_ALL, Role, User
from service.http.authentication import check_origin, token_of, user_of
from service.http.context import ApiContext
from service.http.logs import ABOUT
from service.http.problems import Problem
from service.http.request import SMALL_BODY, Fields, Nothing, client_of, read_body, read_query

ANSWER_WITHIN = (
    6.0  # seconds for a response; one more than a write waits for the database, so that the client gets the write's error
)

Q = TypeVar("Q", bound=Fields)
B = TypeVar("B", bound=BaseModel)


class Who(StrEnum):
    """The callers that an endpoint admits.

    An auditor reads everything, verifies the log, and changes nothing: `SIGNED_IN` is for reads and for a user's own session,
    `CHANGERS` for everything else that an employee may do.
    """

    ANYONE = "anyone"
    SIGNED_IN = "signed in"
    CHANGERS = "admin or employee"
    READERS_OF_ALL = "admin or auditor"
    ADMIN = "admin"

    @property
    def refusal(self) -> str:
        """The sentence for a caller whose role is not admitted."""
        return _REFUSALS[self]

    def admits(self, role: Role) -> bool:
        return role in _ADMITTED[self]


_ADMITTED: Mapping[Who, frozenset[Role]] = {
    Who.ANYONE: frozenset(Role),
    Who.SIGNED_IN: frozenset(Role),
    Who.CHANGERS: frozenset({Role.ADMIN, Role.EMPLOYEE}),
    Who.READERS_OF_ALL: READERS_OF_ALL,
    Who.ADMIN: frozenset({Role.ADMIN}),
}

_REFUSALS: Mapping[Who, str] = {
    Who.CHANGERS: "An auditor may read everything and change nothing.",
    Who.READERS_OF_ALL: "Only an admin or an auditor may do this.",
    Who.ADMIN: "Only an admin may do this.",
}


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One request to an endpoint. The caller, the query and the body are checked already."""

    context: "ApiContext"
    request: Request
    query: Q
    body: B
    user_or_none: User | None
    token: str | None
    patience: asyncio.Timeout
    """Ends the endpoint after `ANSWER_WITHIN` seconds; the client then gets a 503.

    An endpoint that needs more time reschedules it.
    """

    @property
    def user(self) -> User:
        """The signed-in user. Endpoints for `Who.ANYONE` have none and must not read it."""
        assert self.user_or_none is not None
        return self.user_or_none

    @property
    def request_id(self) -> str:
        return str(self.request.scope["state"]["request_id"])

    @property
    def actor(self) -> str:
        return f"user:{self.user.id}"

    async def still_allowed(self) -> bool:
        """Whether the caller's session goes on, with the same role. A long answer ends if not."""
        caller = await self.context.users.of_token(self.token or "")
        return caller is not None and caller.role is self.user.role

    async def record(self, action: Action, target: str | None = None) -> None:
        """Writes into the record of access that the caller did this."""
        access = Access(self.actor, action, target, self.request_id, client_of(self.request.scope))
        await self.context.access_records.write(access)

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])


@dataclass(frozen=True, slots=True)
class Answer:
    """Declares the response of an endpoint with one status.

    `model` is the TypedDict of the JSON, or None if the response has no JSON. `streams` lists the other media types that the
    client may ask for. `links` names the endpoints that take a value of this response, each with the parameters that it takes
    and where they stand: `{"get_job": {"id": "$response.body#/jobId"}}` (OpenAPI 3.1, runtime expressions).
    """

    model: Any
    about: str
    streams: tuple[str, ...] = ()
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Declares one method at one path.

    `problems` lists the error statuses that do not follow from the other fields. `queues` means that the endpoint takes
    `Idempotency-Key` and `Prefer: wait`. `most_of_body` is in bytes. `admit` is called before the sign-in, the query and the
    body are checked, and raises an exception to refuse the request. `path_schemas` has the JSON Schema of each path parameter
    that is not a UUID. `counted` says whether a request counts for LIMIT_REQUESTS, and is refused beyond it.
    """

    method: str
    path: str
    run: Callable[[Call[Any, Any]], Awaitable[Response]]
    who: Who
    about: str
    answers: Mapping[int, Answer]
    query: type[Fields] = Nothing
    body: type[BaseModel] = Nothing
    problems: tuple[int, ...] = ()
    queues: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    most_of_body: int = SMALL_BODY
    admit: Callable[["ApiContext", Request], Awaitable[None]] | None = None
    path_schemas: Mapping[str, Callable[[], dict[str, Any]]] = field(default_factory=dict)
    counted: bool = True

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def documented_path(self) -> str:
        """The path without converters of parameters, such as `:path`."""
        return re.sub(r"{(\w+):\w+}", r"{\1}", self.path)

    @property
    def takes_body(self) -> bool:
        return self.method not in ("GET", "DELETE")


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")


def routes(endpoints: Iterable[Endpoint], context: "ApiContext") -> list[Route]:
    """Returns one route for each path, with all methods of this path.

    Paths without parameters come first, because the router takes the first route that matches.
    """
    by_path: dict[str, dict[str, Endpoint]] = defaultdict(dict)
    for endpoint in endpoints:
        by_path[endpoint.path][endpoint.method] = endpoint
    return [
        Route(path, Address(methods, context), methods=list(methods))
        for path, methods in sorted(by_path.items(), key=lambda item: ("{" in item[0], item[0]))
    ]


class Address:
    """The ASGI application of one path.

    It checks each request and calls the endpoint for the request's method.
    """

    def __init__(self, endpoints: Mapping[str, Endpoint], context: "ApiContext") -> None:
        self._endpoints = endpoints
        self._context = context
        self._deadlines = Deadlines(ANSWER_WITHIN, _run_out)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        endpoint = self._endpoints["GET" if request.method == "HEAD" else request.method]
        response = await self._answer(endpoint, request)
        await response(scope, receive, send)

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        user = token = None
        if endpoint.method != "GET":
            check_origin(request, self._context.settings.cors_allowed_origins)
        if endpoint.admit is not None:
            await endpoint.admit(self._context, request)
        if endpoint.who is not Who.ANYONE:
            token = token_of(request, self._context.settings)
            user = await user_of(self._context.users, token)
            ABOUT.set({**ABOUT.get(), "user_id": user.id})
            if endpoint.counted:
                await self._context.limits.requests.count(user.id)
            if not endpoint.who.admits(user.role):
                raise Problem(403, endpoint.who.refusal)
        query = read_query(request, endpoint.query)
        body = await read_body(request, endpoint.body, endpoint.most_of_body) if endpoint.takes_body else Nothing()
        async with asyncio.timeout(None) as patience:
            self._deadlines.add(patience)
            try:
                return await endpoint.run(Call(self._context, request, query, body, user, token, patience))
            finally:
                self._deadlines.remove(patience)


def _run_out(patience: asyncio.Timeout) -> None:
    if patience.when() is None:
        patience.reschedule(asyncio.get_running_loop().time())
