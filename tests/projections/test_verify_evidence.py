"""A verification uses all evidence that it is given: keys, witnesses and copies, for the whole log and for one job."""

import pytest

from events.database import Connection, Database
from events.job import Job
from events.store import Store
from projections.proof.cosignature import read_witness
from projections.proof.signed_note import Verifier, new_signer
from projections.verify import Trust, Verified, verify
from projections.verifying.checkpoints import Copies
from tests.histories import give_positions
from tests.projections.conftest import superuser
from tests.projections.histories_in_log import one_of_each, unguarded, unique_key
from tests.signed_log import sign_log

__all__ = ["superuser"]

WITNESS = "w.example+c13f5898+BA+nKU16fsfyDZHv+1sX8gin9HQ80XSzw+8gFhA4eqCT"
NOTES = "select note from checkpoints order by size"
FORGED = """
insert into checkpoints (origin, size, root, note)
select origin, size + 1, root, 'a note' from checkpoints order by size desc limit 1
"""

FORGET = """
delete from checkpoints;
delete from log_tail;
update job_event_log_cursor set xid = '0', event_id = 0, position = 0, largest = 0, turn = turn + 1
"""


@pytest.fixture
async def job(store: Store) -> Job:
    return (await one_of_each(store))["completed"]


@pytest.fixture
async def key(job: Job, database: Database) -> Verifier:
    return await sign_log(database)


async def notes_of(database: Database) -> Copies:
    return Copies("the copy outside", [row["note"] for row in await database.fetch_all(NOTES)])


def names(verified: Verified) -> set[str]:
    return {name.value for name in verified.counts}


async def test_a_job_whose_log_no_trusted_key_has_signed_is_a_bad_signature(
    job: Job, key: Verifier, database: Database
) -> None:
    trust = Trust(keys=[new_signer(key.name).verifier])

    assert names(await verify(database, job_id=job.id, unique_key=unique_key, trust=trust)) == {"BAD_SIGNATURE"}


async def test_a_checkpoint_newer_than_the_newest_signed_one_is_told_of_a_job_too(
    job: Job, key: Verifier, database: Database, superuser: Connection
) -> None:
    await superuser.execute(FORGED)

    verified = await verify(database, job_id=job.id, unique_key=unique_key, trust=Trust(keys=[key]))

    assert names(verified) == {"BAD_SIGNATURE"}
    assert [leaf.included for leaf in verified.leaves] == [True] * job.seq


async def test_a_job_of_another_log_than_its_checkpoints_name_is_inconsistent(
    job: Job, key: Verifier, database: Database, superuser: Connection
) -> None:
    async with unguarded(superuser, "log_origins"):
        await superuser.execute("update log_origins set origin = 'rireki/another'")

    assert names(await verify(database, job_id=job.id, unique_key=unique_key, trust=Trust(keys=[key]))) == {"INCONSISTENT"}


async def test_without_a_key_the_signatures_of_a_job_count_as_unchecked(job: Job, key: Verifier, database: Database) -> None:
    verified = await verify(database, job_id=job.id, unique_key=unique_key)

    assert (verified.count, verified.unsigned) == (0, 1)


@pytest.mark.parametrize("one_job", [True, False])
async def test_a_forged_note_about_erased_data_is_a_bad_signature(
    job: Job, key: Verifier, database: Database, superuser: Connection, one_job: bool
) -> None:
    await superuser.execute(
        "insert into redactions (position, note) select position, 'a note' from log_tail where job_id = $1 and seq = 2", job.id
    )

    verified = await verify(database, job_id=job.id if one_job else None, unique_key=unique_key, trust=Trust(keys=[key]))

    assert names(verified) == {"BAD_SIGNATURE"}


@pytest.mark.parametrize("one_job", [True, False])
async def test_a_witness_must_have_cosigned(job: Job, key: Verifier, database: Database, one_job: bool) -> None:
    trust = Trust(keys=[key], witnesses=[read_witness(WITNESS)])

    verified = await verify(database, job_id=job.id if one_job else None, unique_key=unique_key, trust=trust)

    assert names(verified) == {"BAD_SIGNATURE"}


@pytest.mark.parametrize("one_job", [True, False])
async def test_a_copy_from_outside_covers_what_it_agrees_with(
    job: Job, key: Verifier, database: Database, one_job: bool
) -> None:
    trust = Trust(keys=[key], copies=[await notes_of(database)])

    verified = await verify(database, job_id=job.id if one_job else None, unique_key=unique_key, trust=trust)

    assert names(verified) == set()
    assert verified.covers is not None
    assert verified.covers.against == "the copy outside"


async def test_a_job_that_was_changed_and_sealed_and_signed_again_is_inconsistent_with_a_copy(
    job: Job, key: Verifier, database: Database, superuser: Connection
) -> None:
    trust = Trust(keys=[key], copies=[await notes_of(database)])
    async with unguarded(superuser, "checkpoints", "job_event_log_cursor"):
        await superuser.execute("update job_events set request_id = 'another' where job_id = $1 and seq = 1", job.id)
        await superuser.execute(FORGET)
    await sign_log(database)

    alone = await verify(database, job_id=job.id, unique_key=unique_key, trust=Trust(keys=[key]))
    against = await verify(database, job_id=job.id, unique_key=unique_key, trust=trust)

    assert (names(alone), names(against)) == (set(), {"INCONSISTENT"})


async def test_what_came_after_the_last_verification_is_covered_by_the_newest_checkpoint(
    job: Job, key: Verifier, store: Store, database: Database
) -> None:
    trust = Trust(keys=[key])
    await one_of_each(store, "more ")
    await give_positions(database)
    before = await verify(database, unique_key=unique_key, trust=trust)

    verified = await verify(database, unique_key=unique_key, trust=trust, since=before.state)

    assert verified.since > 0
    assert verified.covers == before.covers is not None


async def test_a_verification_goes_on_only_from_one_that_has_checked_all_signatures(
    job: Job, key: Verifier, database: Database
) -> None:
    unchecked = await verify(database, unique_key=unique_key)
    checked = await verify(database, unique_key=unique_key, trust=Trust(keys=[key]))

    assert (unchecked.unsigned, unchecked.state) == (1, None)
    assert checked.state is not None
