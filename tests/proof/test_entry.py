"""The entry of an event is unambiguous, and PostgreSQL computes the same bytes as Python."""

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.database import Connection
from projections.proof.entry import (
    ENTRY,
    EPOCH,
    LEAF,
    LONGEST_TEXT,
    MOST_BYTES,
    BadEntry,
    Entry,
    LongText,
    data_hash,
    read_entry,
)
from projections.proof.merkle import leaf_hash
from projections.proof.tiles import LONGEST_ENTRY
from tests.projections.conftest import superuser

__all__ = ["superuser"]

JOB = UUID("01990000-0000-7000-8000-000000000001")
AT = 1_795_000_000_123_456
EXAMPLE = Entry(JOB, 1, 1, "queued", "user:1", None, "", AT, data_hash(bytes(16), b"{}"))

numbers = st.integers(-(2**31), 2**31 - 1)
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
entries = st.builds(
    Entry, st.uuids(), numbers, numbers, texts, texts, texts, texts,
    st.integers(-(2**62), 2**62), st.binary(min_size=32, max_size=32),
)  # fmt: skip


@given(entries)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert read_entry(entry.to_bytes()) == entry


@given(entries, entries)
def test_two_events_never_have_the_same_entry(one: Entry, other: Entry) -> None:
    assert (one.to_bytes() == other.to_bytes()) == (one == other)


@given(st.text("ab", max_size=4), st.text("ab", max_size=4))
def test_texts_side_by_side_are_not_mixed_up(one: str, other: str) -> None:
    first = replace(EXAMPLE, request_id=one, cause=other).to_bytes()

    assert other == "" or first != replace(EXAMPLE, request_id=one + other, cause="").to_bytes()
    assert first != replace(EXAMPLE, request_id=one, cause=None).to_bytes()


def test_no_text_and_an_empty_text_differ() -> None:
    assert EXAMPLE.request_id is None
    assert EXAMPLE.cause == ""
    assert read_entry(EXAMPLE.to_bytes()) == EXAMPLE


def test_the_longest_entry_fits_into_a_bundle() -> None:
    text = "x" * LONGEST_TEXT
    longest = Entry(JOB, 1, 1, text, text, text, text, AT, bytes(32)).to_bytes()

    assert len(longest) == MOST_BYTES
    assert MOST_BYTES < LONGEST_ENTRY


def test_a_longer_text_enters_as_its_length_and_hash() -> None:
    entry = read_entry(Entry(JOB, 1, 1, "queued", "é" * 5000, None, None, AT, bytes(32)).to_bytes())

    assert isinstance(entry.actor, LongText)
    assert entry.actor.length == 10_000
    assert entry == read_entry(entry.to_bytes())


GOOD = EXAMPLE.to_bytes()
SHORT_LONG = GOOD[:25] + b"\x02" + (8192).to_bytes(8, "big") + bytes(32) + GOOD[34:]
LONG_SHORT = GOOD[:25] + b"\x01" + (8193).to_bytes(2, "big") + b"x" * 8193 + GOOD[34:]
BROKEN = {
    "nothing": b"",
    "another format": b"\x02" + GOOD[1:],
    "a byte more": GOOD + b"\x00",
    "an unknown kind of text": GOOD[:25] + b"\x03" + GOOD[26:],
    "no UTF-8": GOOD.replace(b"queued", b"\xff\xfeeued"),
    "a short text as a hash": SHORT_LONG,
    "a long text as it is": LONG_SHORT,
    "much": bytes(MOST_BYTES + 1),
}


@pytest.mark.parametrize("what", BROKEN)
def test_bytes_that_are_no_entry_are_refused(what: str) -> None:
    with pytest.raises(BadEntry):
        read_entry(BROKEN[what])


@given(st.integers(0, len(GOOD) - 1))
def test_an_entry_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(BadEntry):
        read_entry(GOOD[:length])


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_nothing_else(data: bytes) -> None:
    for hostile in (data, GOOD[:25] + data):
        with contextlib.suppress(BadEntry):
            assert read_entry(hostile).to_bytes() == hostile


INSERT = """
insert into job_events (job_id, seq, attempt, type, data, salt, actor, request_id, cause, at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
READ = f"select {ENTRY} as entry, {LEAF} as leaf from job_events e where job_id = $1 and seq = $2"

ACTORS = ["user:1", "worker:働き手", "system:" + "x" * (LONGEST_TEXT - 7), "system:" + "é" * LONGEST_TEXT]
CAUSES = [None, "", "schedule:毎日/2026-11-30T09:00:00Z", "x" * LONGEST_TEXT, "x" * (LONGEST_TEXT + 1)]
DATA = [
    b"{}",
    b'{"a":  1, "a": 2}',
    b'{"reason":"\\u0000 \xe5\xb1\xa5\xe6\xad\xb4\\\\x00"}',
    b'{"x":"' + b"y" * 100_000 + b'"}',
]
TIMES = [
    datetime(2026, 11, 30, 9, 0, 0, 123456, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(9000, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


async def test_postgresql_computes_the_same_entries_and_leaves(superuser: Connection) -> None:
    seq = 0
    for data in DATA:
        for at in TIMES:
            for actor in ACTORS:
                for cause in CAUSES:
                    seq += 1
                    salt = (seq * 7919).to_bytes(16, "big")
                    kind = "queued" if seq % 2 else "progress"
                    await superuser.execute(
                        INSERT, str(JOB), seq, seq + 3, kind, data.decode(), salt, actor, cause, CAUSES[seq % 5], at
                    )
                    row = await superuser.fetchrow(READ, str(JOB), seq)
                    assert row is not None

                    micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
                    entry = Entry(JOB, seq, seq + 3, kind, actor, cause, CAUSES[seq % 5], micros, data_hash(salt, data))
                    assert row["entry"] == entry.to_bytes()
                    assert row["leaf"] == leaf_hash(entry.to_bytes())

    assert seq == 320


async def test_every_time_that_postgresql_can_hold_has_an_entry(superuser: Connection) -> None:
    times = ["-infinity", "infinity", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999"]
    for seq, at in enumerate(times, 1):
        await superuser.execute(
            "insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)"
            f" values ($1, $2, 1, 'queued', '{{}}', $3, 'user:1', '{at}')",
            str(JOB), seq, bytes(16),
        )  # fmt: skip

    found = [read_entry(await superuser.fetchval(READ, str(JOB), seq)).at for seq in (1, 2, 3, 4)]

    assert found[0] == -(2**63) + EPOCH
    assert found[1] == 2**63 - 1 + EPOCH
    assert found[0] < found[2] < 0 < found[3] < found[1]


async def test_the_entry_does_not_depend_on_the_settings_of_a_session(superuser: Connection) -> None:
    await superuser.execute(
        INSERT, str(JOB), 1, 1, "queued", '{"a": "é"}', bytes(16), "worker:é", None, None, TIMES[0]
    )  # fmt: skip
    before = await superuser.fetchrow(READ, str(JOB), 1)

    for setting in ("timezone = 'Asia/Tokyo'", "datestyle = 'German'", "bytea_output = 'escape'", "extra_float_digits = 0"):
        await superuser.execute(f"set {setting}")
        assert await superuser.fetchrow(READ, str(JOB), 1) == before


async def test_an_event_of_a_log_has_the_entry_of_what_is_stored(superuser: Connection) -> None:
    data = orjson.dumps({"result": None}).decode()
    await superuser.execute(INSERT, str(JOB), 2, 1, "progress", data, bytes(range(16)), "worker:w", "r", "c", TIMES[0])
    row = await superuser.fetchrow(READ, str(JOB), 2)
    assert row is not None

    entry = read_entry(row["entry"])

    assert (entry.job_id, entry.seq, entry.type, entry.actor, entry.request_id) == (JOB, 2, "progress", "worker:w", "r")
    assert entry.data_hash == data_hash(bytes(range(16)), data.encode())
