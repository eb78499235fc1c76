"""Messages read into turns and lines, room by room: what the extractive summariser works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from workers.summaries.cues import without_opening
from workers.summaries.markup import Plain, plain
from workers.summaries.sentences import key_of, sentences_of, words_of
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
    """Near-duplicates: most of the shorter one's words are in the other."""
    shorter = min(len(one.words), len(other.words))
    return one.key == other.key or (shorter > 0 and len(one.words & other.words) / shorter >= 0.65)


def is_same_person(name: str, sender: str) -> bool:
    """Whether "田中" is "田中 太郎": people are addressed by a part of their name."""
    name, sender = ("".join(key_of(part).split()) for part in (name, sender))
    return bool(name and sender) and (name in sender or sender in name)


def _line(message: Message, text: str) -> Line:
    shown = without_opening(text)
    key = key_of(shown)
    return Line(message, shown, key, frozenset(words_of(key)))
