"""Compares the clients' record, the log and the view after a campaign.

"Invariant 5" in a docstring, and a number in a violation, is a number of the list "What must always
hold" in docs/architecture.md.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from tests.chaos.faults import Window
from tests.chaos.fleet import Life
from tests.chaos.history import Event, Violation, differences, fold
from tests.chaos.plan import Kind
from tests.chaos.record import Record
from tests.chaos.rows import Everything
from tests.chaos.watch import digest_of_row

TOO_LATE = timedelta(seconds=2)  # how far two processes' estimates of the database's clock may differ
AFTERMATH = 20.0  # seconds after a fault in which jobs may still wait longer than usual
HEARTBEATS_LATE = 30.0  # seconds after a network fault in which the rescue may still declare a living worker gone
SILENCING = frozenset({Kind.HALF_OPEN, Kind.DELAY})
PID = re.compile(r"-(\d+)-[0-9a-f]+$")


@dataclass(slots=True)
class Figures:
    """The figures that the report shows beside the violations."""

    jobs: int = 0
    events: int = 0
    attempts: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    rescued_for_good: int = 0
    rescued_alive: int = 0
    longest_wait: float = 0.0
    longest_quiet_wait: float = 0.0
    quiet_waits: int = 0
    shown: int = 0


def check(found: Everything, record: Record, lives: Sequence[Life], windows: Sequence[Window], read: Sequence[bytes]) -> (
    tuple[list[Violation], Figures]
):  # fmt: skip
    """Runs all checks. Call it after the last fault, when every job has had time to end."""
    figures = Figures(jobs=len(found.histories), events=sum(map(len, found.histories.values())))
    violations = [
        *_accepted(found, record),
        *_folds(found, record, figures),
        *_keys(found, record),
        *_answers(found, record),
        *_effects(found),
        *_deadlines(found),
        *_stops(found, lives, windows),
        *_rescues(found, lives, windows, figures),
        *_order(found, read),
    ]
    _count(found, figures)
    _waits(found, windows, figures)
    return violations, figures


def not_over(found: Everything) -> list[Violation]:
    """Checks invariant 5: every job has ended. Returns a violation for each one that has not."""
    return [
        Violation(5, job_id, f"the job has not ended; its last event is {history[-1].type} in attempt {history[-1].attempt}")
        for job_id, history in found.histories.items()
        if not fold(history).is_over
    ]


def _accepted(found: Everything, record: Record) -> Iterable[Violation]:
    """Checks invariant 1: each job whose request was answered with 202 is in the log.

    Also checks invariant 8: each job belongs to a recorded request, and no request has two jobs.
    """
    for job_id in record.accepted:
        history = found.histories.get(job_id)
        if not history or (history[0].seq, history[0].type) != (1, "queued"):
            yield Violation(1, job_id, "the job was accepted and is not in the log")
    marks: Counter[str] = Counter()
    for job_id, history in found.histories.items():
        payload = history[0].data.get("payload") or {}
        mark = payload.get("mark", "")
        marks[mark] += 1
        if mark.startswith("mark-") and (mark not in record.marks or marks[mark] > 1):
            yield Violation(
                8, job_id, f"{mark}: a repeated request made job number {marks[mark]}, although its key was the same"
            )


def _folds(found: Everything, record: Record, figures: Figures) -> Iterable[Violation]:
    """Checks invariants 2, 3, 4, 6 and 7 by computing each job from its events.

    Also checks that each job in an answer to a client equals the job computed from the log at that
    `seq`.
    """
    for job_id in found.histories.keys() | found.view.keys():
        history, shown = found.histories.get(job_id), found.view.get(job_id)
        if not history:
            yield Violation(3, job_id, "the job is in the view and not in the log")
            continue
        folded = fold(history)
        yield from folded.violations
        if shown is None:
            yield Violation(3, job_id, "the job is in the log and not in the view")
            continue
        if shown["seq"] != history[-1].seq:
            yield Violation(2, job_id, f"the view is at seq {shown['seq']}, the last event is {history[-1].seq}")
        yield from (Violation(3, job_id, detail) for detail in differences(folded.state, shown))
    for job_id, moments in record.shown.items():
        for seq, documents in moments.items():
            history = found.histories.get(job_id, [])
            if len(history) < seq:
                yield Violation("shown", job_id, f"an answer showed seq {seq}, and the log has {len(history)} events")
                continue
            state = fold(history[:seq]).state
            for document in documents:
                figures.shown += 1
                yield from (Violation("shown", job_id, f"at seq {seq}: {detail}") for detail in differences(state, document))


def _keys(found: Everything, record: Record) -> Iterable[Violation]:
    """Checks invariant 8: a user's requests with the same idempotency key got the same job."""
    for (user_id, key), ids in record.told.items():
        if len(ids) > 1:
            yield Violation(8, sorted(ids)[0], f"requests with {key} got several jobs: {sorted(ids)}")
        kept = found.keys.get((user_id, key))
        if kept not in ids:
            yield Violation(
                8, sorted(ids)[0], f"a request with {key} got this job, but the database keeps the key for job {kept}"
            )


def _answers(found: Everything, record: Record) -> Iterable[Violation]:
    """Checks that each answer about a canceled, failed, retried or ended job was true.

    Also checks that users canceled a job no more often than the clients asked.
    """
    for what, told in (("canceled", record.canceled), ("failed", record.force_failed), ("queued", record.retried)):
        for job_id, user_id, seq in told:
            history = found.histories.get(job_id, [])
            wanted = [event for event in history if event.type == what and event.actor == f"user:{user_id}" and event.seq > 1]
            if not wanted or (what != "queued" and all(event.seq != seq for event in wanted)):
                yield Violation("answer", job_id, f"an answer told {user_id} {what} at seq {seq}; the log differs")
    for job_id, status in record.ends_told:
        if not any(event.type == status for event in found.histories.get(job_id, [])):
            yield Violation("answer", job_id, f"a delayed answer (Prefer: wait) said {status}; the log has no such end")
    for job_id, history in found.histories.items():
        by_users = sum(event.type == "canceled" and event.actor.startswith("user:") for event in history)
        if by_users > record.sent_cancels[job_id]:
            yield Violation(
                "answer", job_id, f"users canceled the job {by_users} times; clients asked {record.sent_cancels[job_id]} times"
            )


def _effects(found: Everything) -> Iterable[Violation]:
    """Checks the rows that handlers stored in `chaos_effects`, one for each attempt.

    Each completed attempt has a row. Each row belongs to an attempt that was started, and was
    stored before the next attempt of its job was started.
    """
    started = {(event.job_id, event.attempt): event.at for event in _all(found) if event.type == "started"}
    for history in found.histories.values():
        if history[0].data.get("type") != "chaos_effects":
            continue
        for event in history:
            if event.type == "completed" and (event.job_id, event.attempt) not in found.effects:
                yield Violation(
                    "effects", event.job_id, f"attempt {event.attempt} completed, and its row is missing in chaos_effects"
                )
    for (job_id, attempt), at in found.effects.items():
        if (job_id, attempt) not in started:
            yield Violation("effects", job_id, f"chaos_effects has a row of attempt {attempt}, which was never started")
        following = started.get((job_id, attempt + 1))
        if following is not None and at > following + TOO_LATE:
            yield Violation(
                "effects",
                job_id,
                f"attempt {attempt} wrote its row of chaos_effects at {at}, after attempt {attempt + 1} began at {following}",
            )


def _deadlines(found: Everything) -> Iterable[Violation]:
    """Checks that a handler that never returns fails with `Timeout`, not before its deadline."""
    for history in found.histories.values():
        if history[0].data.get("type") != "chaos_overdue":
            continue
        began: datetime | None = None
        for event in history:
            if event.type == "started":
                began = event.at
            if event.type == "completed":
                yield Violation("deadline", event.job_id, "a job whose handler never returns has completed")
            if event.type == "failed" and event.actor.startswith("worker:"):
                if event.data["error"]["name"] != "Timeout":
                    yield Violation("deadline", event.job_id, f"failed by {event.data['error']['name']}, not by its deadline")
                elif began is not None and event.at - began < timedelta(seconds=0.8):
                    yield Violation("deadline", event.job_id, f"timed out after {event.at - began}; the deadline is 1 second")


def _stops(found: Everything, lives: Sequence[Life], windows: Sequence[Window]) -> Iterable[Violation]:
    """Checks that a worker that was stopped by SIGTERM and met no other fault lost no job.

    Such a worker must finish its jobs or queue them again. The rescue must find nothing to do.
    """
    by_pid = {life.pid: life for life in lives}
    for pid, event in _lost(found):
        life = by_pid.get(pid)
        if life is not None and life.left_in_order and not life.stopped and _was_calm(life, windows):
            yield Violation(
                "stopping", event.job_id, f"{life.name} (pid {pid}) was stopped in order and left this job to the rescue"
            )


def _rescues(found: Everything, lives: Sequence[Life], windows: Sequence[Window], figures: Figures) -> Iterable[Violation]:
    """Checks that the rescue took no job from a healthy worker.

    An outage of PostgreSQL or a long job is no reason to declare a worker gone. A frozen worker may
    be declared gone, and so may one whose network was silent or slow.
    """
    by_pid = {life.pid: life for life in lives}
    silent = [(window.begin, window.end + HEARTBEATS_LATE) for window in windows if window.kind in SILENCING]
    for pid, event in _lost(found):
        life, at = by_pid.get(pid), event.at.timestamp()
        if life is None:
            yield Violation("rescue", event.job_id, f"seq {event.seq}: rescued from pid {pid}, which was never a worker")
        elif not life.stopped and at < min(life.killed or at + 1, life.terminated or at + 1, life.ended or at + 1):
            figures.rescued_alive += 1
            if not any(begin < at < end for begin, end in silent):
                yield Violation(
                    "rescue", event.job_id, f"seq {event.seq}: rescued from {life.name} (pid {pid}), which was healthy"
                )


def _lost(found: Everything) -> Iterable[tuple[int, Event]]:
    """Yields each `failed` event that the rescue wrote, with the pid of the lost worker."""
    for history in found.histories.values():
        for before, event in pairwise(history):
            if event.type == "failed" and event.actor == "system:rescue":
                worker = next(e.data["worker"] for e in reversed(history[: before.seq]) if e.type == "started")
                pid = PID.search(worker)
                yield int(pid[1]) if pid else 0, event


def _was_calm(life: Life, windows: Sequence[Window]) -> bool:
    assert life.terminated is not None
    assert life.ended is not None
    broken = [window for window in windows if not window.kind.startswith(("SIGTERM", "kill -9 of a worker", "SIGSTOP"))]
    return not any(window.begin < life.ended and window.end > life.terminated - AFTERMATH for window in broken)


def _order(found: Everything, read: Sequence[bytes]) -> Iterable[Violation]:
    """Checks invariant 9: positions have no gaps, and the campaign's reader saw every event.

    Also checks that no event has changed after it was read (invariant 10).
    """
    events = list(_all(found))
    count, first, last = found.positions
    if (count, first, last) != (len(events), 1, len(events)):
        yield Violation(9, None, f"{len(events)} events; {count} positions, from {first} to {last}")
    if len(read) != len(events):
        yield Violation(9, None, f"{len(events)} events; a reader of the log saw {len(read)}")
    for event in events:
        if event.position is None:
            yield Violation(9, event.job_id, f"seq {event.seq} has no position")
        elif event.position <= len(read) and read[event.position - 1] != digest_of_row(event):
            yield Violation(10, event.job_id, f"a reader was given another event at position {event.position}")
    last_position: dict[str, int] = defaultdict(int)
    for event in events:
        if event.position is not None and event.position <= last_position[event.job_id]:
            yield Violation(9, event.job_id, f"seq {event.seq} has a lower position than the event before it")
        last_position[event.job_id] = event.position or 0


def _all(found: Everything) -> Iterable[Event]:
    for history in found.histories.values():
        yield from history


def _count(found: Everything, figures: Figures) -> None:
    for event in _all(found):
        figures.attempts += event.type == "started"
        if event.type == "queued":
            figures.reasons[event.data["reason"]] += 1
        if event.type == "failed" and not event.data["willRetry"] and event.data["error"]["name"] == "WorkerLost":
            figures.rescued_for_good += 1
    figures.ends.update(history[-1].type for history in found.histories.values())


def _waits(found: Everything, windows: Sequence[Window], figures: Figures) -> None:
    """Computes, for the report, how many seconds due attempts waited until they were started."""
    broken = _merged((window.begin, window.end + AFTERMATH) for window in windows)
    for history in found.histories.values():
        for before, event in pairwise(history):
            if before.type != "queued" or event.type != "started":
                continue
            due, began = datetime.fromisoformat(before.data["runAt"]).timestamp(), event.at.timestamp()
            figures.longest_wait = max(figures.longest_wait, began - due)
            if not any(begin < began and end > due for begin, end in broken):
                figures.quiet_waits += 1
                figures.longest_quiet_wait = max(figures.longest_quiet_wait, began - due)


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return merged
