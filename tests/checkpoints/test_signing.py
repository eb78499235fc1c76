"""When a checkpoint is signed, and each order in which two signers, faults and copies may act."""

import asyncio
import base64

import asyncpg
import pytest

from events.database import DATABASE_ERRORS, Database
from projections import checkpoints, seal, tree
from projections.checkpoints import AnotherLog, Inconsistent, SigningState, place_of_log
from projections.proof.checkpoint import Checkpoint, read_checkpoint
from projections.proof.signed_note import Signer, new_signer, open_note, read_note, sign
from projections.proof.succession import ABANDONS, FOLLOWS, named_by
from service.checkpoints import signing
from service.checkpoints.copies import CopyDiffers, CopyFailed, CopyUntrusted
from service.checkpoints.copies_in_file import CopiesInFile
from service.checkpoints.signing import CopiesUnread, Signing
from tests.checkpoints.signed_logs import published_note
from tests.checkpoints.signers import SignedLog, copies_in, signers_of, what_is_wrong
from tests.histories import give_positions, until
from tests.projections.tiled_logs import append, connected
from tests.proxy import Fault, proxy_before

OTHER_ROOT = b"\x11" * 32


async def nothing_is_wrong(log: SignedLog) -> None:
    async with log.database.raw() as connection:
        assert await what_is_wrong(connection, log.copied(), [log.key.verifier]) == []


async def test_a_checkpoint_covers_all_sealed_events_and_opens_with_the_logs_key(log: SignedLog) -> None:
    await log.grow(600)
    async with log.signer() as signer:
        signed = await signer.sign()

    assert signed is not None
    checkpoint = read_checkpoint(open_note(signed.note.encode(), [log.key.verifier]))
    assert (checkpoint.origin, checkpoint.size, checkpoint.extensions) == (log.key.name, 600, ())
    async with log.database.raw() as connection:
        assert checkpoint.root == await tree.root(connection, 600)
        assert await published_note(connection, log.key.name) == signed.note


async def test_a_log_without_sealed_events_is_not_signed(log: SignedLog) -> None:
    async with log.signer() as signer:
        assert await signer.sign() is None

    assert await log.signed() == []


async def test_without_new_events_nothing_is_signed_again(log: SignedLog) -> None:
    await log.grow()
    async with log.signer() as signer, log.signer() as other:
        first = await signer.sign()

        assert await signer.sign() == first
        assert await other.sign() == first
    assert len(await log.signed()) == 1


async def test_further_checkpoints_extend_the_earlier_ones_and_are_kept(log: SignedLog) -> None:
    async with log.signer() as signer:
        for events in (1, 254, 1, 1, 300, 70):
            await log.grow(events)
            await signer.sign()
        await signer.copy()

    assert [each.size for each in await log.signed()] == [1, 255, 256, 257, 557, 627]
    assert log.copied() == await log.signed()
    await nothing_is_wrong(log)


async def test_what_was_sealed_is_signed_when_a_minute_or_enough_events_have_passed(
    log: SignedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "LOOK_EVERY", 0.01)
    async with log.signer() as signer, signer.running():
        await log.grow(1)
        await until(lambda: signed_sizes(log, [1]))
        await log.grow(1)
        monkeypatch.setattr(signing, "SIGN_AFTER", 3)
        await log.grow(1)
        await log.grow(1)
        await until(lambda: signed_sizes(log, [1, 4]))
        await log.grow(1)
        monkeypatch.setattr(signing, "SIGN_EVERY", 0.0)
        await until(lambda: signed_sizes(log, [1, 4, 5]))
        await until(lambda: copied_sizes(log, [1, 4, 5]))


async def test_a_clock_that_was_ahead_holds_up_no_signature(log: SignedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "LOOK_EVERY", 0.01)
    await log.grow()
    async with log.database.raw() as connection:
        root = await tree.root(connection, 4)
        note = sign(Checkpoint(log.key.name, 4, root).to_text(), [log.key]).to_bytes().decode()
        ahead = "insert into checkpoints (origin, size, root, note, signed_at) values ($1, 4, $2, $3, now() + interval '1 day')"
        await connection.execute(ahead, log.key.name, root, note)
    async with log.signer() as signer, signer.running():
        await until(lambda: has_state(log.database, SigningState.SIGNING, ""))
        await log.grow(1)
        await until(lambda: _has_size(log, 5))


async def _has_size(log: SignedLog, size: int) -> bool:
    return size in [each.size for each in await log.signed()]


async def test_both_keys_sign_while_one_takes_over_from_the_other(log: SignedLog) -> None:
    newer = new_signer(log.key.name)
    notes = []
    for keys in ([log.key], [newer, log.key], [newer]):
        await log.grow()
        async with log.signer(keys=keys) as signer:
            signed = await signer.sign()
            assert signed is not None
            notes.append(signed.note)

    assert [signers_of(note, [log.key, newer]) for note in notes] == [[log.key], [newer, log.key], [newer]]


async def test_of_two_signers_at_once_one_signs(log: SignedLog) -> None:
    async with log.signer() as signer, log.signer() as other:
        for _ in range(5):
            await log.grow()
            signed = await asyncio.gather(signer.sign(), other.sign(), signer.sign(wait=True), other.sign(wait=True))
            assert {each.size for each in signed if each is not None} == {await log.size()}
            await asyncio.gather(signer.copy(), other.copy())

    assert len(await log.signed()) == 5
    assert log.copied() == await log.signed()
    await nothing_is_wrong(log)


async def test_a_signer_waits_for_one_that_holds_the_turn(log: SignedLog, database_url: str) -> None:
    other = await connected(database_url)
    await log.grow()
    async with log.signer() as signer:
        async with other.transaction(), other.raw() as connection:
            await connection.execute(checkpoints.WAIT_FOR_LOCK, checkpoints.SIGNING)
            assert await signer.sign() is None
            waiting = asyncio.create_task(signer.sign(wait=True))
            await until(lambda: log.database.fetch_val("select count(*) from pg_locks where not granted"))
            assert await log.signed() == []
        signed = await waiting

    await other.disconnect()
    assert signed is not None
    assert signed.size == 4


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
async def test_a_commit_without_an_answer_is_followed_by_what_extends_it(
    log: SignedLog, database_url: str, fault: Fault
) -> None:
    """The signer cannot know whether its row was written, so it remembers the checkpoint as signed."""
    await log.grow()
    async with proxy_before(database_url) as proxy:
        far = await connected(proxy.url)
        signer = Signing(far, [log.key], CopiesInFile(log.file))
        proxy.once(b"COMMIT;", fault)
        with pytest.raises(DATABASE_ERRORS):
            await signer.sign()
        assert proxy.faults_met == [fault]
        assert await signed_sizes(log, [4] if fault is Fault.CUT_AFTER else [])

        again = await signer.sign()
        await log.grow()
        await signer.sign()
        await signer.copy()
        await far.disconnect()

    assert again is not None
    assert again.size == 4
    assert [each.size for each in log.copied()] == [4, 8]
    await nothing_is_wrong(log)


async def test_what_a_lost_commit_has_signed_stops_a_log_that_does_not_extend_it(log: SignedLog, database_url: str) -> None:
    await log.grow()
    async with proxy_before(database_url) as proxy:
        far = await connected(proxy.url)
        signer = Signing(far, [log.key])
        proxy.once(b"COMMIT;", Fault.CUT_BEFORE)
        with pytest.raises(DATABASE_ERRORS):
            await signer.sign()
        signer._known[signing.THIS_PROCESS] = _other_than(signer, 4)

        with pytest.raises(Inconsistent, match="of size 4 that is known from this process"):
            await signer.sign()
        await far.disconnect()
    assert await log.signed() == []


def _other_than(signer: Signing, size: int) -> checkpoints.Known:
    """Returns the checkpoint that the signer remembers, with the root of other events."""
    known = signer._known[signing.THIS_PROCESS]
    assert known.checkpoint.size == size
    return checkpoints.Known(Checkpoint(known.checkpoint.origin, size, OTHER_ROOT), known.source)


@pytest.mark.parametrize("size", [3, 4, 9])
async def test_a_copy_outside_that_the_log_does_not_extend_stops_the_signing(log: SignedLog, size: int) -> None:
    await log.grow()
    await outside_has(log, Checkpoint(log.key.name, size, OTHER_ROOT))
    async with log.signer() as signer:
        with pytest.raises(Inconsistent, match=f"of size {size} that is known from the copies at AUDIT_CHECKPOINT_URL"):
            await signer.sign()

    assert await log.signed() == []


async def test_a_copy_of_another_log_does_not_stop_the_signing(log: SignedLog) -> None:
    await log.grow()
    await outside_has(log, Checkpoint("another", 9, OTHER_ROOT))
    async with log.signer() as signer:
        assert await signer.sign() is not None


@pytest.mark.parametrize("size", [3, 9])
async def test_a_copy_by_a_strangers_key_proves_nothing_about_the_log(log: SignedLog, size: int) -> None:
    """A process that has read the copies before goes on, and a new one waits: a good copy may stand below the forged one."""
    await log.grow()
    async with log.signer() as signer, log.signer() as later:
        await signer.sign()
        await outside_has(log, Checkpoint(log.key.name, size, OTHER_ROOT), new_signer(log.key.name))
        await log.grow()

        assert await signer.sign() is not None
        with pytest.raises(CopiesUnread, match=f"of size {size} .* AUDIT_VERIFIER_KEYS, or remove the forged copy"):
            await later.sign()
        log.file.unlink()
        assert await later.sign() is not None


async def test_a_copy_by_a_strangers_key_that_agrees_hides_no_copy_that_does_not(log: SignedLog) -> None:
    await log.grow(9)
    await outside_has(log, Checkpoint(log.key.name, 4, OTHER_ROOT))
    async with log.database.raw() as connection:
        forged = Checkpoint(log.key.name, 9, await tree.root(connection, 9))
    await outside_has(log, forged, new_signer(log.key.name))
    async with log.signer() as signer:
        with pytest.raises(CopiesUnread):
            await signer.sign()
    assert await log.signed() == []


async def test_after_a_key_was_exchanged_the_copies_by_the_old_one_count_if_it_is_trusted(log: SignedLog) -> None:
    await log.grow()
    before = new_signer(log.key.name)
    await outside_has(log, Checkpoint(log.key.name, 9, OTHER_ROOT), before)
    async with log.signer() as signer:
        with pytest.raises(CopiesUnread, match="AUDIT_VERIFIER_KEYS"):
            await signer.sign()
    async with log.signer(trusted=[before.verifier]) as signer:
        with pytest.raises(Inconsistent, match="of size 9 that is known from the copies"):
            await signer.sign()


async def test_a_row_that_the_tree_does_not_extend_stops_the_signing(log: SignedLog) -> None:
    await log.grow()
    forged = sign(Checkpoint(log.key.name, 3, OTHER_ROOT).to_text(), [log.key]).to_bytes().decode()
    async with log.database.raw() as connection:
        await connection.execute(checkpoints.ADD.partition("returning")[0], log.key.name, 3, OTHER_ROOT, forged)
    async with log.signer() as signer:
        with pytest.raises(Inconsistent, match="of size 3 that is known from the table checkpoints"):
            await signer.sign()


async def test_signing_goes_on_once_the_log_extends_the_copy_again(log: SignedLog) -> None:
    """A promoted replica may lack the positions of some events. Sealing gives these events the same positions again."""
    await log.grow(9)
    async with log.database.raw() as connection:
        await append(connection, "later", jobs=1, seqs=4)
        lost = connection.transaction()
        await lost.start()
        await seal._seal(connection)
        ahead = Checkpoint(log.key.name, 13, await tree.root(connection, 13))
        await lost.rollback()
    await outside_has(log, ahead)
    async with log.signer() as signer:
        with pytest.raises(Inconsistent, match="it has only 9 sealed events"):
            await signer.sign()
        await give_positions(log.database)

        signed = await signer.sign()

    assert signed is not None
    assert signed.checkpoint == ahead


async def test_signing_stops_and_says_so_while_sealing_goes_on(log: SignedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(signing, "TRY_AGAIN", 0.01)
    await log.grow()
    await outside_has(log, Checkpoint(log.key.name, 9, OTHER_ROOT))
    async with log.signer() as signer, signer.running():
        await until(lambda: has_state(log.database, SigningState.STOPPED, "INCONSISTENT: the log "))
        await log.grow(10)
        await until(lambda: has_state(log.database, SigningState.STOPPED, "differs from it, with 14 sealed events"))
        assert signer.trouble is not None
        log.file.unlink()
        # The process remembers the copy that is gone now.
        await log.grow()
        await until(lambda: has_state(log.database, SigningState.STOPPED, "with 18 sealed events"))
    async with log.signer() as signer, signer.running():
        await until(lambda: has_state(log.database, SigningState.SIGNING, ""))
        assert signer.trouble is None
    assert await signed_sizes(log, [18])


async def test_a_process_signs_nothing_before_it_has_read_the_copies_once(log: SignedLog) -> None:
    await log.grow()
    log.file.mkdir()
    async with log.signer() as signer:
        with pytest.raises(CopiesUnread, match="nothing is signed until the copies at AUDIT_CHECKPOINT_URL were read"):
            await signer.sign()
        assert await log.signed() == []

        log.file.rmdir()
        assert await signer.sign() is not None

        log.file.mkdir()
        await log.grow()
        signed = await signer.sign()
    assert signed is not None
    assert signed.size == 8


async def test_after_a_failover_the_copies_must_be_read_again(log: SignedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.grow()
    async with log.signer() as signer:
        await signer.sign()
        await log.grow()
        log.file.mkdir()
        signer._read_at = "another timeline"

        with pytest.raises(CopiesUnread):
            await signer.sign()
    assert len(await log.signed()) == 1


async def test_a_database_that_moves_while_the_copies_are_read_is_not_signed(log: SignedLog) -> None:
    await log.grow()
    async with log.database.transaction(), log.database.raw() as connection:
        assert "/" in await place_of_log(connection)
        with pytest.raises(checkpoints.Moved):
            await checkpoints.sign(connection, log.key.name, lambda text: text, [], place="elsewhere")


async def test_copies_are_made_as_soon_as_there_is_a_place_for_them(log: SignedLog) -> None:
    async with log.signer(copies=False) as signer:
        for _ in range(3):
            await log.grow()
            await signer.sign()
        assert await signer.copy() == 0
    log.file.mkdir()
    async with log.signer() as signer:
        with pytest.raises(CopyFailed):
            await signer.copy()
        log.file.rmdir()

        assert await signer.copy() == 3
        assert await signer.copy() == 0
    assert log.copied() == await log.signed()


async def test_a_copy_that_was_made_and_not_noted_is_noted_by_the_next_process(log: SignedLog) -> None:
    await log.grow()
    async with log.signer() as signer:
        signed = await signer.sign()
        assert signed is not None
        await CopiesInFile(log.file).add(signed.origin, signed.size, signed.note)

        assert await signer.copy() == 1
    assert len(log.copied()) == 1
    await nothing_is_wrong(log)


async def test_the_same_checkpoint_by_another_key_counts_as_copied(log: SignedLog) -> None:
    await log.grow()
    before = new_signer(log.key.name)
    async with log.signer(trusted=[before.verifier]) as signer:
        signed = await signer.sign()
        assert signed is not None
        await outside_has(log, signed.checkpoint, before)

        assert await signer.copy() == 1


async def test_the_same_checkpoint_by_a_strangers_key_is_never_taken_for_the_copy(log: SignedLog) -> None:
    await log.grow()
    async with log.signer() as signer:
        signed = await signer.sign()
        assert signed is not None
        await outside_has(log, signed.checkpoint, new_signer(log.key.name))

        with pytest.raises(CopyUntrusted, match="of size 4 among the copies is signed by no key that this process trusts"):
            await signer.copy()
        assert await log.database.fetch_val("select copied_at from checkpoints") is None


async def test_another_checkpoint_of_the_same_size_outside_is_never_taken_for_the_copy(log: SignedLog) -> None:
    await log.grow()
    async with log.signer() as signer:
        signed = await signer.sign()
        await outside_has(log, Checkpoint(log.key.name, 4, OTHER_ROOT))

        with pytest.raises(CopyFailed, match="another checkpoint of size 4"):
            await signer.copy()
        with pytest.raises(Inconsistent):
            await signer.sign()
    assert signed is not None
    assert await log.database.fetch_val("select copied_at from checkpoints") is None


async def test_a_copy_of_the_old_log_that_differs_does_not_hold_up_those_of_the_new_log(log: SignedLog) -> None:
    await log.grow()
    async with log.signer(copies=False) as signer:
        await signer.sign()
    await outside_has(log, Checkpoint(log.key.name, 4, OTHER_ROOT))
    async with log.database.transaction(), log.database.raw() as connection:
        await checkpoints.begin_log(connection, "next", "the copies differ", [])
    log.key = new_signer("next")
    async with log.signer() as signer:
        await signer.sign()

        with pytest.raises(CopyDiffers, match="of size 4"):
            await signer.copy()
    assert [(each.origin, each.size) for each in log.copied()][1:] == [("next", 4)]


async def test_a_copy_that_was_exchanged_for_one_of_the_same_size_stops_the_signing(log: SignedLog) -> None:
    await log.grow()
    async with log.signer() as signer:
        await signer.sign()
        await signer.copy()
        await signer.sign()
        log.file.unlink()
        await outside_has(log, Checkpoint(log.key.name, 4, OTHER_ROOT))
        await log.grow()

        with pytest.raises(Inconsistent, match="of size 4 that is known from the copies"):
            await signer.sign()


async def test_signing_waits_until_the_positions_of_an_older_version_are_in_tiles(
    log: SignedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(signing, "TRY_AGAIN", 0.01)
    await log.grow(300)
    cursor = "update job_event_log_cursor set turn = turn + 1, tiled = 0, rows_to = "
    await log.database.execute(f"{cursor} 256")
    async with log.signer() as signer, signer.running():
        await until(lambda: has_state(log.database, SigningState.WAITING, "the tree has only the first 0 events so far"))
        assert await log.signed() == []

        await log.database.execute(f"{cursor} 0")
        await until(lambda: signed_sizes(log, [300]))
        await until(lambda: has_state(log.database, SigningState.SIGNING, ""))


async def test_a_new_log_names_the_old_one_in_its_first_note_only(log: SignedLog) -> None:
    await log.grow()
    async with log.signer() as signer:
        old = await signer.sign()
    assert old is not None
    await log.grow()
    ahead = Checkpoint(log.key.name, 20, OTHER_ROOT)
    async with log.database.transaction(), log.database.raw() as connection:
        known = checkpoints.Known(ahead, "outside")
        followed, abandoned = await checkpoints.begin_log(connection, "next.example.com", "a restore", [known])
    assert (followed, abandoned) == (old.checkpoint, ahead)
    async with log.signer() as signer:
        with pytest.raises(AnotherLog, match=f"for the log {log.key.name}, and the log of this database is next.example.com"):
            await signer.sign()

    log.key = new_signer("next.example.com")
    async with log.signer() as signer:
        first = await signer.sign()
        await log.grow()
        second = await signer.sign()
    assert first is not None
    assert second is not None
    text = read_checkpoint(read_note(first.note.encode()).text)
    root = base64.b64encode(old.root).decode()
    assert text.extensions[0] == f"follows {old.origin} 4 {root}"
    assert (named_by(text, FOLLOWS), named_by(text, ABANDONS)) == (old.checkpoint, ahead)
    assert read_checkpoint(read_note(second.note.encode()).text).extensions == ()
    assert [(each.origin, each.size) for each in await log.signed()] == [
        (old.origin, 4), ("next.example.com", 8), ("next.example.com", 12),
    ]  # fmt: skip


async def test_a_new_log_of_a_log_that_signed_nothing_follows_its_empty_tree(log: SignedLog) -> None:
    await log.grow()
    async with log.database.transaction(), log.database.raw() as connection:
        followed, abandoned = await checkpoints.begin_log(connection, "next", "why not", [])

    assert (followed.origin, followed.size, abandoned) == (log.key.name, 0, None)


async def test_cosignatures_follow_the_logs_own_signatures(log: SignedLog) -> None:
    await log.grow()
    async with log.signer() as signer:
        signed = await signer.sign()
    assert signed is not None
    async with log.database.raw() as connection:
        for witness, line in (("w2", "— w2 BBBB\n"), ("w1", "— w1 AAAA"), ("w1", "— w1 later")):
            await checkpoints.add_cosignature(connection, signed.origin, signed.size, witness, line)

        note = await published_note(connection, signed.origin)
    assert note == f"{signed.note}— w1 AAAA\n— w2 BBBB\n"


async def test_a_checkpoint_out_of_order_is_refused_by_the_database(log: SignedLog) -> None:
    await log.grow()
    async with log.signer() as signer:
        await signer.sign()
    async with log.database.raw() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="larger than its last one"):
            await connection.execute(checkpoints.ADD, log.key.name, 4, OTHER_ROOT, "")


async def outside_has(log: SignedLog, checkpoint: Checkpoint, key: Signer | None = None) -> None:
    """Appends a copy that `key` has signed, or without it the key of the log."""
    note = sign(checkpoint.to_text(), [key or log.key]).to_bytes().decode()
    await CopiesInFile(log.file).add(checkpoint.origin, checkpoint.size, note)


async def signed_sizes(log: SignedLog, sizes: list[int]) -> bool:
    return [each.size for each in await log.signed()] == sizes


async def copied_sizes(log: SignedLog, sizes: list[int]) -> bool:
    return [each.size for each in copies_in(log.file)] == sizes


async def has_state(database: Database, state: SigningState, detail: str) -> bool:
    status = await checkpoints.signing_status(database)
    return status.state is state and detail in status.detail
