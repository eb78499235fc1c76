"""Asks witnesses to cosign the log's checkpoints, and keeps what they answer.

Signing never waits for a witness. Each witness is asked to cosign only the newest checkpoint, because this cosignature covers
all smaller trees too.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

import httpx2 as httpx
import structlog

from events.concurrency import end, lasting
from events.database import DATABASE_ERRORS, Database
from events.database_faults import log_trouble
from projections import tree
from projections.checkpoints import SignedCheckpoint, add_cosignature
from projections.cosignatures import identity, last_cosigned, newest_without
from projections.proof.checkpoint import SIZE
from projections.proof.cosignature import Witness, read_cosignatures, read_witness
from projections.proof.signed_note import BadNote, read_note
from projections.proof.witness_request import CosignRequest
from service.audit_values import WitnessAddress
from service.checkpoints.exchange import exchange
from workers.outgoing_http import Outgoing

log = structlog.get_logger(__name__)

LOOK_EVERY = 2.0  # seconds between two checks for a new checkpoint
TRY_AGAIN, LATEST_TRY = 5.0, 120.0  # seconds until the next try after a failure; each further failure doubles them
ENDS_WITHIN = 15.0  # seconds for a request and its whole answer
CONNECTS_WITHIN = 5.0  # seconds
LONGEST_ANSWER = 16_384  # bytes
MOST_CONFLICTS = 5  # answers in a row with another old size, because another process of the log may ask at the same time
ANSWERED_SIZE = re.compile(rf"({SIZE.pattern})\n", re.ASCII)


class WitnessFailed(Exception):
    """The witness has not cosigned. The message is one sentence."""


class WitnessRefuses(WitnessFailed):
    """The witness has cosigned another history of this log, or a larger one. Waiting may not help."""


class WitnessClient:
    """Asks one witness."""

    def __init__(self, database: Database, address: WitnessAddress, outgoing: Outgoing) -> None:
        self.witness: Witness = read_witness(address.key)
        self._database = database
        self._path = f"{urlsplit(address.url).path.rstrip('/')}/add-checkpoint"
        self._known: dict[str, int] = {}  # by origin: the largest size that the witness is known to have cosigned
        self._http = outgoing.client(
            address.url,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            timeout=httpx.Timeout(ENDS_WITHIN, connect=CONNECTS_WITHIN),
        )

    async def ask(self) -> SignedCheckpoint | None:
        """Asks for a cosignature of the newest checkpoint. Returns the checkpoint, or None if it had one.

        Raises `WitnessFailed`, `tree.TreeUnfinished`, `tree.TreeDamaged`.
        """
        async with self._database.raw() as connection:
            signed = await newest_without(connection, self.witness)
            if signed is None:
                return None
            if signed.origin not in self._known:
                self._known[signed.origin] = await last_cosigned(connection, signed.origin, self.witness)
        line = await self._cosignature(signed)
        async with self._database.raw() as connection:
            await add_cosignature(connection, signed.origin, signed.size, identity(self.witness), line)
        return signed

    async def close(self) -> None:
        await self._http.aclose()

    async def _cosignature(self, signed: SignedCheckpoint) -> str:
        note = read_note(signed.note.encode())
        for _ in range(MOST_CONFLICTS):
            old_size = self._known[signed.origin]
            status, body = await self._send(await self._request(signed, old_size))
            if status == 200:
                line = self._line(body, note.text)
                self._known[signed.origin] = signed.size
                return line
            if status != 409:
                raise _refusal(status)
            self._known[signed.origin] = _size_in(body)
        raise WitnessFailed(f"The witness named another old size {MOST_CONFLICTS} times.")

    async def _request(self, signed: SignedCheckpoint, old_size: int) -> CosignRequest:
        if old_size > signed.size:
            # The witness may have named this size by mistake. So the next try asks it again.
            del self._known[signed.origin]
            raise WitnessRefuses(
                f"The witness has cosigned this log at size {old_size}, and its newest checkpoint has size {signed.size}. After a"
                " restore this is expected until the log has grown, or begins anew with `rireki audit new-log`."
            )
        async with self._database.raw() as connection:
            proof = await tree.consistency(connection, old_size, signed.size)
        return CosignRequest(old_size, proof, read_note(signed.note.encode()))

    async def _send(self, request: CosignRequest) -> tuple[int, bytes]:
        return await exchange(
            self._http, "POST", self._path, body=request.to_bytes(), headers={"content-type": "text/plain; charset=utf-8"},
            within=ENDS_WITHIN, most=LONGEST_ANSWER, wanted=lambda status: status in (200, 409), server="the witness",
            failure=WitnessFailed,
        )  # fmt: skip

    def _line(self, body: bytes, text: str) -> str:
        """Returns the cosignature in an answer. Lines by other keys are ignored."""
        try:
            return read_cosignatures(body.decode("utf-8", "replace"), text, self.witness)[0].to_line()
        except BadNote as error:
            raise WitnessFailed(f"The answer of the witness has no cosignature by its key: {error}") from None


class Witnesses:
    """Asks all witnesses of AUDIT_WITNESSES while the process seals."""

    def __init__(self, database: Database, addresses: Sequence[WitnessAddress], outgoing: Outgoing) -> None:
        self._database, self._addresses, self._outgoing = database, addresses, outgoing

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Asks while the block lasts. Several processes may do this at once."""
        clients = [WitnessClient(self._database, address, self._outgoing) for address in self._addresses]
        tasks = [lasting(_keep_asking(client), f"witness {client.witness.name}") for client in clients]
        try:
            yield
        finally:
            await end(*tasks)
            for client in clients:
                await client.close()


async def _keep_asking(client: WitnessClient) -> None:
    told, pause = "", TRY_AGAIN
    while True:
        wait = LOOK_EVERY
        try:
            if await client.ask() is not None:
                told, pause = "", TRY_AGAIN
        except (WitnessFailed, tree.TreeUnfinished, tree.TreeDamaged, tree.NotSealed) as error:
            if str(error) != told:
                write = log.error if isinstance(error, WitnessRefuses) else log.warning
                write("a witness has not cosigned", witness=client.witness.name, reason=str(error))
            told, wait, pause = str(error), pause, min(2 * pause, LATEST_TRY)
        except DATABASE_ERRORS as error:
            log_trouble(log, "no witness was asked", error)
        await asyncio.sleep(wait)


def _refusal(status: int) -> WitnessFailed:
    match status:
        case 403:
            return WitnessFailed("The witness does not know the key of this log (403): give it `rireki audit key` as --log.")
        case 404:
            return WitnessFailed("The witness does not know this log, or its address is wrong (404): see AUDIT_WITNESSES.")
        case 422:
            return WitnessRefuses(
                "The witness has cosigned another history of this log (422): find out whether the log was changed or restored."
            )
        case _:
            return WitnessFailed(f"The witness answered {status}.")


def _size_in(body: bytes) -> int:
    found = ANSWERED_SIZE.fullmatch(body.decode("utf-8", "replace"))
    if found is None:
        raise WitnessFailed("The witness answered 409 without the size that it has cosigned.")
    return int(found[1])
