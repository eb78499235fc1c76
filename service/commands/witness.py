"""The command `rireki audit witness`."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from service.commands.running import run_work
from service.http.logs import configure_logs
from service.process.witness import listen_at, make_key, read_key, read_logs, run_witness


def make_witness(name: str, key_file: Path, state: Path) -> int:
    """Makes the key and the state of a new witness. Prints its verifier key."""
    print(make_key(name, key_file, state).witness)
    return 0


def serve_witness(logs: Sequence[str], key_file: Path, state: Path, listen: str) -> None:
    """Cosigns checkpoints until a signal. Raises `ConfigError`, `CannotListen`."""
    keys, cosigner = read_logs(logs), read_key(key_file)
    configure_logs()
    with contextlib.closing(listen_at(listen)) as listening:
        run_work(run_witness(cosigner, keys, state, listening))
