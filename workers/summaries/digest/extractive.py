"""The extractive summariser: it quotes sentences, and needs no model and no network.

It is deterministic and pure. Greetings and repetitions are dropped. The most central sentences
become the summary, a question that nobody answered becomes an open item, and a request or promise
that nobody reported done becomes a next action.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from workers.summaries.digest import cues
from workers.summaries.digest.actions import Action, open_actions
from workers.summaries.digest.conversation import Line, Room, by_room, turn_of
from workers.summaries.digest.open_items import open_questions
from workers.summaries.digest.points import points_of
from workers.summaries.digest.sentences import language_of
from workers.summaries.digest.topics import topics_of
from workers.summaries.markdown import KEY_TOPICS, NEXT_ACTIONS, NOTHING_SAID, OPEN_ITEMS, SUMMARY, draft_of, draft_saying
from workers.summaries.summary import MAX_SOURCE_LINKS, OFFICE_ZONE, Message

MODEL = "extractive-1"
MAX_OPEN_ITEMS, MAX_ACTIONS = 8, 10
MAX_QUOTED = 160
"""A quoted sentence is cut to this many characters."""


def summarise(messages: Sequence[Message]) -> tuple[str, tuple[str, ...]]:
    """Returns a draft in Markdown, and the ids of at most 20 messages that the draft quotes."""
    if not messages:
        return draft_saying(NOTHING_SAID), ()
    rooms = [[turn_of(message) for message in room] for room in by_room(messages)]
    lines = (line for room in rooms for turn in room for line in (*turn.lines, *turn.tasks))
    write = _Writer(language_of(line.text for line in lines), several_rooms=len(rooms) > 1)
    points = points_of(rooms)
    questions = [line for room in rooms for line in open_questions(room)][-MAX_OPEN_ITEMS:]
    actions = [action for room in rooms for action in open_actions(room, OFFICE_ZONE)][-MAX_ACTIONS:]
    sections = {
        SUMMARY: [write.overview([turn.message for room in rooms for turn in room]), *(write.point(line) for line in points)],
        KEY_TOPICS: [write.topic(*topic) for topic in _topics(rooms, points)],
        OPEN_ITEMS: [write.question(line) for line in questions],
        NEXT_ACTIONS: [write.action(action) for action in actions],
    }
    quoted = [*points, *questions, *(action.line for action in actions)]
    links = dict.fromkeys(line.message.message_id for line in quoted)
    return draft_of(sections, write.language), tuple(links)[:MAX_SOURCE_LINKS]


def _topics(rooms: list[Room], points: list[Line]) -> list[tuple[str, int]]:
    turns = [turn for room in rooms for turn in room]
    texts = ["\n".join(line.text for line in turn.lines if not cues.is_small_talk(line.key)) for turn in turns]
    names = sorted({name for turn in turns for name in (turn.message.sender, *turn.plain.to) if name})
    return topics_of(texts, names) or topics_of([line.text for line in points], names, named_at_least=1)[:3]


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the lines of a draft in the language of the messages."""

    language: str
    several_rooms: bool

    def overview(self, messages: Sequence[Message]) -> str:
        first, last = (self._day(end(message.sent_at for message in messages)) for end in (min, max))
        people = [name for name in dict.fromkeys(message.sender for message in messages) if name]
        rooms = len({message.room_id for message in messages})
        if self.language == "ja":
            period = first if first == last else f"{first}〜{last}"
            who = "、".join(people[:6]) + (f" ほか{len(people) - 6}名" if len(people) > 6 else "")
            return f"{period}、{rooms}ルームのメッセージ{len(messages)}件" + (f"（{who}）" if who else "") + "\n"
        period = first if first == last else f"{first} to {last}"
        who = ", ".join(people[:6]) + (f" and {len(people) - 6} more" if len(people) > 6 else "")
        of = f"{len(messages)} message{'s' * (len(messages) != 1)} in {rooms} room{'s' * (rooms != 1)}"
        return f"{of}, {period}" + (f" ({who})" if who else "") + "\n"

    def point(self, line: Line) -> str:
        if line.before is None:
            return self._said(line)
        return f"{self._said(line.before)} → {self._speaker(line)}{_shortened(line.text)}"

    def topic(self, phrase: str, named_in: int) -> str:
        if self.language == "ja":
            return f"- {phrase}（{named_in}件）"
        return f"- {phrase} ({named_in} message{'s' * (named_in != 1)})"

    def question(self, line: Line) -> str:
        day = self._day(line.message.sent_at)
        return self._said(line) + (f"（{day}）" if self.language == "ja" else f" ({day})")

    def action(self, action: Action) -> str:
        asked_by = action.asked_by if action.asked_by != action.owner else None
        if self.language == "ja":
            facts = [f"期限: {action.due.label()}" if action.due else "", f"依頼: {asked_by}" if asked_by else ""]
            noted = "、".join(filter(None, facts))
            return f"- **{action.owner or '担当者の記載なし'}**: {_shortened(action.line.text)}" + (
                f"（{noted}）" if noted else ""
            )
        facts = [f"due: {action.due.label()}" if action.due else "", f"asked by {asked_by}" if asked_by else ""]
        noted = "; ".join(filter(None, facts))
        return f"- **{action.owner or 'Nobody named'}**: {_shortened(action.line.text)}" + (f" ({noted})" if noted else "")

    def _said(self, line: Line) -> str:
        room = f"[{line.message.room_name}] " if self.several_rooms else ""
        return f"- {room}{self._speaker(line)}{_shortened(line.text)}"

    def _speaker(self, line: Line) -> str:
        return f"{line.message.sender}: " if line.message.sender else ""

    def _day(self, at: datetime) -> str:
        day = at.astimezone(OFFICE_ZONE)
        return f"{day.month}/{day.day}" if self.language == "ja" else f"{day.day} {day:%b}"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"
