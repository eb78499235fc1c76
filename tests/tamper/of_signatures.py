"""Checkpoints, the log's origin, and notes about erased data: forged, edited, or set back."""

import hashlib
from datetime import UTC, datetime

from projections.proof.checkpoint import Checkpoint
from projections.proof.redaction import Redaction
from projections.proof.signed_note import new_signer, sign
from tests.tamper.hand import Hand
from tests.tamper.of_events import changed_and_sealed_again, the_tail_removed_with_its_checkpoints
from tests.tamper.world import ORIGIN, sign_checkpoint

ONE = "select origin, size, root, note from checkpoints order by size"


async def a_root_edited(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(ONE))
    await hand.execute("update checkpoints set root = $2 where size = $1", found["size"], hand.chance.randbytes(32))


async def a_size_edited(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(ONE))
    await hand.execute("update checkpoints set size = size + 1 where size = $1", found["size"])


async def a_note_edited(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(ONE))
    forged = Checkpoint(found["origin"], found["size"], hand.chance.randbytes(32)).to_text()
    note = forged + found["note"].partition("\n\n")[1].removeprefix("\n") + found["note"].partition("\n\n")[2]
    await hand.execute("update checkpoints set note = $2 where size = $1", found["size"], note)


async def a_signature_removed(hand: Hand) -> None:
    found = hand.chance.choice(await hand.connection.fetch(ONE))
    await hand.execute(
        "update checkpoints set note = $2 where size = $1", found["size"], found["note"].partition("\n\n")[0] + "\n"
    )


async def signed_again_by_another_key(hand: Hand) -> None:
    """Changes an event, computes the tree again, and signs it with another key of the log's name."""
    await changed_and_sealed_again(hand)
    await hand.forget_checkpoints()
    await sign_checkpoint(hand.connection, new_signer(await hand.connection.fetchval(ORIGIN)))


async def checkpoints_set_back(hand: Hand) -> None:
    sizes = [row["size"] for row in await hand.connection.fetch(ONE)]
    await hand.forget_checkpoints(hand.chance.choice([0, *sizes[:-1]]))


async def the_origin_renamed(hand: Hand) -> None:
    """Renames the log in all tables, but cannot rename it in the signed notes."""
    await hand.execute("update log_origins set origin = 'rireki/another'")
    await hand.execute("update checkpoints set origin = 'rireki/another'")


async def a_later_log_invented(hand: Hand) -> None:
    """Cuts off the tail with its checkpoints, and invents a new log to explain the missing events."""
    await the_tail_removed_with_its_checkpoints(hand)
    await hand.execute(
        """
        insert into log_origins (number, origin, reason, old_origin, old_size, old_root)
        select 2, 'rireki/later', 'a restore', origin, 0, sha256('') from log_origins where number = 1
        """
    )
    await sign_checkpoint(hand.connection, new_signer("rireki/later"), origin="rireki/later")


async def erased_with_a_forged_note(hand: Hand) -> None:
    event = await hand.event("type = 'completed'")
    left = b'{"result":null}'
    await hand.edit(event, "data = $3, salt = decode(repeat('00', 16), 'hex')", left.decode())
    await hand.fit_view(event["job_id"])
    origin = await hand.connection.fetchval(ORIGIN)
    redaction = Redaction(
        origin, event["position"], hand.chance.randbytes(32), hashlib.sha256(left).digest(), "user:x", datetime.now(UTC)
    )
    note = sign(redaction.to_text(), [new_signer(origin)]).to_bytes().decode()
    await hand.execute("insert into redactions (position, note) values ($1, $2)", event["position"], note)


async def changed_under_the_note_of_another_event(hand: Hand) -> None:
    """Keeps a genuine note, and moves it to another event."""
    event, other = await hand.event("type = 'completed' and position < 300"), await hand.event("position > 300")
    left = b'{"result":null}'
    origin = await hand.connection.fetchval(ORIGIN)
    redaction = Redaction(
        origin, other["position"], hand.chance.randbytes(32), hashlib.sha256(left).digest(), "user:x", datetime.now(UTC)
    )
    note = sign(redaction.to_text(), [hand.world.signer]).to_bytes().decode()
    await hand.edit(event, "data = $3, salt = decode(repeat('00', 16), 'hex')", left.decode())
    await hand.fit_view(event["job_id"])
    await hand.execute("insert into redactions (position, note) values ($1, $2)", event["position"], note)
