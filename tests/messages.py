"""Makes conversations for the tests of summaries from pairs (sender, text)."""

from datetime import UTC, datetime, timedelta

from workers.summaries.summary import Message

MORNING = datetime(2026, 11, 24, 0, 0, tzinfo=UTC)
"""The time of the first message: a Tuesday, nine o'clock in Japan."""


def conversation(
    *said: tuple[str, str],
    room_id: str = "1",
    room_name: str = "営業",
    begins: datetime = MORNING,
    every: timedelta = timedelta(minutes=7),
    first_id: int = 1000,
) -> list[Message]:
    return [
        Message(room_id, room_name, str(first_id + at), sender, begins + at * every, body)
        for at, (sender, body) in enumerate(said)
    ]


def sections(content: str) -> dict[str, list[str]]:
    """Returns the lines under each heading of a draft, without empty lines."""
    found: dict[str, list[str]] = {}
    for line in content.splitlines():
        if line.startswith("## "):
            found[line.removeprefix("## ")] = []
        elif line:
            found[list(found)[-1]].append(line)
    return found
