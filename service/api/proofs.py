"""`/api/audit/log/…`, `/api/audit/proof/…`, `/api/audit/consistency`: proofs about the log for anybody.

The signed checkpoint, the tiles and the entry bundles are those of C2SP tlog-tiles, so a monitor of such logs can read them. The
proof of one event is a C2SP tlog-proof.
"""

import base64
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from events.database import Connection
from events.job import Recorded, Unreadable
from projections import tree
from projections.checkpoints import NoLog, SignedCheckpoint, newest_of_current_log, with_cosignatures
from projections.entries import bundle_contents
from projections.proof.tiles import ENTRIES, HEIGHT, WIDTH, Tile, tile_at
from projections.proving import NoSuchEvent, NotCovered, prove_event
from service.accounts.access_records import Action
from service.api.access import record_proof
from service.api.documents import event_json
from service.api.jobs import visible_job
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.problems import Problem, bad_field, not_found
from service.http.request import Fields, Nothing

OCTETS = "application/octet-stream"
TEXT = "text/plain"
FOREVER = "private, max-age=31536000, immutable"
"""A tile never changes. It is private, because it is for auditors and admins."""

LARGEST_SEQ = 2**31 - 1
TILE_IN_PATH = {
    "tile": lambda: {
        "type": "string",
        "pattern": r"^([0-7]|entries)/(x[0-9]{3}/)*[0-9]{3}(\.p/[1-9][0-9]{0,2})?$",
        "example": "0/x001/x234/067",
    }
}
SEQ_IN_PATH = {"seq": lambda: {"type": "integer", "minimum": 1, "maximum": LARGEST_SEQ}}


class ConsistencyQuery(Fields):
    from_: int = Field(alias="from", ge=0, le=2**53, description="The size of the older tree.")
    to: int | None = Field(
        default=None, ge=0, le=2**53, description="The size of the newer tree. Default: that of the newest checkpoint."
    )


class Consistency(TypedDict):
    origin: str
    fromSize: int
    fromRoot: str
    toSize: int
    toRoot: str
    hashes: list[str]


async def get_checkpoint(call: Call[Nothing, Nothing]) -> Response:
    async with call.context.database.raw() as connection:
        newest = await _newest(connection)
        note = await with_cosignatures(connection, newest)
    return Response(note, media_type=TEXT, headers={"Cache-Control": "private, no-cache"})


async def get_tile(call: Call[Nothing, Nothing]) -> Response:
    tile = tile_at(f"tile/{call.path('tile')}")
    if tile is None:
        raise not_found("tile")
    async with call.context.database.raw() as connection:
        if (await _newest(connection)).size < _size_of(tile):
            raise Problem(404, "The newest checkpoint does not cover this tile.")
        with _tree_faults():
            read = bundle_contents if tile.level == ENTRIES else tree.tile_contents
            contents = await read(connection, tile)
    if tile.level != ENTRIES:
        return Response(contents, media_type=OCTETS, headers={"Cache-Control": FOREVER})
    await call.record(Action.READ_LOG, "log entries")
    return _bundle_response(call, contents)


async def get_proof(call: Call[Nothing, Nothing]) -> Response:
    text = call.path("seq")
    seq = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST_SEQ)) else 0
    job = await visible_job(call)
    if not 1 <= seq <= LARGEST_SEQ:
        raise not_found("event")
    recorded = [event for event in await call.context.store.history.events(job.id, after=seq - 1) if event.seq == seq]
    if not recorded:
        raise not_found("event")
    async with call.context.database.raw() as connection:
        with _tree_faults():
            proof = await prove_event(
                connection, job.id, seq, may_see=lambda data: call.user.is_admin or _all_is_shown(recorded[0], data)
            )
    await record_proof(call, job, seq)
    headers = {"Content-Disposition": f'attachment; filename="{job.id}-{seq}.tlog-proof"'}
    return Response(proof.to_bytes(), media_type=TEXT, headers=headers)


async def get_consistency(call: Call[ConsistencyQuery, Nothing]) -> Response:
    async with call.context.database.raw() as connection:
        newest = await _newest(connection)
        old, size = call.query.from_, newest.size if call.query.to is None else call.query.to
        if size > newest.size:
            raise bad_field("to", f"must be at most {newest.size}, the size of the newest checkpoint")
        if old > size:
            raise bad_field("from", f"must be at most {size}, the size of the newer tree")
        with _tree_faults():
            roots = [await tree.root(connection, old), await tree.root(connection, size)]
            hashes = await tree.consistency(connection, old, size)
    answer: Consistency = {
        "origin": newest.origin,
        "fromSize": old,
        "fromRoot": _base64(roots[0]),
        "toSize": size,
        "toRoot": _base64(roots[1]),
        "hashes": list(map(_base64, hashes)),
    }
    return json_answer(answer)


async def _newest(connection: Connection) -> SignedCheckpoint:
    with _tree_faults():
        newest = await newest_of_current_log(connection)
    if newest is None:
        raise Problem(404, "The log has no signed checkpoint yet. `/readyz` says whether checkpoints are signed.")
    return newest


def _size_of(tile: Tile) -> int:
    """Returns the size of the smallest tree that has this tile."""
    return (tile.number * WIDTH + tile.width) << (HEIGHT * max(0, tile.level))


def _all_is_shown(recorded: Recorded, data: bytes) -> bool:
    """Returns whether an event's document for non-admins shows all of the stored data."""
    if isinstance(recorded.event, Unreadable):
        return False
    return bool(orjson.loads(data) == event_json(recorded, with_stack=False)["data"])


def _bundle_response(call: Call[Any, Any], contents: bytes) -> Response:
    headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
    if "gzip" in call.request.headers.get("accept-encoding", ""):
        contents, headers["Content-Encoding"] = gzip.compress(contents, compresslevel=1, mtime=0), "gzip"
    return Response(contents, media_type=OCTETS, headers=headers)


@contextmanager
def _tree_faults() -> Iterator[None]:
    """Turns an error of the log inside the block into a `Problem` that names the remedy."""
    try:
        yield
    except NoSuchEvent as error:
        raise not_found("event") from error
    except NotCovered as error:
        raise Problem(409, f"There is no proof yet: {error}.", headers={"Retry-After": "60"}) from error
    except tree.TreeUnfinished as error:
        raise Problem(503, f"There is no proof yet: {error}.", headers={"Retry-After": "60"}) from error
    except (tree.TreeDamaged, tree.NotSealed, NoLog) as error:
        raise Problem(409, "The log is damaged, so nothing can be proved. Run `rireki audit verify` for details.") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


ENDPOINTS = (
    Endpoint(
        "GET", "/api/audit/log/checkpoint", get_checkpoint, Who.READERS_OF_ALL,
        "The newest signed checkpoint, with the signatures of witnesses: a C2SP tlog-checkpoint.",
        {200: Answer(None, "The signed note.", streams=(TEXT,))}, problems=(404, 409),
    ),
    Endpoint(
        "GET", "/api/audit/log/tile/{tile:path}", get_tile, Who.READERS_OF_ALL,
        "A tile of the Merkle tree (`<L>/<N>`), or the entries of a tile of level 0 (`entries/<N>`), as C2SP tlog-tiles defines"
        " them. Partial tiles (`.p/<W>`) are computed when they are asked for.",
        {200: Answer(None, "The hashes, or the entries, one after another.", streams=(OCTETS,))}, problems=(404, 409),
        path_schemas=TILE_IN_PATH,
    ),
    Endpoint(
        "GET", "/api/audit/proof/{id}/{seq}", get_proof, Who.SIGNED_IN,
        "The proof that the newest checkpoint covers an event: a C2SP tlog-proof. Its `extra` is the event's entry, followed by"
        " salt and data if the caller may see all of the data. `rireki audit verify-proof` verifies it offline.",
        {200: Answer(None, "The proof.", streams=(TEXT,))}, problems=(404, 409), path_schemas=SEQ_IN_PATH,
    ),
    Endpoint(
        "GET", "/api/audit/consistency", get_consistency, Who.READERS_OF_ALL,
        "The proof (RFC 9162) that the tree of `to` events begins with that of `from` events. Roots and hashes are in base64.",
        {200: Answer(Consistency, "The sizes, their roots, and the hashes of the proof.")}, query=ConsistencyQuery,
        problems=(404, 409),
    ),
)  # fmt: skip
