"""Records every request and answer of the clients, in memory and in a file."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.chaos.history import State, Violation

NO_ANSWER = 0


class User(NamedTuple):
    id: str
    email: str
    token: str
    is_admin: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a client. `status` is 0 if no answer came.

    Without an answer, it is unknown whether the request was carried out.
    """

    status: int
    document: Any = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def try_again(self) -> bool:
        return self.status in (NO_ANSWER, 503, 429)


class Record:
    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)
        self.accepted: dict[str, str] = {}
        """The types of the jobs that were answered with 202, by job id."""
        self.told: dict[tuple[str, str], set[str]] = defaultdict(set)
        """The job ids that were answered, by user and `Idempotency-Key`."""
        self.sent_cancels: Counter[str] = Counter()
        self.canceled: list[tuple[str, str, int]] = []
        """Cancels that were answered with 200: job id, user id, and the job's `seq` in the answer."""
        self.force_failed: list[tuple[str, str, int]] = []
        self.retried: list[tuple[str, str, int]] = []
        self.shown: dict[str, dict[int, list[State]]] = defaultdict(lambda: defaultdict(list))
        """The jobs in the answers, by job id and `seq`."""
        self.ends_told: list[tuple[str, str]] = []
        """Job ids and statuses of the ended jobs in delayed answers (`Prefer: wait`)."""
        self.marks: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.violations: list[Violation] = []

    def request(self, what: str, user: User, path: str, key: str | None, answer: Answer, began: float) -> None:
        self.statuses[answer.status] += 1
        line = {
            "at": round(began, 3), "took": round(time.time() - began, 3), "what": what, "user": user.email, "path": path,
            "key": key, "status": answer.status, "answer": answer.document,
        }  # fmt: skip
        self._file.write(orjson.dumps(line) + b"\n")
        # A refused request is a violation. Otherwise a campaign in which every request is refused
        # would pass.
        if (answer.status >= 500 and answer.status != 503) or (what == "queue" and 400 <= answer.status < 500):
            self.violations.append(Violation("answer", None, f"{what} {path} was answered {answer.status}: {answer.document}"))

    def show(self, job: State) -> None:
        self.shown[job["id"]][job["seq"]].append(job)

    def close(self) -> None:
        self._file.close()
