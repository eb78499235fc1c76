"""Reading what a client sends: size, encoding and JSON first, then the model. Whatever is wrong with it is a 4xx that names the
field: 400 for what can't be read, 422 for what can be read and is not valid.

Refused at the door is what would break further in: PostgreSQL's `json` takes no NUL in text, orjson no lone surrogate and no deep
nesting, and JavaScript no number beyond ±2^53.
"""

import asyncio
import functools
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from events.job import JSON
from service.problems import FieldError, Problem, bad_field

MAX_BODY = 1024 * 1024  # bytes
MAX_DEPTH = 32
MAX_NUMBER = 2**53
BODY_TIMEOUT = 30  # seconds for the whole body to arrive

FIRST_HEADERS = "rireki.first_headers"  # where a scope keeps its headers by name, once somebody has asked for one


class Fields(BaseModel):
    """The base of every body and query: camelCase outside, snake_case inside, nothing that nobody knows."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True)


class Nothing(Fields):
    """No parameters, or a body that may be left out."""


M = TypeVar("M", bound=BaseModel)

_QUALITY = re.compile(r"[01](\.\d{0,3})?")


async def read_body(request: Request, model: type[M]) -> M:
    """The request's JSON body, checked. A model without a required field also takes no body at all."""
    raw = await _read_bytes(request) if _has_body(request) else b""
    if not raw and isinstance(nothing := _of_nothing(model), model):
        return nothing
    _must_be_json(request)
    parse_json(raw)
    try:
        return model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise _refusal(error, "The body is not valid.", text=False) from None


def read_query(request: Request, model: type[M]) -> M:
    """The query parameters, checked; unknown and repeated ones are refused by name."""
    if not request.scope["query_string"] and isinstance(nothing := _of_nothing(model), model):
        return nothing
    given: dict[str, str] = {}
    for name, value in parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name in given:
            raise bad_field(name, "is given twice", 400)
        if "\0" in value:
            raise bad_field(name, "holds a NUL character", 400)
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refusal(error, "The query is not valid.", text=True) from None


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this name, which is in lower case."""
    first: dict[bytes, bytes] | None = scope.get(FIRST_HEADERS)
    if first is None:
        first = scope[FIRST_HEADERS] = dict(reversed(scope["headers"]))
    value = first.get(name)
    return None if value is None else value.decode("latin-1")


def read_id(text: str, path: str = "id") -> str:
    """A UUID of the address, in its canonical form."""
    try:
        canonical = str(UUID(text))
    except ValueError:
        canonical = ""
    if canonical != text.lower():
        raise bad_field(path, "is not a UUID", 400)
    return canonical


def parse_json(raw: bytes) -> JSON:
    """JSON with nothing in it that breaks elsewhere. Raises `Problem` with the path of what is wrong."""
    try:
        value = json.loads(
            raw.decode(), object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
    except UnicodeDecodeError as error:
        raise _unreadable(f"is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise _unreadable(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _unreadable(f"is nested deeper than {MAX_DEPTH}") from None
    flaws = list(_flaws(value, (), 1))
    if flaws:
        status = 400 if any(flaw.unreadable for _, flaw in flaws) else 422
        raise Problem(
            status, "The body is not valid.", [{"path": _dotted(path), "detail": flaw.detail} for path, flaw in flaws]
        )
    return value


def wants(request: Request, *offers: str) -> str:
    """The media type to answer with: the client's best among `offers`; the first one where it has no wish."""
    qualities: dict[str, float] = {}
    for part in request.headers.get("accept", "*/*").split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        qualities[media] = float(quality) if _QUALITY.fullmatch(quality) else 0.0
    return max(offers, key=lambda offer: qualities.get(offer, qualities.get("*/*", 0.0)))


@functools.cache
def _of_nothing(model: type[BaseModel]) -> BaseModel | None:
    """What a request says that leaves it out, if that may be."""
    return None if any(field.is_required() for field in model.model_fields.values()) else model()


# The body's bytes -------------------------------------------------------------------------------------------------------------


def _has_body(request: Request) -> bool:
    """A request says that it has one, and how it ends (RFC 9112, 6.3)."""
    length = header(request.scope, b"content-length")
    return length not in (None, "0") or header(request.scope, b"transfer-encoding") is not None


async def _read_bytes(request: Request) -> bytes:
    length = header(request.scope, b"content-length") or ""
    if length.isdecimal() and int(length[:20]) > MAX_BODY:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            # The length may be missing (chunked) or a lie: what arrives is counted.
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise _too_large()
    except TimeoutError:
        raise Problem(408, "The body did not arrive in time.", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "The body did not arrive whole.") from None
    return bytes(body)


def _must_be_json(request: Request) -> None:
    media, _, parameters = (header(request.scope, b"content-type") or "").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "')
    if media.strip() != "application/json" or charset not in ("", "utf-8", "utf8"):
        detail = "must be application/json"
        raise Problem(415, f"Content-Type {detail}.", [{"path": "Content-Type", "detail": detail}])


def _too_large() -> Problem:
    detail = "is larger than 1 MiB"
    return Problem(413, f"The body {detail}.", [{"path": "body", "detail": detail}], {"Connection": "close"})


def _unreadable(detail: str) -> Problem:
    return Problem(400, f"The body {detail}.", [{"path": "body", "detail": detail}])


# What JSON lets through and we don't ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Stands in the parsed value where something refused was, so that its path can be told."""

    detail: str
    unreadable: bool = False


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    result: dict[str, JSON] = {}
    for key, value in pairs:
        result[key] = value if key not in result else _Flaw("is given twice", unreadable=True)
    return result


def _integer(text: str) -> int | _Flaw:
    if len(text) > 17 or abs(int(text)) > MAX_NUMBER:
        return _Flaw("is a number beyond ±2^53")
    return int(text)


def _float(text: str) -> float | _Flaw:
    number = float(text)
    return number if abs(number) <= MAX_NUMBER and math.isfinite(number) else _Flaw("is a number beyond ±2^53")


def _constant(text: str) -> _Flaw:
    return _Flaw(f"is {text}, which is not JSON", unreadable=True)


def _flaws(value: JSON, path: tuple[str | int, ...], depth: int) -> Iterator[tuple[tuple[str | int, ...], _Flaw]]:
    children: Iterable[tuple[str | int, JSON]] = ()
    match value:
        case _Flaw():
            yield path, value
        case str():
            yield from _text_flaws(value, path)
        case dict():
            for key in value:
                yield from _text_flaws(key, (*path, _printable(key)))
            children = value.items()
        case list():
            children = enumerate(value)
    if children and depth > MAX_DEPTH:
        yield path, _Flaw(f"is nested deeper than {MAX_DEPTH}", unreadable=True)
        return
    for key, child in children:
        yield from _flaws(child, (*path, key if isinstance(key, int) else _printable(key)), depth + 1)


def _text_flaws(text: str, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], _Flaw]]:
    if "\0" in text:
        yield path, _Flaw("holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        yield path, _Flaw("holds a lone surrogate")


def _printable(key: str) -> str:
    return key.encode(errors="backslashreplace").decode().replace("\0", "\\u0000")[:100]


# The model --------------------------------------------------------------------------------------------------------------------

_MESSAGES = {
    "extra_forbidden": "is not known here",
    "missing": "is required",
    "string_pattern_mismatch": "is not a Chatwork room id: a string of digits",  # nothing else here has a pattern
}


def _refusal(error: ValidationError, what: str, *, text: bool) -> Problem:
    complaints = error.errors(include_url=False, include_input=False, include_context=False)
    errors: list[FieldError] = [
        {"path": _dotted(complaint["loc"]), "detail": _MESSAGES.get(complaint["type"], _plain(complaint["msg"]))}
        for complaint in complaints[:100]
    ]
    # In a query, a text that should stand for a number or a time can't be read; in JSON it is a value of the wrong type.
    unreadable = text and any(complaint["type"].endswith("_parsing") for complaint in complaints)
    return Problem(400 if unreadable else 422, what, errors)


def _plain(message: str) -> str:
    """What pydantic says, without what only its users know."""
    message = message.removeprefix("Value error, ").removeprefix("Input ").split(", unable to")[0].split(" after validation")[0]
    if message.startswith("Value should have"):  # a text that is kept out of every log
        message = message.replace(" items", " characters")
    return message[:1].lower() + message[1:]


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(_printable(str(part)) for part in path) or "body"
