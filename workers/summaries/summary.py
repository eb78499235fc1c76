"""The input of a summary (messages) and its output (the text and its source links)."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from events.job import JSON

MAX_SOURCE_LINKS = 20
OFFICE_ZONE = timezone(timedelta(hours=9))
"""The zone in which times are read and written: Asia/Tokyo, which has no daylight saving time.

Chatwork's API does not give a person's time zone, and nearly all its customers are in Japan. In UTC
"明日" (tomorrow) would be the wrong day if it is said before 09:00 in Japan."""


@dataclass(frozen=True, slots=True)
class Message:
    """A Chatwork message as stored.

    `body` still holds Chatwork's markup; `sender` is None if the sender's name is unknown.
    """

    room_id: str
    room_name: str
    message_id: str
    sender: str | None
    sent_at: datetime
    body: str


@dataclass(frozen=True, slots=True)
class TokenUsage:
    prompt: int = 0
    completion: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(self.prompt + other.prompt, self.completion + other.completion)

    def to_json(self) -> dict[str, JSON]:
        return {
            "promptTokens": self.prompt,
            "completionTokens": self.completion,
            "totalTokens": self.prompt + self.completion,
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of the summariser.

    `content`: Markdown with the four headings. `source_links`: the ids of at most 20 messages on
    which the content rests.
    """

    content: str
    source_links: tuple[str, ...]
    model: str
    prompt_version: str
    usage: TokenUsage = TokenUsage()
