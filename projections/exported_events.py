"""Compares the events of an exported directory with the entries of the tree, line by line."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from projections.export_lines import BadLine, ExportedEvent, read_line
from projections.proof.entry import BadEntry, Entry, read_entry
from projections.proof.redaction import BadRedaction, read_redaction
from projections.proof.signed_note import BadNote, Verifier, read_note, verified_by


@dataclass(frozen=True, slots=True)
class ExportFinding:
    """A fault of an export, or an erased event (`REDACTED`), which is no fault.

    `position` is that of the event. It is None if the finding is about a file of the tree.
    """

    name: str
    detail: str
    position: int | None = None
    job_id: str | None = None
    seq: int | None = None


class EventLines:
    """Reads the lines of the events' file, and compares each with the entry of its position.

    `after` is the position after which the file begins, `size` the last one that it must have.
    """

    def __init__(self, lines: Iterator[bytes | None], *, after: int, size: int, trusted: Sequence[Verifier]) -> None:
        self._lines = lines
        self._size = size
        self._trusted = trusted
        self._expected = after + 1
        self._ahead: list[ExportedEvent | BadLine] = []
        self.events = 0

    def compare(self, first: int, entries: Sequence[bytes | None]) -> Iterator[ExportFinding]:
        """Compares the lines that belong to the entries at the positions from `first` on.

        An entry is None if it is not known.
        """
        last = first + len(entries) - 1
        while self._expected <= last and (line := self._peek(0)) is not None:
            if isinstance(line, BadLine):
                yield ExportFinding("MODIFIED", f"the line cannot be read: {line}", self._expected)
            elif line.position == self._expected:
                yield from self._against(line, entries[line.position - first])
            elif self._is_gap(line):
                until = min(line.position - 1, last)
                yield ExportFinding("MISSING", _missing(self._expected, until), self._expected)
                self._expected = until + 1
                continue
            else:
                yield self._misplaced(line)
                if not self._takes_the_place_of_another():
                    self._pop()
                    continue
            self._pop()
            self._expected += 1

    def rest(self) -> Iterator[ExportFinding]:
        """Checks the lines after the last entry."""
        while (line := self._peek(0)) is not None:
            yield (
                ExportFinding("INSERTED", "a line follows the last event")
                if isinstance(line, BadLine)
                else self._misplaced(line)
            )
            self._pop()
        if self._expected <= self._size:
            yield ExportFinding("TRUNCATED_TAIL", _missing(self._expected, self._size), self._expected)

    def _peek(self, at: int) -> ExportedEvent | BadLine | None:
        while len(self._ahead) <= at:
            try:
                line = next(self._lines)
            except StopIteration:
                return None
            self._ahead.append(_read(line))
        return self._ahead[at]

    def _pop(self) -> None:
        self._ahead.pop(0)
        self.events += 1

    def _is_gap(self, line: ExportedEvent) -> bool:
        """Returns whether lines are missing before this line. If not, this line is in a wrong place."""
        return self._expected < line.position <= self._size and not self._next_is_near()

    def _next_is_near(self) -> bool:
        following = self._peek(1)
        return isinstance(following, ExportedEvent) and following.position in (self._expected, self._expected + 1)

    def _takes_the_place_of_another(self) -> bool:
        following = self._peek(1)
        return isinstance(following, ExportedEvent) and following.position == self._expected + 1

    def _misplaced(self, line: ExportedEvent) -> ExportFinding:
        job_id, seq = str(line.entry.job_id), line.entry.seq
        if 1 <= line.position <= self._size:
            return ExportFinding("REORDERED", "the line is in a wrong place, or is there twice", line.position, job_id, seq)
        return ExportFinding("INSERTED", "the checkpoint does not cover this line", line.position, job_id, seq)

    def _against(self, line: ExportedEvent, entry: bytes | None) -> Iterator[ExportFinding]:
        if entry is None or entry == line.entry.to_bytes():
            return
        job_id, seq = str(line.entry.job_id), line.entry.seq
        try:
            sealed = read_entry(entry)
        except BadEntry as error:
            yield ExportFinding("MODIFIED", f"its entry cannot be read: {error}", line.position, job_id, seq)
            return
        fault = self._fault(line, sealed)
        if fault is None:
            yield ExportFinding("REDACTED", "the data were erased, as a signed note says", line.position, job_id, seq)
        else:
            yield ExportFinding("MODIFIED", fault, line.position, job_id, seq)

    def _fault(self, line: ExportedEvent, sealed: Entry) -> str | None:
        """Returns the difference from the entry. Returns None if only the data differ, because they were erased."""
        shown = replace(line.entry, data_hash=sealed.data_hash)
        if shown.to_bytes() != sealed.to_bytes():
            differing = [each.name for each in fields(Entry) if getattr(shown, each.name) != getattr(sealed, each.name)]
            return f"the line differs from the entry in {', '.join(differing) or 'its form'}"
        if line.redaction is None:
            return "the data of the line do not have the hash in the entry"
        try:
            note = read_note(line.redaction.encode())
            redaction, signers = read_redaction(note.text), verified_by(note, self._trusted)
        except (BadNote, BadRedaction) as error:
            return f"the data differ, and the note about their erasure is not valid: {error}"
        left = hashlib.sha256(line.data).digest()
        named = (redaction.position, redaction.data_hash, redaction.left) == (line.position, sealed.data_hash, left)
        if not named or redaction.origin not in {signer.name for signer in signers}:
            return "the data differ, and the note about an erasure is about other data"
        return None


def _read(line: bytes | None) -> ExportedEvent | BadLine:
    if line is None:
        return BadLine("it is too long, or has no line feed at its end")
    try:
        return read_line(line)
    except BadLine as error:
        return error


def _missing(first: int, last: int) -> str:
    return f"the event at position {first} is missing" if first == last else f"the events at {first} to {last} are missing"
