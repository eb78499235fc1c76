"""Tiles, the tail and the sealer's cursor: forged, removed, or moved."""

from projections import tiles
from tests.tamper.hand import Hand

SWAP_IN_TILE = """
update log_tiles t set job_ids = a.job_ids, seqs = a.seqs, leaves = a.leaves
from (
    select array_agg(u.job_id order by o.place) as job_ids, array_agg(u.seq order by o.place) as seqs,
        string_agg(substr(s.leaves, (case when $4::bool then o.from_place else o.place end - 1) * 32 + 1, 32), ''::bytea
            order by o.place) as leaves
    from log_tiles s
    cross join lateral (
        select place, case place when $2::int then $3::int when $3 then $2 else place end as from_place
        from generate_series(1, 256) as place
    ) as o
    join lateral unnest(s.job_ids, s.seqs) with ordinality as u(job_id, seq, place) on u.place = o.from_place
    where s.tile = $1
) as a
where t.tile = $1
"""
NEW_ROOT = f"update log_tiles f set root = {tiles.ROOT} where tile = $1"


async def _places(hand: Hand) -> tuple[int, int, int]:
    one, other = hand.chance.sample(range(1, 257), 2)
    return await _tile(hand), one, other


async def _tile(hand: Hand) -> int:
    numbers = await hand.connection.fetch("select tile from log_tiles")
    number: int = hand.chance.choice(numbers)["tile"]
    return number


async def two_events_swapped(hand: Hand) -> None:
    """Exchanges two events with their leaves, and computes the root of the tile again."""
    tile, one, other = await _places(hand)
    await hand.execute(SWAP_IN_TILE, tile, one, other, True)
    await hand.execute(NEW_ROOT, tile)


async def two_events_swapped_without_their_leaves(hand: Hand) -> None:
    await hand.execute(SWAP_IN_TILE, *await _places(hand), False)


async def two_rows_of_the_tail_swapped(hand: Hand) -> None:
    one, other = hand.chance.sample(
        [row["position"] for row in await hand.connection.fetch("select position from log_tail")], 2
    )
    await hand.execute(
        "update log_tail set position = case position when $1::bigint then -1 else -2 end where position in ($1, $2::bigint)",
        one,
        other,
    )
    await hand.execute(
        "update log_tail set position = case position when -1 then $2::bigint else $1::bigint end where position < 0",
        one,
        other,
    )


async def a_leaf_forged(hand: Hand) -> None:
    tile, place, _ = await _places(hand)
    await hand.execute(
        "update log_tiles set leaves = overlay(leaves placing $3 from $2) where tile = $1",
        tile, (place - 1) * 32 + 1, hand.chance.randbytes(32),
    )  # fmt: skip


async def a_root_forged(hand: Hand) -> None:
    await hand.execute("update log_tiles set root = $2 where tile = $1", await _tile(hand), hand.chance.randbytes(32))


async def a_tile_removed(hand: Hand) -> None:
    await hand.execute("delete from log_tiles where tile = $1", await _tile(hand))


async def a_row_of_the_tail_removed(hand: Hand) -> None:
    last = await hand.last_position()
    await hand.execute("delete from log_tail where position = $1", hand.chance.randrange(last // 256 * 256 + 1, last))


async def an_upper_tile_added(hand: Hand) -> None:
    await hand.execute(
        "insert into log_upper_tiles (level, tile, hashes, root) values (1, $1, $2, $3)",
        hand.chance.randrange(5), hand.chance.randbytes(8192), hand.chance.randbytes(32),
    )  # fmt: skip


async def a_position_doubled(hand: Hand) -> None:
    await hand.execute(
        "insert into log_tail (position, job_id, seq, leaf) select $2, job_ids[1], seqs[1], substr(leaves, 1, 32) from log_tiles"
        " where tile = $1",
        await _tile(hand), hand.chance.randrange(1, 257),
    )  # fmt: skip


async def the_cursor_set_back(hand: Hand) -> None:
    await hand.execute("update job_event_log_cursor set position = position - $1", hand.chance.randrange(1, 600))


async def the_cursor_set_forward(hand: Hand) -> None:
    await hand.execute("update job_event_log_cursor set position = position + $1", hand.chance.randrange(1, 10**6))


async def the_cursor_names_an_earlier_event(hand: Hand) -> None:
    event = await hand.event("position < (select count(*) from job_events)")
    await hand.execute(
        "update job_event_log_cursor set (xid, event_id) = (select xid, event_id from job_events where job_id = $1 and seq = $2)",
        event["job_id"], event["seq"],
    )  # fmt: skip


async def the_cursor_names_a_later_event(hand: Hand) -> None:
    await hand.execute("update job_event_log_cursor set event_id = event_id + $1", hand.chance.randrange(1, 10**6))


async def the_cursor_removed(hand: Hand) -> None:
    await hand.execute("delete from job_event_log_cursor")
