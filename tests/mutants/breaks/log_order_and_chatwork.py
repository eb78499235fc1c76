"""Breaks of the sealer, of Chatwork's request budget, and of reading Chatwork's answers."""

from tests.mutants.breaks.edit import TILES, Break, Edit

BREAKS = (
    Break(
        "a reader of the log skips a range that was empty before it asked for the last position",
        "events that get their positions between the two statements are never seen",
        (
            Edit(
                "events/history.py",
                """while not (rows := await self._database.fetch_all(LOG, {"after": after, "limit": limit})) """
                """and after + limit < last:
                after += limit""",
                """while not rows and after + limit < last:
                after += limit
                rows = await self._database.fetch_all(LOG, {"after": after, "limit": limit})""",
            ),
        ),
        ("tests/projections/test_seal.py::test_readers_miss_nothing_while_writers_commit_in_any_order_and_sealers_take_turns",),
    ),
    Break(
        "the sealer passes a running transaction",
        "an event that commits late gets a position that readers have already passed",
        (Edit(TILES, " and e.xid < pg_snapshot_xmin(pg_current_snapshot())", ""),),
        ("tests/projections/test_seal.py::test_an_event_that_commits_late_is_never_skipped",),
    ),
    Break(
        "the sealer forgets the floor of its epoch",
        "events that were sealed in another cluster are sealed again when transaction ids pass the ids of that cluster",
        (Edit(TILES, "and e.event_id > $5::bigint", "and e.event_id > least($5::bigint, 0)"),),
        ("tests/projections/test_tiles.py::test_a_restored_log_goes_on_as_a_new_epoch_and_loses_nothing",),
    ),
    Break(
        "a new epoch begins while appends are under way",
        "an event that commits later has an id at or below the floor, and never gets a position",
        (Edit(TILES, "; select lock_appends_out()", ""),),
        ("tests/projections/test_seal.py::test_transactions_that_run_during_the_first_seal_after_a_restore_are_not_skipped",),
    ),
    Break(
        "events that were written in a new cluster before its first seal are left out",
        "these events have ids at or below the floor, and never get a position",
        (Edit(TILES, "        select * from job_events where event_id > c.largest\n        union all\n", ""),),
        ("tests/projections/test_tiles.py::test_a_restored_log_goes_on_as_a_new_epoch_and_loses_nothing",),
    ),
    Break(
        "a tile with events of two epochs counts as a tile of the first epoch",
        "the positions of the tile's later events are not found from the events",
        (
            Edit(
                TILES,
                "case when count(epoch) = {WIDTH} and min(epoch) = max(epoch) then",
                "case when true then",
            ),
        ),
        ("tests/projections/test_tiles.py::test_a_log_that_was_restored_twice_finds_every_position",),
    ),
    Break(
        "rows of the version before are read beside the tiles into which they were copied",
        "a reader of the log sees the copied events twice",
        (Edit("events/positions.py", "(select tiled from job_event_log_cursor) and position <=", "0 and position <="),),
        ("tests/projections/test_move_to_tiles.py::test_no_position_changes_before_while_and_after_the_rows_are_copied",),
    ),
    Break(
        "the sealer of the version before may move the cursor",
        "the events that this sealer passed never get a position",
        (Edit("migrations/versions/0015_tiles.py", "    if new.turn = old.turn then\n", "    if false then\n"),),
        ("tests/projections/test_move_to_tiles.py::test_the_sealer_of_the_version_before_changes_nothing_and_fails_nowhere",),
    ),
    Break(
        "a permit counts only for the window, without the seconds until it lapses",
        "with permits that are used at the last moment, Chatwork gets too many requests within five minutes",
        (Edit("workers/chatwork/rate_limit.py", "timedelta(seconds=window + lapse + slack)", "timedelta(seconds=window)"),),
        ("tests/workers/chatwork/test_rate_limit.py::test_permits_that_are_used_at_the_last_moment_do_not_exceed_the_limit",),
    ),
    Break(
        "a permit is not checked again after its connection was made",
        "requests whose connections were slow reach Chatwork together with those of the next window",
        (Edit("workers/chatwork/client.py", '.started") and permit.has_lapsed:', '.started") and False:'),),
        ("tests/workers/chatwork/test_client.py::test_a_permit_that_lapsed_while_the_connection_was_made_is_not_used",),
    ),
    Break(
        "an unreadable message is dropped without a record",
        "a message is lost, and after the next good sync no record says so",
        (Edit("workers/chatwork/messages.py", "    await store_unreadable(database, {room_id: answer.unreadable})\n", ""),),
        (
            "tests/workers/chatwork/test_odd_messages.py::test_the_error_of_a_room_stays_after_good_syncs_until_a_person_confirms_it",
        ),
    ),
    Break(
        "an answer of 100 messages is taken for complete",
        "70 of 170 new messages are missing, and no gap is recorded",
        (
            Edit(
                "workers/chatwork/gaps.py", "nothing_to_tell = not answer.is_full or stored.overlaps", "nothing_to_tell = True"
            ),
        ),
        ("tests/workers/chatwork/test_gaps.py::test_170_messages_since_the_last_sync_leave_a_gap",),
    ),
    Break(
        "a draft mentions only the gaps that were known when it was made",
        "an older draft is shown as complete although a gap was found since",
        (Edit("workers/summaries/drafts.py", "with_gap_note(self.content, self.incomplete_rooms)", "self.content"),),
        ("tests/workers/summaries/test_incomplete_drafts.py::test_an_older_draft_gets_a_note_when_a_gap_is_found",),
    ),
)
