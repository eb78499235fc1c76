"""`python -m tests.proof.golden FOLDER` makes a golden log from a new database on the server of `DATABASE_URL`."""

import argparse
import asyncio
import os
from pathlib import Path

from events.bus import Bus
from events.database import Database, connect
from events.job import Job, force_fail
from events.store import Store
from migrations.migrate import migrate
from projections.export_directory import export_directory
from projections.proving import prove_event
from tests.conftest import administer, with_database
from tests.histories import ERROR, canceling, completing, failing, give_positions, new, reporting, starting
from tests.signed_log import erase, sign_log

JOBS = 80
ERASED = 1  # the position of the event that is erased
NAME = "rireki_golden"


async def a_job(store: Store, number: int) -> Job:
    job = await store.create(new(payload={"名": f"仕事 {number}", "n": number}), actor="user:x")
    match number % 4:
        case 0:
            steps = [starting(), reporting({"done": 1}), completing()]
        case 1:
            steps = [starting(), failing(), starting("w1", 2), completing(1, "w1", 2)]
        case 2:
            steps = [canceling]
        case _:
            steps = [starting(), lambda job: force_fail(job, error=ERROR)]
    for step in steps:
        job = await store.append(job, step, actor="worker:w1")
    return job


async def make(url: str, folder: Path) -> None:
    database, superuser = Database(url), await connect(url)
    await database.connect()
    store = Store(database, Bus())
    await store.start()
    jobs = [await a_job(store, number) for number in range(JOBS)]
    await store.stop()
    await give_positions(database)
    verifier = await sign_log(database)
    await erase(superuser, verifier, ERASED)
    await export_directory(database, folder / "log")
    proof = await prove_event(superuser, jobs[1].id, 3, may_see=lambda _: True)
    (folder / "event.tlog-proof").write_bytes(proof.to_bytes())
    (folder / "key").write_text(f"{verifier}\n")
    await superuser.close()
    await database.disconnect()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.golden", description="Make a golden log.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    url = os.environ["DATABASE_URL"]
    administer(url, f"create database {NAME}")
    try:
        migrate(with_database(url, NAME))
        asyncio.run(make(with_database(url, NAME), folder))
    finally:
        administer(url, f"drop database {NAME} with (force)")


if __name__ == "__main__":
    main()
