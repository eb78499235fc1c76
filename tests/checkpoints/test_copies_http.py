"""Copies of checkpoints on a server that takes PUT requests."""

from collections.abc import AsyncIterator, Iterator

import pytest

from projections.proof.signed_note import Signer
from service.checkpoints.copies import CheckpointCopies, CopyDiffers, CopyFailed, open_copies
from tests.checkpoints.logs import ORIGIN, Log
from tests.checkpoints.put_server import PutServer, put_server
from workers.outgoing_http import Outgoing
from workers.outgoing_rules import NOTHING_MORE

LOG = Log()
OPENED: list[CheckpointCopies] = []
FOLDER = f"/copies/{ORIGIN}"


@pytest.fixture
def server() -> Iterator[PutServer]:
    with put_server() as server:
        yield server


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    while OPENED:
        await OPENED.pop().close()


def copies_on(server: PutServer, outgoing: Outgoing = Outgoing()) -> CheckpointCopies:  # noqa: B008 (it is frozen)
    copies = open_copies(f"{server.url}/copies", outgoing)
    OPENED.append(copies)
    return copies


async def test_each_copy_is_put_under_its_size_and_the_newest_is_read_back(server: PutServer) -> None:
    copies = copies_on(server)

    assert await copies.newest(ORIGIN) is None
    for size in (1, 300):
        await copies.add(ORIGIN, size, LOG.note(size))

    assert server.objects == {
        f"{FOLDER}/00000000000000000001": LOG.note(1).encode(),
        f"{FOLDER}/00000000000000000300": LOG.note(300).encode(),
        f"{FOLDER}/newest": LOG.note(300).encode(),
    }
    assert await copies_on(server).newest(ORIGIN) == LOG.note(300)


async def test_a_late_copy_does_not_replace_a_newer_one(server: PutServer) -> None:
    for size in (300, 7):
        await copies_on(server).add(ORIGIN, size, LOG.note(size))

    assert await copies_on(server).newest(ORIGIN) == LOG.note(300)


@pytest.mark.parametrize("knows_conditions", [True, False])
async def test_another_note_of_the_same_size_is_never_replaced(server: PutServer, knows_conditions: bool) -> None:
    server.knows_conditions = knows_conditions
    await copies_on(server).add(ORIGIN, 7, LOG.note(7))

    with pytest.raises(CopyDiffers) as refused:
        await copies_on(server).add(ORIGIN, 7, Log(face="other").note(7))

    assert refused.value.found == LOG.note(7)
    assert server.objects[f"{FOLDER}/00000000000000000007"] == LOG.note(7).encode()


async def test_a_server_that_refuses_conditions_is_asked_without_them(server: PutServer) -> None:
    server.refuses_conditions = True

    await copies_on(server).add(ORIGIN, 7, LOG.note(7))

    assert await copies_on(server).newest(ORIGIN) == LOG.note(7)


@pytest.mark.parametrize("answered", range(5))
async def test_a_copy_that_was_cut_off_at_any_request_is_added_once_more(server: PutServer, answered: int) -> None:
    await copies_on(server).add(ORIGIN, 7, LOG.note(7))
    server.stops_after = len(server.asked) + answered

    if answered < 4:
        with pytest.raises(CopyFailed, match="does not answer"):
            await copies_on(server).add(ORIGIN, 11, LOG.note(11))
    server.stops_after = None
    before = await copies_on(server).newest(ORIGIN)
    await copies_on(server).add(ORIGIN, 11, LOG.note(11))

    assert before == LOG.note(7)
    assert await copies_on(server).newest(ORIGIN) == LOG.note(11)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"no note", "A copy is not a checkpoint"),
        (b"\xff\n\n\xff", "A copy is not a checkpoint"),
        (Log(signer=Signer("other", bytes(32))).note(7).encode(), "A copy is a checkpoint of another log"),
        (b"x" * 70_000, "is longer than 65536 bytes"),
    ],
)
async def test_a_hostile_answer_is_one_sentence(server: PutServer, answer: bytes, told: str) -> None:
    server.objects[f"{FOLDER}/newest"] = answer

    with pytest.raises(CopyFailed, match=told) as failed:
        await copies_on(server).newest(ORIGIN)

    assert len(str(failed.value)) < 200


@pytest.mark.parametrize("status", [301, 401, 403, 405, 409, 500, 503])
async def test_a_refusal_names_the_status(server: PutServer, status: int) -> None:
    server.status = status

    with pytest.raises(CopyFailed, match=f"answered {status}"):
        await copies_on(server).add(ORIGIN, 7, LOG.note(7))

    assert server.objects == {}


async def test_the_user_and_the_password_of_the_address_are_sent(server: PutServer) -> None:
    copies = open_copies(server.url.replace("://", "://copier:hunter2@"), Outgoing())
    OPENED.append(copies)

    await copies.add(ORIGIN, 7, LOG.note(7))

    assert set(server.credentials) == {"Basic Y29waWVyOmh1bnRlcjI="}


async def test_outgoing_allow_holds_for_copies(server: PutServer) -> None:
    with pytest.raises(CopyFailed, match="OUTGOING_ALLOW"):
        await copies_on(server, Outgoing(rules=NOTHING_MORE)).newest(ORIGIN)

    assert server.asked == []


@pytest.mark.parametrize("origin", ["..", "a/../b", "a//b", "/a", "."])
async def test_an_origin_leads_to_no_other_folder(server: PutServer, origin: str) -> None:
    with pytest.raises(CopyFailed, match="origin"):
        await copies_on(server).newest(origin)

    assert server.asked == []
