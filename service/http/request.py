"""Reads and checks the query, the body and the headers of a request.

A request that cannot be read gets 400. A request that can be read but is not valid gets 422. Both responses name the fields.

This module also refuses JSON that would break a later part: PostgreSQL's `json` takes no NUL character, orjson takes no lone
surrogate and no deep nesting, and JavaScript cannot hold integers beyond ±2^53 exactly.
"""

import asyncio
import functools
import json
import math
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from events.job import JSON
from service.http.problems import MOST_ERRORS, FieldError, Problem, bad_field

LONGEST_WAIT = 60  # seconds
LONGEST_KEY = 255  # characters of an `Idempotency-Key`

# Matches a preference or one of its parameters: the text up to a comma or a semicolon outside of quotes (RFC 7240, 2). The
# quantifiers are possessive, because a client could make a pattern that backtracks run for minutes.
_PREFERENCE = re.compile(r'(?:[^,;"]|"(?:[^"\\]|\\.)*+"?)++')


def preferred_wait(request: Request) -> int | None:
    """Returns the seconds of `Prefer: wait=<seconds>` (RFC 7240, 4.3), at most `LONGEST_WAIT`.

    Returns None if the preference is missing or cannot be read.
    """
    if header(request.scope, b"prefer") is None:
        return None
    preferences = [each.partition("=") for each in _PREFERENCE.findall(",".join(request.headers.getlist("prefer")))]
    seconds = next((value.strip().strip('"') for name, _, value in preferences if name.strip().lower() == "wait"), "")
    if not seconds.isdecimal():
        return None
    return min(int(seconds.lstrip("0")[:9] or "0"), LONGEST_WAIT)


SMALL_BODY = 16 * 1024  # bytes: the default limit of an endpoint
MAX_DEPTH = 32  # levels of nested JSON
MAX_NUMBER = 2**53  # the largest integer that JavaScript holds exactly
MAX_FIELDS = 1000  # fields of one JSON object
MAX_PARAMETERS = 100  # parameters of one query
MOST_MEDIA_TYPES = 50  # media types of an `Accept` header that are read; the rest is ignored
READ_ON_THE_LOOP = 2048  # bytes. A longer body is parsed in a thread. The slowest JSON of this size takes 1 to 2 ms to parse.

# Only one thread, because more threads would compete with the event loop for the interpreter lock.
_reader = ThreadPoolExecutor(1, thread_name_prefix="json")


class Fields(BaseModel):
    """The base of bodies and queries: camelCase in JSON, no unknown fields."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True)


class Nothing(Fields):
    """No query parameters, or an empty body, which the client may leave out."""


M = TypeVar("M", bound=BaseModel)

_QUALITY = re.compile(r"[01](\.\d{0,3})?")


async def read_body(request: Request, model: type[M], most: int) -> M:
    """Reads a JSON body of at most `most` bytes, checks it, and returns it as a `model`.

    An empty body is valid if the model has no required field.

    Raises:
        Problem: 400 if the body cannot be read, 413 if it is larger, 415 if its content type is not JSON, 422 if a value is
            not valid.
    """
    raw = await _read_bytes(request, most) if _has_body(request) else b""
    if not raw and isinstance(nothing := _of_nothing(model), model):
        return nothing
    _must_be_json(request)
    if len(raw) <= READ_ON_THE_LOOP:
        return _checked(raw, model)
    return await asyncio.get_running_loop().run_in_executor(_reader, _checked, raw, model)


def _checked(raw: bytes, model: type[M]) -> M:
    parse_json(raw)
    try:
        return model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise _refusal(error, "The body is not valid.", text=False) from None


def read_query(request: Request, model: type[M]) -> M:
    """Checks the query parameters and returns them as a `model`.

    Raises:
        Problem: 400 if a parameter cannot be read or is given twice, 422 if a parameter is unknown or not valid.
    """
    if not request.scope["query_string"] and isinstance(nothing := _of_nothing(model), model):
        return nothing
    given: dict[str, str] = {}
    for name, value in _parameters(request.scope["query_string"]):
        if name in given:
            raise bad_field(_printable(name), "must be given once", 400)
        if "\0" in value:
            raise bad_field(_printable(name), "must not hold a NUL character", 400)
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refusal(error, "The query is not valid.", text=True) from None


def _parameters(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise Problem(400, f"The query must have at most {MAX_PARAMETERS} parameters.") from None


def header(scope: Scope, name: bytes) -> str | None:
    """Returns the value of the first header with this name (in lower case), or None."""
    return next((value.decode("latin-1") for header, value in scope["headers"] if header == name), None)


def client_of(scope: Scope) -> str:
    """Returns the client's IP address. A trusted proxy reports it for its clients."""
    return str(scope["client"][0]) if scope["client"] else "?"


def read_id(text: str, path: str = "id") -> str:
    """Returns a UUID of the path in its canonical form. Raises `Problem` 400."""
    try:
        canonical = str(UUID(text))
    except ValueError:
        canonical = ""
    if canonical != text.lower():
        raise bad_field(path, "must be a UUID", 400)
    return canonical


def parse_json(raw: bytes) -> JSON:
    """Parses a JSON text. Refuses values that would break a later part of the service.

    Raises:
        Problem: 400 if the text cannot be read, 422 if it holds values that are not allowed. It names the path of each value.
    """
    try:
        value = json.loads(
            raw.decode(), object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
    except UnicodeDecodeError as error:
        raise _unreadable(f"must be UTF-8: byte {error.start} is not") from None
    except json.JSONDecodeError as error:
        raise _unreadable(f"must be JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _unreadable(f"must be nested at most {MAX_DEPTH} levels deep") from None
    flaws = [(path[1:], flaw) for path, flaw in islice(_flaws([value], (), 0), MOST_ERRORS)]
    if flaws:
        status = 400 if any(flaw.unreadable for _, flaw in flaws) else 422
        raise Problem(
            status, "The body is not valid.", [{"path": _dotted(path), "detail": flaw.detail} for path, flaw in flaws]
        )
    return value


def wants(request: Request, *offers: str) -> str:
    """Returns the media type of `offers` that `Accept` prefers, or else the first of them."""
    qualities: dict[str, float] = {}
    for part in request.headers.get("accept", "*/*").split(",", MOST_MEDIA_TYPES)[:MOST_MEDIA_TYPES]:
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        qualities[media] = float(quality) if _QUALITY.fullmatch(quality) else 0.0
    return max(offers, key=lambda offer: qualities.get(offer, qualities.get("*/*", 0.0)))


@functools.cache
def _of_nothing(model: type[BaseModel]) -> BaseModel | None:
    """Returns the model of an empty body or query, or None if the model has a required field."""
    return None if any(field.is_required() for field in model.model_fields.values()) else model()


def _has_body(request: Request) -> bool:
    """Returns whether the headers announce a body (RFC 9112, 6.3)."""
    length = header(request.scope, b"content-length")
    return length not in (None, "0") or header(request.scope, b"transfer-encoding") is not None


async def _read_bytes(request: Request, most: int) -> bytes:
    """Reads the body.

    Raises `Problem` 413 if it has more than `most` bytes, 400 if the connection ends before.
    Reading may take as long as `service/http/protocol.py` allows.
    """
    length = header(request.scope, b"content-length") or ""
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        # The bytes are counted, because a chunked body does not tell its length in advance.
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_large(most)
    except ClientDisconnect:
        raise Problem(400, "The connection ended before the whole body arrived.") from None
    return bytes(body)


def _must_be_json(request: Request) -> None:
    media, _, parameters = (header(request.scope, b"content-type") or "").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "')
    if media.strip() != "application/json" or charset not in ("", "utf-8", "utf8"):
        detail = "must be application/json"
        raise Problem(415, f"Content-Type {detail}.", [{"path": "Content-Type", "detail": detail}])


def size(octets: int) -> str:
    return f"{octets // 1024} KiB" if octets < 1024 * 1024 else f"{octets // (1024 * 1024)} MiB"


def _too_large(most: int) -> Problem:
    detail = f"must have at most {size(most)}"
    return Problem(413, f"The body {detail}.", [{"path": "body", "detail": detail}], {"Connection": "close"})


def _unreadable(detail: str) -> Problem:
    return Problem(400, f"The body {detail}.", [{"path": "body", "detail": detail}])


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Replaces a refused value in the parsed JSON, so that its path can be reported.

    `unreadable` means that the status is 400, and not 422.
    """

    detail: str
    unreadable: bool = False


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON] | _Flaw:
    if len(pairs) > MAX_FIELDS:
        return _Flaw(f"must have at most {MAX_FIELDS} fields")
    result: dict[str, JSON] = {}
    for key, value in pairs:
        result[key] = value if key not in result else _Flaw("must be given once", unreadable=True)
    return result


def _integer(text: str) -> int | _Flaw:
    if len(text) > 17 or abs(int(text)) > MAX_NUMBER:
        return _Flaw("must be a number between -2^53 and 2^53")
    return int(text)


def _float(text: str) -> float | _Flaw:
    number = float(text)
    return number if abs(number) <= MAX_NUMBER and math.isfinite(number) else _Flaw("must be a number between -2^53 and 2^53")


def _constant(text: str) -> _Flaw:
    return _Flaw(f"must not be {text}, which is not JSON", unreadable=True)


def _flaws(value: JSON, path: tuple[str | int, ...], depth: int) -> Iterator[tuple[tuple[str | int, ...], _Flaw]]:
    """Yields the path and the flaw of each refused value in a list or an object."""
    if depth > MAX_DEPTH:
        yield path, _Flaw(f"must be nested at most {MAX_DEPTH} levels deep", unreadable=True)
        return
    # To save time, a path is built only for a flaw or a nested value: most values of a large body have no flaw.
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        if type(key) is str and (flaw := _text_flaw(key)):
            yield (*path, _printable(key)), flaw
        kind = type(child)
        if kind is str:
            if flaw := _text_flaw(child):
                yield (*path, _printable(key)), flaw
        elif kind is _Flaw:
            yield (*path, _printable(key)), child
        elif (kind is dict or kind is list) and child:
            yield from _flaws(child, (*path, _printable(key)), depth + 1)


def _text_flaw(text: str) -> _Flaw | None:
    if "\0" in text:
        return _Flaw("must not hold a NUL character")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return _Flaw("must not hold a lone surrogate")
    return None


def _printable(key: str | int) -> str:
    return str(key)[:100].encode(errors="backslashreplace").decode().replace("\0", "\\u0000")[:100]


_MESSAGES = {
    "extra_forbidden": "is not a known field",
    "missing": "is required",
    "string_pattern_mismatch": "must be a Chatwork room id: a string of digits",  # Only fields for room ids have a pattern.
}


def _refusal(error: ValidationError, what: str, *, text: bool) -> Problem:
    complaints = error.errors(include_url=False, include_input=False, include_context=False)
    errors: list[FieldError] = [
        {"path": _dotted(complaint["loc"]), "detail": _MESSAGES.get(complaint["type"], _plain(complaint["msg"]))}
        for complaint in complaints[:MOST_ERRORS]
    ]
    # All values of a query are texts. If such a text is not a number or a time, it cannot be read (400). In JSON a text in the
    # place of a number is a value of the wrong type (422).
    unreadable = text and any(complaint["type"].endswith("_parsing") for complaint in complaints)
    return Problem(400 if unreadable else 422, what, errors)


def _plain(message: str) -> str:
    """Turns Pydantic's message into a detail of this API: "must be a valid integer"."""
    message = message.removeprefix("Value error, ").split(", unable to")[0].split(" after validation")[0]
    if message.startswith("Value should have"):  # Pydantic calls a `SecretStr` a value, and its characters items.
        message = message.replace(" items", " characters")
    _, should, rule = message.partition("should ")
    message = f"must {rule}" if should else message.removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(_printable(str(part)) for part in path) or "body"
