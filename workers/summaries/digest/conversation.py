"""Messages read into turns and lines, room by room: what the extractive summariser works on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from workers.summaries.digest.cues import without_opening
from workers.summaries.digest.sentences import key_of, sentences_of, words_of
from workers.summaries.markup import Plain, plain
from workers.summaries.summary import Message


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One sentence of one message; `before` is the question that it answers, where it can't be understood without."""

    message: Message
    text: str
    key: str
    words: frozenset[str]
    before: "Line | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One message, read."""

    message: Message
    plain: Plain
    lines: tuple[Line, ...]
    tasks: tuple[Line, ...]


Room = list[Turn]

MAX_KEY = 600
"""Characters of a sentence that are compared: in one width and one case, one character may become eighteen."""
MOST_LOOKED_AT = 300
"""Of a room's questions, and of its requests and promises, so many of the last are compared with what was said later."""

_NAME = re.compile(r"\d|[ァ-ヶ]|[a-z][一-龥]|(?<![一-龥])[一-龥]++[a-z]$")


def by_room(messages: Sequence[Message]) -> list[list[Message]]:
    """The messages room by room, in the order in which the rooms first spoke, each in the order of time. What two rooms said
    at the same hour, interleaved by the clock, is no conversation."""
    in_time = sorted(messages, key=lambda message: (message.sent_at, len(message.message_id), message.message_id))
    place = {room_id: at for at, room_id in enumerate(dict.fromkeys(message.room_id for message in in_time))}
    together = sorted(in_time, key=lambda message: place[message.room_id])
    return [list(room) for _, room in groupby(together, key=lambda message: message.room_id)]


def turn_of(message: Message) -> Turn:
    read = plain(message.body)
    lines = tuple(_line(message, text) for text in sentences_of(read.text))
    tasks = tuple(_line(message, text) for task in read.tasks for text in sentences_of(task)[:1])
    return Turn(message, read, lines, tasks)


def alike(one: Line, other: Line) -> bool:
    """Near-duplicates for a reader: most of the shorter one's words are in the other, and they name no different things."""
    shorter = min(len(one.words), len(other.words))
    overlap = len(one.words & other.words) / shorter if shorter else 0.0
    return one.key == other.key or (overlap >= 0.65 and not _things_differ(one, other))


def says_again(one: Line, other: Line) -> bool:
    """The same request or question once more: nearly all words in common. A社 and B社 are two requests."""
    either = len(one.words | other.words)
    overlap = len(one.words & other.words) / either if either else 0.0
    return one.key == other.key or (overlap >= 0.75 and not _things_differ(one, other))


def _things_differ(one: Line, other: Line) -> bool:
    """Each names a figure or a name (figures, katakana, A社) that the other does not."""
    things, others = ({word for word in line.words if _NAME.match(word)} for line in (one, other))
    return not (things <= others or others <= things)


def is_same_sender(one: Message, other: Message) -> bool:
    """Two messages that name nobody may be of two people."""
    return one.sender is not None and one.sender == other.sender


def is_same_person(name: str, sender: str) -> bool:
    """Whether "田中" is "田中 太郎": people are addressed by a part of their name."""
    name, sender = ("".join(key_of(part).split()) for part in (name, sender))
    return bool(name and sender) and (name in sender or sender in name)


def _line(message: Message, text: str) -> Line:
    shown = without_opening(text)
    key = key_of(shown)[:MAX_KEY]
    return Line(message, shown, key, frozenset(words_of(key)))
