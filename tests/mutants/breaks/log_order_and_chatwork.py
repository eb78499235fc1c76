"""Breaks of the order of the log, the request budget, and Chatwork's answers."""

from tests.mutants.breaks.edit import SEAL, Break, Edit

BREAKS = (
    Break(
        "sealing past a running transaction",
        "an event that commits late gets a position that every reader has passed already",
        (Edit(SEAL, " and e.xid < pg_snapshot_xmin(pg_current_snapshot())", ""),),
        ("tests/projections/test_seal.py::test_an_event_that_commits_late_is_never_skipped",),
    ),
    Break(
        "a permit counts for the window alone",
        "permits that are used at the last moment come too many to Chatwork within five minutes",
        (Edit("workers/chatwork/rate_limit.py", "timedelta(seconds=window + lapse + slack)", "timedelta(seconds=window)"),),
        ("tests/workers/chatwork/test_rate_limit.py::test_permits_that_are_used_at_the_last_moment_do_not_exceed_it_either",),
    ),
    Break(
        "a permit is good while its connection is made",
        "requests whose connections were slow come to Chatwork together with those of the next window",
        (Edit("workers/chatwork/client.py", '.started") and permit.has_lapsed:', '.started") and False:'),),
        ("tests/workers/chatwork/test_client.py::test_a_permit_that_lapsed_while_the_connection_was_made_is_not_used",),
    ),
    Break(
        "what cannot be read is left out in silence",
        "a message is lost, and the next good sync leaves no trace of it",
        (Edit("workers/chatwork/messages.py", "    await store_unreadable(database, {room_id: answer.unreadable})\n", ""),),
        ("tests/workers/chatwork/test_odd_messages.py::test_the_error_outlives_good_syncs_and_goes_when_a_person_has_seen_it",),
    ),
    Break(
        "a full answer is taken for all that there is",
        "of 170 new messages 70 are missing, and nothing says so",
        (
            Edit(
                "workers/chatwork/gaps.py", "nothing_to_tell = not answer.is_full or stored.overlaps", "nothing_to_tell = True"
            ),
        ),
        ("tests/workers/chatwork/test_gaps.py::test_170_messages_since_the_last_sync_leave_a_gap",),
    ),
    Break(
        "a draft knows only the gaps of the moment it was made in",
        "an older draft is answered again as if it were complete",
        (Edit("workers/summaries/drafts.py", "with_gap_note(self.content, self.incomplete_rooms)", "self.content"),),
        ("tests/workers/summaries/test_incomplete_drafts.py::test_a_draft_made_before_its_gap_was_found_says_so_from_then_on",),
    ),
)
