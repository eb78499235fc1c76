"""Splits messages into turns and lines, room by room, for the extractive summariser."""

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
    """One sentence of a message.

    `key` is the normalised text (`key_of`). If the line is a short answer, `before` is its
    question.
    """

    message: Message
    text: str
    key: str
    words: frozenset[str]
    before: "Line | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One message without markup, split into sentences (`lines`) and Chatwork tasks."""

    message: Message
    plain: Plain
    lines: tuple[Line, ...]
    tasks: tuple[Line, ...]


Room = list[Turn]

MAX_KEY = 600
"""A key is cut to this many characters, because normalisation (NFKC) may turn one character into eighteen."""
MOST_LOOKED_AT = 300
"""Only this many of a room's last questions, and of its last requests, are examined, to bound the time."""

_NAME = re.compile(r"\d|[ァ-ヶ]|[a-z][一-龥]|(?<![一-龥])[一-龥]++[a-z]$")


def by_room(messages: Sequence[Message]) -> list[list[Message]]:
    """Returns a list of messages for each room, sorted by time.

    The rooms are sorted by the time of their first message. The messages of different rooms are not
    mixed, because mixed messages are not a conversation.
    """
    in_time = sorted(messages, key=lambda message: (message.sent_at, len(message.message_id), message.message_id))
    place = {room_id: at for at, room_id in enumerate(dict.fromkeys(message.room_id for message in in_time))}
    by_place = sorted(in_time, key=lambda message: place[message.room_id])
    return [list(room) for _, room in groupby(by_place, key=lambda message: message.room_id)]


def turn_of(message: Message) -> Turn:
    read = plain(message.body)
    lines = tuple(_line(message, text) for text in sentences_of(read.text))
    tasks = tuple(_line(message, text) for task in read.tasks for text in sentences_of(task)[:1])
    return Turn(message, read, lines, tasks)


def alike(one: Line, other: Line) -> bool:
    """Whether two lines are near-duplicates.

    They are if most words of the shorter one are in the other, and no names or figures differ.
    """
    shorter = min(len(one.words), len(other.words))
    overlap = len(one.words & other.words) / shorter if shorter else 0.0
    return one.key == other.key or (overlap >= 0.65 and not _things_differ(one, other))


def says_again(one: Line, other: Line) -> bool:
    """Whether one line repeats the other.

    It does if three quarters of the words of both are shared, and no names or figures differ.
    """
    either = len(one.words | other.words)
    overlap = len(one.words & other.words) / either if either else 0.0
    return one.key == other.key or (overlap >= 0.75 and not _things_differ(one, other))


def _things_differ(one: Line, other: Line) -> bool:
    """Whether each of two lines has a figure or a name (katakana, A社) that the other lacks."""
    things, others = ({word for word in line.words if _NAME.match(word)} for line in (one, other))
    return not (things <= others or others <= things)


def is_same_sender(one: Message, other: Message) -> bool:
    """Whether two turns have the same known sender. Two unknown senders may be two people."""
    return one.sender is not None and one.sender == other.sender


def is_same_person(name: str, sender: str) -> bool:
    """Whether one name contains the other: people are addressed by a part of their name."""
    name, sender = ("".join(key_of(part).split()) for part in (name, sender))
    return bool(name and sender) and (name in sender or sender in name)


def _line(message: Message, text: str) -> Line:
    shown = without_opening(text)
    key = key_of(shown)[:MAX_KEY]
    return Line(message, shown, key, frozenset(words_of(key)))
