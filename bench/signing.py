"""Measures what a signed checkpoint costs beside the sealing of its events.

`python -m bench.signing [--events N] [--rounds N] [--save]` prints a table in Markdown. Each round appends 10,000 events,
seals them and signs a checkpoint, whose copy goes to a file. The log has N events before.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from bench.record import add_save_option, publish
from bench.servers import servers
from events.database import Connection, Database, connect
from projections.checkpoints import current_origin
from projections.proof.signed_note import new_signer
from projections.seal import seal_everything
from service.checkpoints.copies_in_file import CopiesInFile
from service.checkpoints.signing import SIGN_AFTER, Signing

JOBS = 1_000  # in one statement

APPEND = """
insert into job_events (job_id, seq, attempt, type, data, salt, actor, at)
select md5($1::text || job)::uuid, seq, 1, case seq when 1 then 'queued' else 'progress' end,
    json_build_object('result', json_build_object('totalRooms', 40, 'processedRooms', seq)), decode(md5(random()::text), 'hex'),
    'worker:bench', now()
from generate_series(1, $2::int) as job, generate_series(1, 10) as seq
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.signing", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=30)
    add_save_option(parser)
    options = parser.parse_args()
    with servers() as started, started.fresh(migrated=True) as url:
        table = uvloop.run(_measure(url, options.events, options.rounds))
        publish("signing", table, versions=started.versions, save=options.save)


async def _measure(url: str, events: int, rounds: int) -> str:
    database = Database(url)
    await database.connect()
    connection = await connect(url, statement_timeout="0")
    for number in range(0, events, JOBS * 10):
        await connection.execute(APPEND, f"before {number}/", JOBS)
    await seal_everything(database)
    with tempfile.TemporaryDirectory() as folder:
        copies = CopiesInFile(Path(folder) / "copies")
        signing = Signing(database, [new_signer(await current_origin(connection))], copies)
        kinds: dict[str, Callable[[], Awaitable[object]]] = {
            f"seal {SIGN_AFTER:,} events": lambda: seal_everything(database),
            "sign a checkpoint of them": signing.sign,
            "copy it to a file": signing.copy,
            "look whether something is to sign, each second": signing._is_due,
        }
        rows = await _rounds(connection, kinds, rounds)
        await copies.close()
    await connection.close()
    await database.disconnect()
    return "\n".join(
        [f"| in a log of {events:,} events | median ms | of this process's CPU, ms |", "| --- | --- | --- |", *rows]
    )


async def _rounds(connection: Connection, kinds: dict[str, Callable[[], Awaitable[object]]], rounds: int) -> list[str]:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for number in range(rounds):
        await connection.execute(APPEND, f"round {number}/", SIGN_AFTER // 10)
        await asyncio.sleep(0.1)  # the sealer takes only events that are older than every running transaction
        for name, work in kinds.items():
            began, used = time.perf_counter(), time.process_time()
            await work()
            found[name].append(((time.perf_counter() - began) * 1000, (time.process_time() - used) * 1000))
    return [
        f"| {name} | {statistics.median(took for took, _ in each):.2f} | {statistics.median(used for _, used in each):.2f} |"
        for name, each in found.items()
    ]


if __name__ == "__main__":
    main()
