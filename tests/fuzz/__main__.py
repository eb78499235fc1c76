"""Fuzzes the readers of what strangers send.

`python -m tests.fuzz --inputs 200000` runs so many hostile inputs through each reader. A reader may only raise the exceptions
that it declares, must take at most 0.1 s of CPU for an input, and must not let the process grow by more than 50 MB. The exit
status is 1 if there were faults. Each fault is printed with the command that runs its input again.
"""

import argparse
import gc
import sys
from datetime import UTC, datetime

from tests.fuzz import readers_of_requests, readers_of_servers
from tests.fuzz.inputs import Reader, run_reader

READERS = {reader.name: reader for reader in (*readers_of_requests.READERS, *readers_of_servers.READERS)}


def main() -> int:
    asked = _arguments()
    chosen = list(READERS.values()) if asked.reader is None else [READERS[asked.reader]]
    return 1 if fuzz_readers(chosen, asked) else 0


def fuzz_readers(readers: list[Reader], asked: argparse.Namespace) -> int:
    """Runs the readers one after another. Prints a line for each, and returns the number of faults."""
    gc.freeze()  # The collector skips the loaded modules, so that its pauses do not look like slow inputs.
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} seed {asked.seed}, {asked.inputs} inputs for each of {len(readers)} readers")
    total = 0
    for reader in readers:
        run, faults = run_reader(reader, inputs=asked.inputs, seed=asked.seed, first=asked.first)
        total += len(faults)
        print("\n".join(map(str, (run, *faults))), flush=True)
    print(f"{total} faults")
    return total


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Hostile inputs for each reader.")
    parser.add_argument("--inputs", type=int, default=200_000, metavar="N", help="so many inputs for each reader")
    parser.add_argument("--reader", choices=READERS, help="this reader only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="N", help="the number of the first input")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
