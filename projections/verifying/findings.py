"""The findings of a verification, and what it has covered."""

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from events.audit_findings import NO_FAULT, FindingName
from events.job import JSON
from projections.verifying.state import VerifiedTo

MOST_KEPT = 10_000  # findings in the list; further findings are only counted
LONGEST_DETAIL = 1000  # characters


class Covers(NamedTuple):
    """The size and the root of the newest signed checkpoint that agrees with the log.

    `against` names the copy outside the database that has this checkpoint. It is None if only the database has it.
    """

    size: int
    root: bytes
    against: str | None

    def to_json(self) -> dict[str, JSON]:
        """Returns `{size, root, against}`. The root is base64."""
        return {"size": self.size, "root": base64.b64encode(self.root).decode(), "against": self.against}


class Finding(NamedTuple):
    """One fault. `job_id` is None if the fault is in the order of the log or in a guard."""

    name: FindingName
    job_id: str | None
    seq: int | None
    position: int | None
    detail: str

    def to_json(self) -> dict[str, JSON]:
        """Returns `{name, jobId, seq, position, detail}`."""
        return {
            "name": self.name, "jobId": self.job_id, "seq": self.seq, "position": self.position, "detail": self.detail,
        }  # fmt: skip

    def __str__(self) -> str:
        place = self.job_id or "the log"
        if self.seq is not None:
            place += f", event {self.seq}"
        if self.position is not None:
            place += f", position {self.position}"
        return f"{self.name}: {place}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Difference:
    """The job and the detail of a finding."""

    job_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """An event of a verified job: its leaf hash, and whether the tree holds it.

    `included` is true if the leaf is that of the event and its inclusion proof leads to the root of the newest checkpoint. It is
    false if not, and None for an event that no checkpoint covers yet.
    """

    seq: int
    position: int | None
    leaf: bytes
    included: bool | None

    def to_json(self) -> dict[str, JSON]:
        """Returns `{seq, position, leaf, included}`. The leaf is base64."""
        leaf = base64.b64encode(self.leaf).decode()
        return {"seq": self.seq, "position": self.position, "leaf": leaf, "included": self.included}


@dataclass(slots=True)
class Verified:
    """The extent of a verification, and its findings. There are no faults if all is well.

    `findings` lists the first `MOST_KEPT` findings, and at least one of each name. `counts` has the number of all findings by
    name. `unsealed` is the number of events without a position. These events were folded and compared like all others. `covers`
    is None if no signed checkpoint agrees. `unsigned` is the number of checkpoints whose signatures could not be checked,
    because no key is trusted. `since` is the position after which this verification has checked events. `leaves` has the events
    of the job if one job was verified.
    """

    jobs: int = 0
    events: int = 0
    last_position: int = 0
    unsealed: int = 0
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[FindingName] = field(default_factory=Counter)
    covers: Covers | None = None
    unsigned: int = 0
    since: int = 0
    leaves: list[Leaf] = field(default_factory=list)
    state: VerifiedTo | None = None
    """How far the log is verified now, if there is no fault and all signatures could be checked."""

    @property
    def count(self) -> int:
        """The number of faults. A finding that is no fault, such as REDACTED, does not count."""
        return sum(count for name, count in self.counts.items() if name not in NO_FAULT)

    @property
    def differences(self) -> list[Difference]:
        return [Difference(finding.job_id, finding.detail) for finding in self.findings if finding.name not in NO_FAULT]

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if len(self.findings) < MOST_KEPT or not self.counts[finding.name]:
                self.findings.append(finding._replace(detail=finding.detail[:LONGEST_DETAIL]))
            self.counts[finding.name] += 1

    def join(self, other: "Verified") -> None:
        """Adds the numbers of jobs and events, and the findings, of one part."""
        self.jobs += other.jobs
        self.events += other.events
        before = self.counts.copy()
        self.add(other.findings)
        self.counts = before + other.counts
