"""Finds the open requests and promises in a room: their owner, and the day they are due."""

import re
from dataclasses import dataclass, replace
from datetime import date, tzinfo

from workers.summaries.digest import cues
from workers.summaries.digest.conversation import MOST_LOOKED_AT, Line, Room, Turn, is_same_sender, says_again
from workers.summaries.digest.dates import Due, due_in
from workers.summaries.digest.sentences import key_of, words_of
from workers.summaries.digest.words import NO_NAMES

_DOING = re.compile(r"([一-龥々ァ-ヶー]{1,6})(?:さん|様|くん|君)(?=[がは、,])")
_ADDRESSED = re.compile(r"^@?([一-龥々ァ-ヶーA-Za-z]{1,12})(?:さん|様|くん|君|-san)[、,:：\s　へに]")
_ADDRESSED_IN_ENGLISH = re.compile(
    r"^@?([A-Z][a-z]{1,14})(?:-san)?[,:]\s|^@([A-Za-z][\w.-]{1,20})\s|^(?:[Cc]an|[Cc]ould|[Ww]ould) ([A-Z][a-z]{1,14}) "
)


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """A request or promise.

    `owner` and `asked_by` are names as written, None if nobody is named.
    """

    line: Line
    owner: str | None
    asked_by: str | None
    due: Due | None


def open_actions(room: Room, zone: tzinfo) -> list[Action]:
    """Returns the requests, promises and Chatwork tasks of a room that nobody reported done.

    Of a request that was repeated, only the last is kept. "明日" (tomorrow) counts from the day in
    `zone` on which the message was sent.
    """
    found = [
        (at, action)
        for at, turn in enumerate(room)
        for action in _asked_or_promised(room, at, turn.message.sent_at.astimezone(zone).date())
    ]
    done = [[line for line in turn.lines if cues.reports_done(line.key)] for turn in room]
    open_ones: list[Action] = []
    for at, action in found[-MOST_LOOKED_AT:]:
        if not _is_done(room, done, at, action):
            open_ones = [other for other in open_ones if not says_again(other.line, action.line)] + [action]
    return open_ones


def _asked_or_promised(room: Room, at: int, said_on: date) -> list[Action]:
    """Returns the requests and promises in one message.

    A line such as "明日までにお願いします" (by tomorrow, please) sets the deadline of the request
    before it.
    """
    found: list[Action] = []
    for line in [*room[at].tasks, *room[at].lines]:
        if action := _action(room, at, line, said_on):
            found.append(action)
        elif found and found[-1].due is None and cues.requests(line.key):
            found[-1] = replace(found[-1], due=due_in(line.text, said_on))
    return found


def _action(room: Room, at: int, line: Line, said_on: date) -> Action | None:
    turn, due = room[at], due_in(line.text, said_on)
    if line in turn.tasks or cues.requests(line.key):
        if not _thing(line, due):
            return None
        owner = _addressed_in(line.text) or _named_in(line.text, room) or "、".join(turn.plain.to) or _who_accepted(room, at)
        return Action(line, owner, turn.message.sender, due)
    if cues.promises(line.key) and (due or cues.without_verbs(line.words)):
        name = cues.promised_by(line.key)
        return Action(line, name.capitalize() if name else turn.message.sender, None, due)
    return None


def _thing(line: Line, due: Due | None) -> frozenset[str]:
    """Returns the words that name the task of a request, without the words of its due date."""
    return line.words - frozenset(words_of(key_of(due.text))) if due else line.words


def _addressed_in(text: str) -> str | None:
    found = _ADDRESSED.match(text) or _ADDRESSED_IN_ENGLISH.match(text)
    name = next((group for group in found.groups() if group), None) if found else None
    return None if name is None or name.casefold() in NO_NAMES else name


def _named_in(text: str, room: Room) -> str:
    """Returns the people of the room whom a request names as its owners.

    "報告書は鈴木さんが作成してください" (Suzuki, please write the report) names 鈴木.
    """
    senders = {turn.message.sender for turn in room}
    names = [name[-size:] for name in _DOING.findall(text) for size in range(len(name), 0, -1)]
    known = [name for name in names if any(sender and key_of(sender).startswith(key_of(name)) for sender in senders)]
    return "、".join(dict.fromkeys(known))


def _who_accepted(room: Room, at: int) -> str | None:
    """Returns the sender who accepts a request in the next three messages, or None.

    That person is the owner of a request that names nobody.
    """
    asked = room[at]
    for turn in room[at + 1 : at + 4]:
        about_it = not turn.plain.replies_to or asked.message.message_id in turn.plain.replies_to
        if not is_same_sender(turn.message, asked.message) and about_it and _begins_with_yes(turn):
            return turn.message.sender
    return None


def _begins_with_yes(turn: Turn) -> bool:
    return cues.accepts(key_of(turn.plain.text))


def _is_done(room: Room, done: list[list[Line]], at: int, action: Action) -> bool:
    """Whether a later message reports the action as done.

    The later message is a reply to the action's message, or has a line with at least 60 % of the
    action's words. `done` holds, for each turn of the room, the lines that report something as
    done.
    """
    thing = cues.without_verbs(_thing(action.line, action.due)) or action.line.words
    for turn, lines in zip(room[at + 1 :], done[at + 1 :], strict=True):
        if lines and action.line.message.message_id in turn.plain.replies_to:
            return True
        if thing and any(len(line.words & thing) / len(thing) >= 0.6 for line in lines):
            return True
    return False
