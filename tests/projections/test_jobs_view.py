"""Every filter, page and count of the jobs view gives what a full scan gives."""

import base64
import itertools
import random
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import orjson
import pytest

from events.bus import Change
from events.database import Connection, Database
from events.job import ENDED, Job, JobError, Status
from events.statements import JOB_COLUMNS
from events.store import Store
from projections.jobs import BadCursor, Due, JobFilter, JobsView, Page
from tests.histories import ALICE, BOB, canceling, completing, failing, new, starting

STRANGER = "33333333-3333-4333-8333-333333333333"
TYPES = ["messages", "rooms", "summary"]
BASE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MANY = 300


@pytest.fixture
def view(database: Database) -> JobsView:
    return JobsView(database)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def random_job(chance: random.Random) -> Job:
    """Makes a random job.

    Its time is one of a few times, so that many jobs have the same time.
    """
    status = chance.choice(list(Status))
    at = BASE + timedelta(seconds=chance.randrange(40), microseconds=chance.choice([0, 1]))
    started = status is Status.PROCESSING
    ended = status in (Status.COMPLETED, Status.FAILED, Status.CANCELED)
    attempt = chance.randint(1, 3)
    return Job(
        id=str(uuid.UUID(int=chance.getrandbits(128))),
        type=chance.choices(TYPES, [10, 5, 1])[0],
        status=status,
        payload={"n": chance.random(), "部屋": ["1", None]},
        result=chance.choice([None, {"done": 1}, [], 0, False, ""]) if status is not Status.QUEUED else None,
        error=JobError("E", "m", chance.choice([None, "stack"])) if status is Status.FAILED else None,
        user_id=chance.choice([ALICE, BOB, None]),
        attempt=attempt,
        max_attempts=attempt + chance.randint(0, 2),
        worker="w1" if started else None,
        seq=chance.randint(1, 9),
        run_at=at + timedelta(seconds=chance.randint(0, 9)),
        started_at=at if started or ended else None,
        finished_at=at + timedelta(seconds=1) if ended else None,
        created_at=at,
        updated_at=at + timedelta(seconds=2),
    )


async def show(connection: Connection, jobs: list[Job]) -> None:
    """Inserts jobs into the view without the log."""

    def text(value: object) -> str | None:
        return None if value is None else orjson.dumps(value).decode()

    rows = [
        (
            job.id, job.type, job.status, text(job.payload), text(job.result), text(job.error and job.error.to_json()),
            job.user_id, job.attempt, job.max_attempts, job.worker, job.seq, job.run_at, job.started_at, job.finished_at,
            job.created_at, job.updated_at,
        )
        for job in jobs
    ]  # fmt: skip
    await connection.copy_records_to_table("jobs", records=rows, columns=JOB_COLUMNS.split(", "))


@pytest.fixture
async def jobs(connection: Connection) -> list[Job]:
    chance = random.Random(20261123)
    jobs = [random_job(chance) for _ in range(MANY)]
    await show(connection, jobs)
    return jobs


def looked_for(jobs: list[Job], wanted: JobFilter) -> list[Job]:
    """Returns the jobs that a filter should find, by a full scan in Python."""
    found = [
        job
        for job in jobs
        if (wanted.type is None or job.type == wanted.type)
        and (wanted.status is None or job.status == wanted.status)
        and (wanted.user_id is None or job.user_id == wanted.user_id)
        and (wanted.created_after is None or job.created_at > wanted.created_after)
        and (wanted.created_before is None or job.created_at < wanted.created_before)
    ]
    return sorted(found, key=lambda job: (job.created_at, job.id), reverse=True)


async def all_pages(view: JobsView, wanted: JobFilter, limit: int) -> list[list[Job]]:
    page = await view.page(wanted, limit=limit)
    pages = [page.jobs]
    while page.next_cursor is not None:
        page = await view.page(wanted, limit=limit, cursor=page.next_cursor)
        pages.append(page.jobs)
    return pages


SOME_TIME = BASE + timedelta(seconds=20)
WINDOWS: list[tuple[datetime | None, datetime | None]] = [
    (None, None),
    (SOME_TIME, None),
    (None, SOME_TIME),
    (BASE + timedelta(seconds=10, microseconds=1), SOME_TIME),
    (SOME_TIME, SOME_TIME),
    (SOME_TIME, BASE),
    (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
]


@pytest.mark.parametrize("window", range(len(WINDOWS)))
async def test_every_combination_of_filters_pages_through_the_same_jobs_as_a_full_scan(
    view: JobsView, jobs: list[Job], window: int
) -> None:
    chance = random.Random(window)
    after, before = WINDOWS[window]
    types, statuses, users = [None, *TYPES, "unknown"], [None, *Status], [None, ALICE, BOB, STRANGER]

    for type, status, user_id in itertools.product(types, statuses, users):
        wanted = JobFilter(type, status, user_id, after, before)
        limit = chance.choice([7, 20, 100])
        expected = looked_for(jobs, wanted)

        pages = await all_pages(view, wanted, limit)

        assert [job for page in pages for job in page] == expected, wanted
        assert all(len(page) == limit for page in pages[:-1]), wanted
        assert len(pages) == max(1, -(-len(expected) // limit)), wanted


@pytest.mark.parametrize("wanted", [JobFilter(), JobFilter(type="rooms"), JobFilter(user_id=ALICE)])
async def test_jobs_of_the_same_time_are_on_one_page_each(view: JobsView, connection: Connection, wanted: JobFilter) -> None:
    made = [str(uuid.UUID(int=n << 64 | n)) for n in range(1, 24)]
    await connection.executemany(
        """
        insert into jobs (id, type, status, payload, user_id, attempt, max_attempts, seq, run_at, created_at, updated_at)
        values ($1, 'rooms', 'queued', '{}', $2, 1, 1, 1, $3, $3, $3)
        """,
        [(id, ALICE, BASE) for id in made],
    )

    for limit in (1, 2, 5, 22, 23, 24):
        pages = await all_pages(view, wanted, limit)

        assert [job.id for page in pages for job in page] == list(reversed(made))


async def test_a_full_last_page_has_no_next_page(view: JobsView, jobs: list[Job]) -> None:
    page = await view.page(JobFilter(), limit=MANY)

    assert len(page.jobs) == MANY
    assert page.next_cursor is None


async def test_new_jobs_do_not_shift_the_pages(view: JobsView, store: Store) -> None:
    old = [await store.create(new(), actor="user:x") for _ in range(4)]
    first = await view.page(JobFilter(), limit=2)

    await store.create(new(), actor="user:x")
    await store.append(old[0], starting(), actor="worker:w1")
    second = await view.page(JobFilter(), limit=2, cursor=first.next_cursor)

    assert [job.id for job in first.jobs + second.jobs] == [job.id for job in reversed(old)]
    assert second.next_cursor is None


async def test_an_empty_view_gives_one_empty_page(view: JobsView) -> None:
    for wanted in (JobFilter(), JobFilter(type="rooms"), JobFilter(status=Status.FAILED), JobFilter(user_id=ALICE)):
        assert await view.page(wanted, limit=20) == Page([], None)


def cursor_of(text: str | bytes) -> str:
    return base64.urlsafe_b64encode(text if isinstance(text, bytes) else text.encode()).decode().rstrip("=")


GARBAGE = [
    "",
    " ",
    "x",
    "!!!!",
    "=",
    "====",
    "ジョブ",
    "\x00",
    "a" * 10_000,
    cursor_of(""),
    cursor_of(b"\xff\xfe\x00"),
    cursor_of("2026-11-23T09:00:00+00:00"),
    cursor_of(f"2026-11-23T09:00:00+00:00 {BOB} more"),
    cursor_of(f" {BOB}"),
    cursor_of(f"yesterday {BOB}"),
    cursor_of(f"2026-11-23T09:00:00 {BOB}"),
    cursor_of("2026-11-23T09:00:00+00:00 1"),
    cursor_of("2026-11-23T09:00:00+00:00 not-a-uuid"),
    cursor_of(f"2026-13-23T09:00:00+00:00 {BOB}"),
    cursor_of(f"0001-01-01T00:00:00+14:00 {BOB}"),
    cursor_of(f"9999-12-31T23:59:59-14:00 {BOB}"),
]


async def test_a_foreign_cursor_is_refused(view: JobsView) -> None:
    for cursor in GARBAGE:
        with pytest.raises(BadCursor):
            await view.page(JobFilter(), limit=2, cursor=cursor)


async def test_a_cursor_is_safe_in_an_address(view: JobsView, jobs: list[Job]) -> None:
    page = await view.page(JobFilter(), limit=7)

    assert page.next_cursor is not None
    assert set(page.next_cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


async def test_get_returns_the_job_with_all_its_fields(view: JobsView, jobs: list[Job]) -> None:
    for job in jobs[:50]:
        assert await view.get(job.id) == job
        assert await view.get(job.id.upper()) == job
    assert await view.get(STRANGER) is None


async def test_get_many_returns_the_existing_jobs_of_the_ids(view: JobsView, jobs: list[Job]) -> None:
    wanted = jobs[:20]

    got = await view.get_many([STRANGER, *(job.id for job in wanted)])

    assert sorted(got, key=lambda job: job.id) == sorted(wanted, key=lambda job: job.id)
    assert await view.get_many([]) == []


async def test_the_view_shows_the_jobs_that_the_store_wrote(view: JobsView, store: Store) -> None:
    job = await store.create(new(payload={"部屋": "😀", "deep": [[{}]], "big": 2**53, "none": None}), actor="user:x")
    job = await store.append(job, starting(), actor="worker:w1")
    job = await store.append(job, completing({"n": 0.1, "empty": ""}), actor="worker:w1")

    assert await view.get(job.id) == job
    assert (await view.page(JobFilter(), limit=1)).jobs == [job]


async def test_jobs_are_counted_by_type_and_status(view: JobsView, jobs: list[Job]) -> None:
    expected: dict[str, dict[Status, int]] = {}
    for job in jobs:
        of_type = expected.setdefault(job.type, {})
        of_type[job.status] = of_type.get(job.status, 0) + 1
    capped = {
        type: {status: min(count, 9) if status in ENDED else count for status, count in of_type.items()}
        for type, of_type in expected.items()
    }

    assert await view.counts(most=1000) == expected
    assert await view.counts(most=9) == capped != expected


async def test_every_type_is_named_once(view: JobsView, jobs: list[Job]) -> None:
    assert sorted(await view.types()) == TYPES


async def test_an_empty_view_has_no_types_and_no_counts(view: JobsView) -> None:
    assert await view.types() == []
    assert await view.counts(most=10) == {}


async def test_due_attempts_are_returned_longest_waiting_first(view: JobsView, store: Store, connection: Connection) -> None:
    made = [await store.create(new(), actor="user:x") for _ in range(6)]
    now = await connection.fetchval("select now()")
    minutes = [-1, -3, -2, 60, -9, -5]
    for job, late in zip(made, minutes, strict=True):
        await connection.execute("update jobs set run_at = $2 where id = $1", job.id, now + timedelta(minutes=late))
    await store.append(made[4], starting(), actor="worker:w1")
    await store.append(made[5], canceling, actor="user:x")
    await store.create(new("messages"), actor="user:x")

    due = await view.due("rooms", limit=10)

    assert due == [
        Due(made[n].id, "rooms", 1, now + timedelta(minutes=minutes[n]))
        for n in (1, 2, 0)
    ]  # fmt: skip
    assert await view.due("rooms", limit=2) == due[:2]
    assert await view.due("unknown", limit=10) == []


async def test_a_retry_is_due_with_its_attempt_and_not_before_its_delay(
    view: JobsView, store: Store, connection: Connection
) -> None:
    soon, later = [await store.create(new(), actor="user:x") for _ in range(2)]
    for job, delay in ((soon, timedelta(0)), (later, timedelta(hours=1))):
        started = await store.append(job, starting(), actor="worker:w1")
        await store.append(started, failing(retry_in=delay), actor="worker:w1")
    await connection.execute("update jobs set run_at = run_at - interval '1 minute'")

    due = await view.due("rooms", limit=10)

    assert [(each.job_id, each.attempt) for each in due] == [(soon.id, 2)]


async def test_next_due_gives_the_soonest_future_attempt_of_the_types(
    view: JobsView, store: Store, connection: Connection
) -> None:
    for type, minutes in (("rooms", 30), ("rooms", 20), ("messages", 5), ("rooms", 0)):
        await store.create(new(type, delay=timedelta(minutes=minutes)), actor="user:x")
    # The function returns the time of the next job that becomes due, so jobs that are already due do not count.
    await connection.execute("update jobs set run_at = run_at - interval '1 minute'")

    rooms = await view.next_due(["rooms"])
    both = await view.next_due(["messages", "unknown", "rooms"])

    assert rooms is not None
    assert both is not None
    assert 18 * 60 < rooms <= 19 * 60
    assert 3 * 60 < both <= 4 * 60
    assert await view.next_due(["unknown"]) is None
    assert await view.next_due([]) is None


async def test_next_due_ignores_a_delayed_job_that_was_canceled(view: JobsView, store: Store) -> None:
    job = await store.create(new(delay=timedelta(minutes=5)), actor="user:x")

    await store.append(job, canceling, actor="user:x")

    assert await view.next_due(["rooms"]) is None


async def test_seqs_gives_the_current_state_of_the_jobs(view: JobsView, jobs: list[Job]) -> None:
    watched = jobs[:30]

    told = await view.seqs([STRANGER, *(job.id for job in watched)])

    assert sorted(told) == sorted(Change.of(job) for job in watched)


async def test_held_by_gives_the_jobs_that_a_worker_is_running(view: JobsView, store: Store) -> None:
    jobs = [await store.create(new(), actor="user:x") for _ in range(4)]
    mine = [await store.append(job, starting("w1"), actor="worker:w1") for job in jobs[:2]]
    theirs = await store.append(jobs[2], starting("w2"), actor="worker:w2")
    await store.append(mine[1], completing(), actor="worker:w1")

    assert await view.held_by("w1") == mine[:1]
    assert await view.held_by("w2") == [theirs]
    assert await view.held_by("w3") == []
