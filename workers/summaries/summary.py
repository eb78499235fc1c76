"""What goes into a summary and what comes out of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from events.job import JSON

MAX_SOURCE_LINKS = 20
OFFICE_ZONE = timezone(timedelta(hours=9))
"""Asia/Tokyo, which has no summer time. Chatwork tells nobody's time zone; nearly all its offices are in Japan, and before nine
in the morning there "明日" is another day than in UTC."""


@dataclass(frozen=True, slots=True)
class Message:
    """A Chatwork message as it was stored; `body` still holds Chatwork's markup, `sender` is None where nobody is named."""

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
    """`content` is Markdown with the four headings; `source_links` are ids of messages that it drew on, at most 20."""

    content: str
    source_links: tuple[str, ...]
    model: str
    prompt_version: str
    usage: TokenUsage = TokenUsage()
