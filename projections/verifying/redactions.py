"""The signed notes about erased data.

An erased event no longer has the data whose hash is in its leaf. Its note names that hash, and the hash of the data that are
left. Without a note that a trusted key has signed for this log and this position, an erased event is a fault.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from events.audit_findings import FindingName
from events.database import Connection
from projections.proof.redaction import BadRedaction, Redaction, read_redaction
from projections.proof.signed_note import BadNote, Verifier, open_note
from projections.verifying.findings import Finding

REDACTIONS = "select position, note from redactions where $1::bigint[] is null or position = any($1) order by position"

Excused = Mapping[int, Redaction]
"""The valid notes by position."""


async def redactions(
    connection: Connection, trusted: Sequence[Verifier], origins: Collection[str], positions: Sequence[int] | None = None
) -> tuple[dict[int, Redaction], list[tuple[int, str]]]:
    """Returns the valid notes by position, and the position and the fault of each note that is not valid.

    Reads the notes about `positions`, or all notes.
    """
    valid: dict[int, Redaction] = {}
    wrong: list[tuple[int, str]] = []
    for row in await connection.fetch(REDACTIONS, positions):
        try:
            redaction = read_redaction(open_note(row["note"].encode(), trusted))
        except (BadNote, BadRedaction) as error:
            wrong.append((row["position"], str(error)))
            continue
        if redaction.position != row["position"] or redaction.origin not in origins:
            wrong.append((row["position"], "the note is about another event or another log"))
            continue
        valid[redaction.position] = redaction
    return valid, wrong


def refused_findings(refused: Sequence[tuple[int, str]]) -> Iterator[Finding]:
    """Yields a finding for each note that is not valid, given by its position and its fault."""
    for position, why in refused:
        yield Finding(FindingName.BAD_SIGNATURE, None, None, position, f"the note about erased data is not valid: {why}")
