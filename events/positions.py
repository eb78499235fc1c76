"""SQL that reads positions: of an event, and the event at a position.

A full tile (`log_tiles`) holds 256 positions in a row: tile 0 the positions 1 to 256. Positions after the last full
tile are rows of `log_tail`. Positions that were given before tiles existed are rows of `job_event_log_rows` until they
are copied into tiles. In the sealer's cursor (`job_event_log_cursor`), `tiled` is the last position that was copied,
and `rows_to` is the last position that has such a row. At any moment each position stands in exactly one of these
forms.
"""

TILE = 256

OLD_ROWS = "(select tiled from job_event_log_cursor) and position <= (select rows_to from job_event_log_cursor)"


def places(*, after: str, until: str) -> str:
    """Returns an SQL subquery with the columns `position`, `job_id` and `seq`.

    It has the positions after `after`, up to and including `until`.

    `after` and `until` are SQL expressions. `job_id` is null in rows of `log_tail` and in tiles if the
    event was missing when it was copied.
    """
    return f"""(
    select t.tile * {TILE} + u.place as position, u.job_id, u.seq
    from log_tiles t cross join lateral unnest(t.job_ids, t.seqs) with ordinality as u(job_id, seq, place)
    where t.tile between {after} / {TILE} and ({until} - 1) / {TILE}
    and t.tile * {TILE} + u.place > {after} and t.tile * {TILE} + u.place <= {until}
    union all
    select position, job_id, seq from log_tail where position > {after} and position <= {until}
    union all
    select o.position, e.job_id, e.seq
    from job_event_log_rows o left join lateral (select job_id, seq from job_events where event_id = o.event_id offset 0) e on true
    where o.position > {after} and o.position <= {until} and o.position > {OLD_ROWS}
)"""


# Within an epoch, tiles and the events in them are in the order (xid, event_id). So the tile of an event is the last one whose
# first event is not after it. There are few epochs: one, and one more for each restore into another cluster. Events of tiles
# that are not in this order are in `log_strays`.
POSITION = f"""coalesce(
    (select r.position from log_tail r where r.job_id = e.job_id and r.seq = e.seq),
    (
        select t.tile * {TILE} + u.place
        from generate_series((select epoch from job_event_log_cursor), (select min(epoch) from log_tiles), -1) as known(epoch)
        cross join lateral (
            select tile, job_ids, seqs from log_tiles
            where epoch = known.epoch and (xid, event_id) <= (e.xid, e.event_id)
            order by xid desc, event_id desc
            limit 1
        ) as t
        cross join lateral unnest(t.job_ids, t.seqs) with ordinality as u(job_id, seq, place)
        where u.job_id = e.job_id and u.seq = e.seq
        limit 1
    ),
    (select s.position from log_strays s where s.event_id = e.event_id),
    (select o.position from job_event_log_rows o where o.event_id = e.event_id and o.position > {OLD_ROWS})
)"""
"""The position of the row `e` of `job_events`, or null, as an SQL expression."""

LAST_POSITION = "select coalesce((select position from job_event_log_cursor), 0)"
