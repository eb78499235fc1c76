"""The input and the output of a summary."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from events.job import JSON

MAX_SOURCE_LINKS = 20
OFFICE_ZONE = timezone(timedelta(hours=9))
"""Asia/Tokyo, which has no daylight saving time.

Chatwork's API tells no time zone, and nearly all its customers are in Japan. UTC would be wrong
there: before nine in the morning, "明日" (tomorrow) is another day than in UTC."""


@dataclass(frozen=True, slots=True)
class Message:
    """A Chatwork message as stored.

    `body` still holds Chatwork's markup; `sender` is None if its name is unknown.
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
    """`content`: Markdown with the four headings.

    `source_links`: ids of at most 20 messages that it rests on.
    """

    content: str
    source_links: tuple[str, ...]
    model: str
    prompt_version: str
    usage: TokenUsage = TokenUsage()
