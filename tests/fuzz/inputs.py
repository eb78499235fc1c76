"""Runs the readers of `readers_*.py` on hostile inputs; measures time and memory of each."""

import contextlib
import resource
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.fuzz.mutate import hostile_bytes, hostile_json

MOST_SECONDS = 0.1  # seconds of CPU for one input
MOST_MEMORY = 50 * 1024  # KiB by which the process may grow over all inputs of a reader
MOST_FAULTS = 10  # faults of one reader, after which the run goes on with the next reader
TRIES = 3  # how often a slow input is measured again, because a busy machine may make an input look slow once


@dataclass(frozen=True, slots=True)
class Reader:
    """A function that reads what a stranger sent.

    `read` raises only what `refuses` names. `examples` are valid inputs; `words` are pieces that
    mean something to the reader. With `names`, half of the inputs are JSON objects with these field
    names.
    """

    name: str
    read: Callable[[bytes], object]
    refuses: tuple[type[Exception], ...]
    examples: Sequence[bytes]
    words: Sequence[bytes]
    names: Sequence[str] = ()
    most: int = 65_536
    """Bytes of the longest input."""


def pieces(text: str) -> list[bytes]:
    """Returns the words of a text that blanks separate."""
    return [piece.encode() for piece in text.split()]


@dataclass(frozen=True, slots=True)
class Fault:
    """An input, and the problem that a reader had with it.

    `python -m tests.fuzz --reader NAME --input N` runs the input again.
    """

    reader: str
    number: int
    seed: int
    problem: str
    given: bytes

    def __str__(self) -> str:
        shown = self.given if len(self.given) <= 300 else self.given[:300] + b"..."
        again = f"python -m tests.fuzz --inputs 1 --reader {self.reader} --from {self.number} --seed {self.seed}"
        return f"{self.reader}, input {self.number} ({len(self.given)} bytes): {self.problem}\n  {shown!r}\n  {again}"


@dataclass(slots=True)
class Run:
    """The outcome of many inputs for one reader.

    `accepted` inputs were read without a refusal.
    """

    reader: str
    inputs: int = 0
    accepted: int = 0
    slowest: float = 0.0
    grown: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.reader:<22} {self.inputs:>8} inputs, {self.accepted:>8} accepted, slowest {self.slowest * 1000:5.1f} ms,"
            f" grew {self.grown / 1024:5.1f} MB, {self.seconds:6.1f} s"
        )


def input_of(reader: Reader, seed: int, number: int) -> bytes:
    random = Random(f"{reader.name}/{seed}/{number}")
    if reader.names and random.random() < 0.5:
        texts = [example.decode(errors="replace")[:200] for example in (*reader.examples, *reader.words)]
        return hostile_json(random, reader.names, texts, reader.most)
    return hostile_bytes(random, reader.examples, reader.words, reader.most)


def run_reader(reader: Reader, *, inputs: int, seed: int, first: int = 0) -> tuple[Run, list[Fault]]:
    """Runs a reader on `inputs` inputs.

    Returns the statistics and the faults, at most `MOST_FAULTS`.
    """
    for example in reader.examples:
        reader.read(example)  # If the reader refused an example, inputs made from it would test little.
    run, faults, began, size = Run(reader.name), list[Fault](), time.process_time(), _peak()
    for number in range(first, first + inputs):
        given = input_of(reader, seed, number)
        problem, accepted, seconds = _tried(reader, given)
        run.inputs, run.accepted, run.slowest = run.inputs + 1, run.accepted + accepted, max(run.slowest, seconds)
        run.grown = _peak() - size
        if problem is None and run.grown > MOST_MEMORY:
            problem, size = f"the process grew by {run.grown / 1024:.0f} MB", _peak()
        if problem is not None:
            faults.append(Fault(reader.name, number, seed, problem, given))
            if len(faults) >= MOST_FAULTS:
                break
    run.seconds = time.process_time() - began
    return run, faults


def _tried(reader: Reader, given: bytes) -> tuple[str | None, bool, float]:
    """Returns the problem or None, whether the input was accepted, and the CPU seconds."""
    accepted, began = True, time.thread_time()
    try:
        reader.read(given)
    except reader.refuses:
        accepted = False
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({place.filename.rpartition('/')[2]}:{place.lineno})", False, 0.0
    seconds = time.thread_time() - began
    if seconds > MOST_SECONDS:
        seconds = min(_seconds_of(reader, given) for _ in range(TRIES))
    return (f"it took {seconds * 1000:.0f} ms" if seconds > MOST_SECONDS else None), accepted, seconds


def _seconds_of(reader: Reader, given: bytes) -> float:
    began = time.thread_time()
    with contextlib.suppress(*reader.refuses):
        reader.read(given)
    return time.thread_time() - began


def _peak() -> int:
    """Returns the most memory that this process has had so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
