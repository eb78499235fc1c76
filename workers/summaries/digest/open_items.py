"""Finds the questions in a room that nobody answered."""

from datetime import timedelta

from workers.summaries.digest import cues
from workers.summaries.digest.conversation import MOST_LOOKED_AT, Line, Room, Turn, is_same_person, is_same_sender, says_again

ANSWERED_WITHIN = 6
"""An answer must be among this many messages of others after the question. Only a reply to the question may come later."""
SOON = timedelta(hours=3)


def open_questions(room: Room) -> list[Line]:
    """Returns the questions of a room that have no answer. "I will find out" is no answer."""
    questions = [(at, line) for at, turn in enumerate(room) for line in turn.lines if _is_a_question(line)]
    found: list[Line] = []
    for at, line in questions[-MOST_LOOKED_AT:]:
        if not _is_answered(room, at, line):
            found = [other for other in found if not says_again(other, line)] + [line]
    return found


def _is_a_question(line: Line) -> bool:
    return cues.asks(line.key) and not cues.requests(line.key) and bool(line.words)


def _is_answered(room: Room, at: int, question: Line) -> bool:
    others = [turn for turn in room[at + 1 :] if not is_same_sender(turn.message, question.message) and turn.lines]
    naming_it = [turn for turn in others[ANSWERED_WITHIN:] if question.message.message_id in turn.plain.replies_to]
    candidates = [*others[:ANSWERED_WITHIN], *naming_it]
    return any(_answers(turn, question, is_next=turn is candidates[0]) for turn in candidates)


def _answers(turn: Turn, question: Line, *, is_next: bool) -> bool:
    """Whether a turn answers a question.

    It does if it replies to the question, if it shares a word with the question, or if it is the
    next message of somebody else, comes within `SOON` and is not addressed to another person. It
    does not if it replies to another message, only asks back, or promises an answer for later.
    """
    if all(_is_a_question(line) for line in turn.lines) or any(cues.defers(line.key) for line in turn.lines):
        return False
    if turn.plain.replies_to:
        return question.message.message_id in turn.plain.replies_to
    if any(line.words & question.words for line in turn.lines if not _is_a_question(line)):
        return True
    asker = question.message.sender
    names = turn.plain.to
    addressed_elsewhere = bool(names and asker) and not any(is_same_person(name, asker or "") for name in names)
    return is_next and not addressed_elsewhere and turn.message.sent_at - question.message.sent_at < SOON
