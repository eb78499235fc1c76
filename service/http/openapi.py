"""The OpenAPI 3.1 document, made from the endpoints' declarations and models."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter

from service.http.cookies import SESSION
from service.http.endpoint import Answer, Endpoint, Who
from service.http.problems import ProblemDocument
from service.http.request import LONGEST_KEY, LONGEST_WAIT, Nothing, size

JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"

ABOUT = """\
*Rireki* (履歴, "history") is an event-sourced job service. Sign in with `POST /api/auth/login`: it sets a cookie that this page \
then uses. Errors are problem details (RFC 9457). Every response carries `X-Request-Id`. Times are RFC 3339 in UTC. \
A malformed HTTP request gets 400, 408, 414, 431, 501 or 505, and the connection ends. A request with a `Host` that the service \
does not answer to gets 421."""

TAGS = {
    "auth": "Sign in and out.",
    "users": "The people who may sign in: add, change, disable, invite, sign out.",
    "jobs": "List, watch, cancel and retry jobs, and read their past states.",
    "workers": "The processes that run jobs.",
    "job-types": "List job types, and pause them.",
    "events": "The whole log, in order.",
    "audit": "Verify the log, and read the record of access.",
    "chatwork": "Sync Chatwork's rooms and messages, and read them.",
    "companies": "Companies, the rooms linked to them, and their summaries.",
    "health": "The state of the process, for probes and Prometheus.",
}

PROBLEMS = {
    400: "The request cannot be read. `errors` names the fields.",
    401: "The request has no valid token, or the email or the password is wrong.",
    403: "The caller's role may not do this, or the request comes from another site.",
    404: "It does not exist, or belongs to another user.",
    408: "The body did not arrive in time.",
    409: "The present state does not allow this.",
    413: "The body is larger than the endpoint's limit.",
    414: "The path and the query together are too long. The connection ends.",
    415: "The body is not `application/json`.",
    422: "The request is not valid. `errors` names each field.",
    429: "A limit is reached; `detail` names it. `Retry-After` says when to try again.",
    503: "The database does not answer. `Retry-After` says when to try again.",
}


def openapi_document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    schemas = _Schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.documented_path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rireki",
            "version": "1",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {_problem_name(status): _problem_response(status, schemas) for status in PROBLEMS},
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SESSION,
                    "description": f"In production the name is `__Host-{SESSION}`.",
                },
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def tag_of(endpoint: Endpoint) -> str:
    return endpoint.path.split("/")[2] if endpoint.path.startswith("/api/") else "health"


class _Schemas:
    """Keeps the JSON Schemas of all models.

    `components` lists each schema once, by the name of its model. It leaves the models of queries out, because their fields
    are listed as parameters.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        models: dict[int, Any] = {id(ProblemDocument): ProblemDocument}
        for endpoint in endpoints:
            models[id(endpoint.body)] = endpoint.body
            models[id(endpoint.query)] = endpoint.query
            models |= {id(answer.model): answer.model for answer in endpoint.answers.values() if answer.model is not None}
        self._by_model, definitions = TypeAdapter.json_schemas(
            [(key, "validation", TypeAdapter(model)) for key, model in models.items()],
            ref_template="#/components/schemas/{model}",
        )
        self.components: dict[str, Any] = definitions["$defs"]
        self._inlined = {endpoint.query.__name__ for endpoint in endpoints if endpoint.query is not Nothing} | {"Nothing"}
        self._all = dict(self.components)
        for name in self._inlined:
            self.components.pop(name, None)

    def of(self, model: Any) -> Any:
        return self._by_model[(id(model), "validation")]

    def properties(self, model: type[BaseModel]) -> dict[str, Any]:
        schema = self.of(model)
        if "$ref" in schema:
            schema = self._all[schema["$ref"].rpartition("/")[2]]
        return dict(schema.get("properties", {}))


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.about,
        "tags": [tag_of(endpoint)],
        "responses": _responses(endpoint, schemas),
    }
    if parameters := _parameters(endpoint, schemas):
        operation["parameters"] = parameters
    if endpoint.takes_body and endpoint.body is not Nothing:
        required = any(field.is_required() for field in endpoint.body.model_fields.values())
        operation["requestBody"] = {
            "description": f"At most {size(endpoint.most_of_body)}.",
            "required": required,
            "content": {JSON_TYPE: {"schema": schemas.of(endpoint.body)}},
        }
    # An empty list means that no sign-in is needed. It is written out, because a missing list could be a mistake.
    operation["security"] = [] if endpoint.who is Who.ANYONE else [{"session": []}, {"token": []}]
    return operation


def _parameters(endpoint: Endpoint, schemas: _Schemas) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": endpoint.path_schemas.get(name, _uuid_schema)()}
        for name in re.findall(r"{(\w+)}", endpoint.documented_path)
    ]
    for name, schema in schemas.properties(endpoint.query).items():
        parameters.append({"name": name, "in": "query", "schema": schema})
        if about := schema.pop("description", None):
            parameters[-1]["description"] = about
    for name, about in endpoint.headers.items():
        parameters.append({"name": name, "in": "header", "description": about, "schema": {"type": "string"}})
    if endpoint.queues:
        parameters += [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "A text of the client's choice. A second request with the same key is answered with the first job.",
                "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
            },
            {
                "name": "Prefer",
                "in": "header",
                "description": f"`wait=<seconds>` (RFC 7240), at most {LONGEST_WAIT}: hold the response until the job has ended.",
                "schema": {"type": "string"},
                "example": "wait=10",
            },
        ]
    return parameters


def _uuid_schema() -> dict[str, Any]:
    return {"type": "string", "format": "uuid"}


def _responses(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    responses = {str(status): _response(answer, schemas) for status, answer in endpoint.answers.items()}
    for status in _refusals(endpoint):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{_problem_name(status)}"})
    return responses


def _problem_name(status: int) -> str:
    return f"Problem{status}"


def _problem_response(status: int, schemas: _Schemas) -> dict[str, Any]:
    return {"description": PROBLEMS[status], "content": {PROBLEM_TYPE: {"schema": schemas.of(ProblemDocument)}}}


def _response(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {} if answer.model is None else {JSON_TYPE: {"schema": schemas.of(answer.model)}}
    content |= {media: {"schema": {"type": "string"}} for media in answer.streams}
    links = {name: {"operationId": name, "parameters": dict(parameters)} for name, parameters in answer.links.items()}
    return {"description": answer.about} | ({"content": content} if content else {}) | ({"links": links} if links else {})


def _refusals(endpoint: Endpoint) -> list[int]:
    statuses = {400, 422, 503, *endpoint.problems}
    if endpoint.who is not Who.ANYONE:
        statuses |= {401, 429} if endpoint.counted else {401}
    if endpoint.who not in (Who.ANYONE, Who.SIGNED_IN) or endpoint.method != "GET":
        statuses.add(403)
    if endpoint.takes_body:
        statuses |= {408, 413, 415}
    if endpoint.query is not Nothing:
        statuses.add(414)
    return sorted(statuses)
