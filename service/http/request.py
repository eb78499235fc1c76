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
LONGEST_KEY = 255  # characters

# A preference, or a parameter of one: up to a comma or a semicolon that is not in quotes (RFC 7240, 2). Looks at nothing twice.
_PREFERENCE = re.compile(r'(?:[^,;"]|"(?:[^"\\]|\\.)*+"?)++')


def preferred_wait(request: Request) -> int | None:
    if header(request.scope, b"prefer") is None:
        return None
    preferences = [each.partition("=") for each in _PREFERENCE.findall(",".join(request.headers.getlist("prefer")))]
    seconds = next((value.strip().strip('"') for name, _, value in preferences if name.strip().lower() == "wait"), "")
    if not seconds.isdecimal():
        return None
    return min(int(seconds.lstrip("0")[:9] or "0"), LONGEST_WAIT)


SMALL_BODY = 16 * 1024  # bytes: what an endpoint takes that says nothing else
MAX_DEPTH = 32
MAX_NUMBER = 2**53
MAX_FIELDS = 1000  # of one object
MAX_PARAMETERS = 100
MOST_WISHES = 50  # media types of an `Accept`
READ_AT_ONCE = 2048  # bytes of JSON that are read on the event loop: a millisecond or two, whatever they are

# One at a time: several threads that want the interpreter would keep the event loop from it.
_reader = ThreadPoolExecutor(1, thread_name_prefix="json")

FIRST_HEADERS = "rireki.first_headers"  # where a scope keeps its headers by name, once somebody has asked for one


class Fields(BaseModel):
    """The base of every body and query: camelCase outside, snake_case inside, nothing that nobody knows."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True)


class Nothing(Fields):
    """No parameters, or a body that may be left out."""


M = TypeVar("M", bound=BaseModel)

_QUALITY = re.compile(r"[01](\.\d{0,3})?")


async def read_body(request: Request, model: type[M], most: int) -> M:
    """The request's JSON body of at most so many bytes, checked. A model without a required field also takes no body at all."""
    raw = await _read_bytes(request, most) if _has_body(request) else b""
    if not raw and isinstance(nothing := _of_nothing(model), model):
        return nothing
    _must_be_json(request)
    if len(raw) <= READ_AT_ONCE:
        return _checked(raw, model)
    return await asyncio.get_running_loop().run_in_executor(_reader, _checked, raw, model)


def _checked(raw: bytes, model: type[M]) -> M:
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
    for name, value in _parameters(request.scope["query_string"]):
        if name in given:
            raise bad_field(_printable(name), "is given twice", 400)
        if "\0" in value:
            raise bad_field(_printable(name), "holds a NUL character", 400)
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refusal(error, "The query is not valid.", text=True) from None


def _parameters(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise Problem(400, f"The query has more than {MAX_PARAMETERS} parameters.") from None


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this name, which is in lower case."""
    first: dict[bytes, bytes] | None = scope.get(FIRST_HEADERS)
    if first is None:
        first = scope[FIRST_HEADERS] = dict(reversed(scope["headers"]))
    value = first.get(name)
    return None if value is None else value.decode("latin-1")


def client_of(scope: Scope) -> str:
    """The address of the client, as far as trusted proxies tell it."""
    return str(scope["client"][0]) if scope["client"] else "?"


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
    flaws = [(path[1:], flaw) for path, flaw in islice(_flaws([value], (), 0), MOST_ERRORS)]
    if flaws:
        status = 400 if any(flaw.unreadable for _, flaw in flaws) else 422
        raise Problem(
            status, "The body is not valid.", [{"path": _dotted(path), "detail": flaw.detail} for path, flaw in flaws]
        )
    return value


def wants(request: Request, *offers: str) -> str:
    """The media type to answer with: the client's best among `offers`; the first one where it has no wish."""
    qualities: dict[str, float] = {}
    for part in request.headers.get("accept", "*/*").split(",", MOST_WISHES)[:MOST_WISHES]:
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


async def _read_bytes(request: Request, most: int) -> bytes:
    """How long it may take is the protocol's matter (`service/http/protocol.py`)."""
    length = header(request.scope, b"content-length") or ""
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        # The length may be missing (chunked): what arrives is counted.
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_large(most)
    except ClientDisconnect:
        raise Problem(400, "The body did not arrive whole.") from None
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
    detail = f"is larger than {size(most)}"
    return Problem(413, f"The body {detail}.", [{"path": "body", "detail": detail}], {"Connection": "close"})


def _unreadable(detail: str) -> Problem:
    return Problem(400, f"The body {detail}.", [{"path": "body", "detail": detail}])


# What JSON lets through and we don't ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Stands in the parsed value where something refused was, so that its path can be told."""

    detail: str
    unreadable: bool = False


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON] | _Flaw:
    if len(pairs) > MAX_FIELDS:
        return _Flaw(f"has more than {MAX_FIELDS} fields")
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
    """What is refused in a list or an object that is not empty."""
    if depth > MAX_DEPTH:
        yield path, _Flaw(f"is nested deeper than {MAX_DEPTH}", unreadable=True)
        return
    # Most of a large body is nothing that has a flaw: nothing is made for it, no path and no generator.
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
        return _Flaw("holds a NUL character")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return _Flaw("holds a lone surrogate")
    return None


def _printable(key: str | int) -> str:
    return str(key)[:100].encode(errors="backslashreplace").decode().replace("\0", "\\u0000")[:100]


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
        for complaint in complaints[:MOST_ERRORS]
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
