"""Copies of checkpoints in a bucket of a real S3-compatible server (`s3_server.py`)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from projections.proof.signed_note import Signer
from service.checkpoint_url import S3Access, S3Place
from service.checkpoints.copies import CheckpointCopies, CopyDiffers, CopyFailed, open_copies
from service.checkpoints.object_s3 import S3Objects
from tests.checkpoints.logs import ORIGIN, Log
from tests.checkpoints.s3_server import KEY_ID, SECRET, S3Server, s3_server
from tests.histories import until
from workers.outgoing_http import Outgoing

LOG = Log()
BUCKET = "copies"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
async def access(server: S3Server) -> S3Access:
    access = S3Access(KEY_ID, SECRET, endpoint=server.url)
    objects = S3Objects(S3Place(BUCKET, ""), access, Outgoing())
    # The server answers its probe some seconds before it can write.
    await until(lambda: _made(objects), seconds=90)
    await objects.close()
    return access


async def _made(objects: S3Objects) -> bool:
    status, _ = await objects._send("PUT", f"/{BUCKET}", most=10_000)
    if status not in (200, 409):
        return False
    try:
        return await objects.put("probe", b"x", replace=True)
    except CopyFailed:
        return False


@asynccontextmanager
async def copies_in(access: S3Access, prefix: str) -> AsyncIterator[CheckpointCopies]:
    copies = open_copies(f"s3://{BUCKET}/{prefix}", Outgoing(), access)
    try:
        yield copies
    finally:
        await copies.close()


async def test_each_copy_is_put_under_its_size_and_the_newest_is_found(access: S3Access) -> None:
    async with copies_in(access, "plain") as copies:
        assert await copies.newest(ORIGIN) is None
        for size in (1, 7, 300):
            await copies.add(ORIGIN, size, LOG.note(size))
            assert await copies.newest(ORIGIN) == LOG.note(size)
    async with copies_in(access, "plain") as copies:
        assert await copies.newest(ORIGIN) == LOG.note(300)
        await copies.add(ORIGIN, 300, LOG.note(300))


async def test_another_note_of_the_same_size_is_never_replaced(access: S3Access) -> None:
    async with copies_in(access, "same/size") as copies:
        await copies.add(ORIGIN, 7, LOG.note(7))

        with pytest.raises(CopyDiffers):
            await copies.add(ORIGIN, 7, Log(face="other").note(7))

        assert await copies.newest(ORIGIN) == LOG.note(7)


async def test_the_store_refuses_to_replace_a_copy_even_unasked(access: S3Access) -> None:
    objects = S3Objects(S3Place(BUCKET, "once"), access, Outgoing())
    assert await objects.put("a/b", b"one", replace=False)

    assert not await objects.put("a/b", b"two", replace=False)

    assert await objects.get("a/b", 100) == b"one"
    await objects.close()


async def test_odd_letters_of_a_prefix_and_an_origin_are_signed_as_they_are_sent(access: S3Access) -> None:
    log = Log(signer=Signer("ログ.example/a=b&c~d'(e)*", bytes(32)))
    async with copies_in(access, "%20a%26b/%E5%B1%A5") as copies:
        await copies.add(log.signer.name, 9, log.note(9))

        assert await copies.newest(log.signer.name) == log.note(9)


async def test_the_newest_of_several_pages_of_keys_is_found(access: S3Access) -> None:
    """The store gives 1,000 keys at once."""
    objects, log = S3Objects(S3Place(BUCKET, "many"), access, Outgoing()), Log(2_200)

    async def put(sizes: range) -> None:
        for size in sizes:
            await objects.put(f"{ORIGIN}/{size:020d}", log.note(size).encode() if size == 2_099 else b"x", replace=True)

    await asyncio.gather(*(put(range(first, 2_100, 4)) for first in range(4)))
    await objects.close()

    async with copies_in(access, "many") as copies:
        assert await copies.newest(ORIGIN) == log.note(2_099)
        await copies.add(ORIGIN, 2_150, log.note(2_150))
        assert await copies.newest(ORIGIN) == log.note(2_150)


@pytest.mark.parametrize("wrong", [{"secret": "another"}, {"key_id": "another"}])
async def test_wrong_credentials_are_told(access: S3Access, wrong: dict[str, str]) -> None:
    async with copies_in(replace(access, **wrong), "plain") as copies:
        with pytest.raises(CopyFailed, match=r"answered 403 \(it refuses the credentials\)"):
            await copies.add(ORIGIN, 7, LOG.note(7))


async def test_a_missing_bucket_is_told(access: S3Access) -> None:
    copies = open_copies("s3://no-such-bucket/x", Outgoing(), access)

    with pytest.raises(CopyFailed, match="answered 404"):
        await copies.newest(ORIGIN)
    await copies.close()


def test_the_place_of_a_bucket_follows_the_rules_of_s3() -> None:
    access = S3Access("id", "secret", region="eu-west-1")

    assert access.address("copies") == ("https://copies.s3.eu-west-1.amazonaws.com", "/")
    assert access.address("my.copies") == ("https://s3.eu-west-1.amazonaws.com", "/my.copies/")
    assert replace(access, endpoint="http://localhost:9/").address("copies") == ("http://localhost:9", "/copies/")
    assert "secret" not in repr(access)
