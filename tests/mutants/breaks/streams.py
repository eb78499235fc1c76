"""Breaks of what clients are sent for a long time, and of the record of access."""

from tests.mutants.breaks.edit import Break, Edit

BREAKS = (
    Break(
        "a stream without changes is never told its position",
        "a client that was quiet for a day resumes from too far back and fetches everything again",
        (Edit("service/live/changes_feed.py", "everybody=looks % IDLE_LOOKS == 0", "everybody=False"),),
        ("tests/api/test_changes_stream.py::test_a_stream_that_gets_no_change_is_told_the_position_too",),
    ),
    Break(
        "a history that is read in parts waits after each part",
        "a client gets the history of a long job within minutes instead of at once",
        (Edit("service/api/job_streams.py", "if piece.more:", "if False:"),),
        ("tests/api/test_long_streams.py::test_a_history_that_is_read_in_parts_is_sent_whole_and_ends",),
    ),
    Break(
        "the system's buffer of a connection has no limit of its own",
        "a thousand clients that do not read take gigabytes",
        (Edit("service/http/protocol.py", "        hold_little(transport)\n", ""),),
        ("tests/api/test_slow_readers.py::test_little_is_held_for_a_client_that_reads_nothing",),
    ),
    Break(
        "an export ends as if it were whole when the process stops",
        "somebody archives a part of the log as the whole log",
        (Edit("service/api/log.py", 'raise ExportBroken("the process stops")', "return"),),
        ("tests/api/test_broken_exports.py::test_an_export_breaks_off_when_the_process_stops",),
    ),
    Break(
        "a link between a room and a company is not on record",
        "nobody can say who gave a customer's messages to another company",
        (
            Edit(
                "service/api/companies.py",
                'await call.record(Action.LINK_ROOM, f"company:{company_id} room:{room.room_id}")',
                "pass",
            ),
        ),
        ("tests/api/test_who_may.py::test_every_change_that_an_admin_makes_is_on_record_or_an_event_of_the_log",),
    ),
)
