"""Fuzzes the running service, or the readers of what strangers send.

The exit status is 1 if there were faults.

`python -m tests.fuzz --inputs 200000` runs 200,000 hostile inputs through each reader. A reader may only raise the
exceptions that it declares, must take at most 0.1 s of CPU for an input, and must not let the process grow by more than
50 MB. Each fault is printed with the command that runs its input again.

`python -m tests.fuzz --requests 20000 --role all` starts a service with PostgreSQL and Redis, and sends 20,000 requests
as each role. Faults are: a status of 500 or more; an answer that the OpenAPI document does not describe; a success for
a role that may not call the operation (`tests/api/who_may.py`); a write during a read or during a refused request; a
write by a role that may not write.
"""

import argparse
import gc
import signal
import sys
from datetime import UTC, datetime

from tests.fuzz import readers_of_proofs, readers_of_requests, readers_of_servers
from tests.fuzz.inputs import Reader, run_reader

READERS = {
    reader.name: reader for reader in (*readers_of_requests.READERS, *readers_of_servers.READERS, *readers_of_proofs.READERS)
}


def main() -> int:
    asked = _arguments()
    if asked.requests is not None:
        return 1 if fuzz_requests(asked) else 0
    chosen = list(READERS.values()) if asked.reader is None else [READERS[asked.reader]]
    return 1 if fuzz_readers(chosen, asked) else 0


def fuzz_readers(readers: list[Reader], asked: argparse.Namespace) -> int:
    """Runs the readers one after another.

    Prints a line for each, and returns the number of faults.
    """
    gc.freeze()  # This makes garbage collections short. A long collection would look like a slow input.
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} seed {asked.seed}, {asked.inputs} inputs for each of {len(readers)} readers")
    total = 0
    for reader in readers:
        run, faults = run_reader(reader, inputs=asked.inputs, seed=asked.seed, first=asked.first)
        total += len(faults)
        print("\n".join(map(str, (run, *faults))), flush=True)
    print(f"{total} faults")
    return total


def fuzz_requests(asked: argparse.Namespace) -> int:
    """Sends the requests of each role to a new service. Returns the number of faults."""
    from tests.fuzz.api import ROLES, fuzz_as
    from tests.fuzz.server import fuzzed_service

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # SystemExit lets the servers be stopped, too
    total = 0
    for role in ROLES if asked.role == "all" else (asked.role,):
        with fuzzed_service() as service:
            print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} seed {asked.seed}, {asked.requests} requests as {role}", flush=True)
            tally = fuzz_as(service, role, most=asked.requests, seed=asked.seed)
        total += tally.faults.total()
        print(tally, flush=True)
    print(f"{total} faults")
    return total


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Hostile requests and inputs.")
    parser.add_argument("--requests", type=int, metavar="N", help="how many requests each role sends to the running service")
    parser.add_argument("--role", choices=("nobody", "employee", "auditor", "admin", "all"), default="all")
    parser.add_argument("--inputs", type=int, default=200_000, metavar="N", help="how many inputs each reader gets")
    parser.add_argument("--reader", choices=READERS, help="this reader only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="N", help="the number of the first input")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
