"""Chooses the sentences that represent a conversation best."""

import math
from collections import Counter
from dataclasses import replace

from workers.summaries.digest import cues
from workers.summaries.digest.conversation import Line, Room, alike, is_same_sender
from workers.summaries.digest.sentences import letters_of

MAX_POINTS = 12


def points_of(rooms: list[Room]) -> list[Line]:
    """Returns up to 12 lines, room by room, in the order in which they were said.

    The number of lines grows with the length of the conversation. Each room gets at most a share
    of them, and near-duplicates are dropped.
    """
    lines = [line for room in rooms for line in _telling_lines(room)]
    weights = _word_weights([line.words for room in rooms for turn in room for line in turn.lines])
    wanted = min(MAX_POINTS, max(4, round(2 * math.sqrt(len(lines)))))
    share = max(2, math.ceil(1.2 * wanted / max(1, len(rooms))))
    taken_of: Counter[str] = Counter()
    chosen: list[int] = []
    worth = _worths(lines, weights)
    for at in sorted(range(len(lines)), key=lambda at: (-worth[at], at)):
        room_id = lines[at].message.room_id
        if taken_of[room_id] < share and not any(alike(lines[at], lines[other]) for other in chosen):
            chosen.append(at)
            taken_of[room_id] += 1
        if len(chosen) == wanted:
            break
    return [lines[at] for at in sorted(chosen)]


def _telling_lines(room: Room) -> list[Line]:
    """Returns the lines of a room that may be points of the summary.

    Small talk, questions, requests, promises and announcements are left out. A short answer keeps
    the question before it, because an answer such as "12/5です" (it is 12/5) cannot be understood
    alone.
    """
    telling: list[Line] = []
    for at, turn in enumerate(room):
        question = _question_just_before(room, at)
        for line in turn.lines:
            if any(
                is_other(line.key) for is_other in (cues.is_small_talk, cues.asks, cues.requests, cues.promises, cues.announces)
            ):
                continue
            if question and letters_of(line.key) < 30:
                telling.append(replace(line, before=question, words=line.words | question.words))
            elif telling and telling[-1].message is line.message and letters_of(line.key) < 12:
                telling[-1] = _joined(telling[-1], line)
            elif len(line.words) >= 2 and letters_of(line.key) >= 8:
                telling.append(line)
            question = None
    return telling


def _joined(line: Line, short: Line) -> Line:
    """Joins a line with the short line after it: "受領しました。15万円でした。"."""
    space = "" if line.text.endswith(("。", "！", "？", "!", "?")) and not short.text.isascii() else " "
    return replace(line, text=f"{line.text}{space}{short.text}", key=f"{line.key} {short.key}", words=line.words | short.words)


def _question_just_before(room: Room, at: int) -> Line | None:
    """Returns the question that ends the message before this one, if somebody else sent it."""
    if at == 0 or not room[at - 1].lines or is_same_sender(room[at - 1].message, room[at].message):
        return None
    last = room[at - 1].lines[-1]
    return last if cues.asks(last.key) and not cues.requests(last.key) and last.words and len(last.text) <= 60 else None


def _word_weights(sentences: list[frozenset[str]]) -> dict[str, float]:
    """Returns the weight of each word.

    The weight grows with the number of sentences that hold the word, and falls again if nearly all
    sentences hold it. A word of only one sentence weighs little, because it connects no sentences.
    """
    held_by = Counter(word for words in sentences for word in words)
    return {
        word: math.log(1 + count) * math.log(1 + len(sentences) / count) * (1.0 if count > 1 else 0.3)
        for word, count in held_by.items()
    }


def _worths(lines: list[Line], weights: dict[str, float]) -> list[float]:
    """Returns the worth of each line: its similarity to the other lines, plus `_gain`."""
    central = [sum(weights.get(word, 0.0) for word in sorted(line.words)) / (3 + len(line.words)) ** 0.6 for line in lines]
    most = max(central, default=0.0) or 1.0
    return [centrality / most + _gain(line) for centrality, line in zip(central, lines, strict=True)]


def _gain(line: Line) -> float:
    decision = 0.5 if cues.tells_of_a_decision(line.key) else 0.0
    figure = 0.25 if cues.holds_a_figure(line.key) else 0.0
    leaning = 0.3 if cues.leans_on_what_was_said_before(line.key) and not line.before else 0.0
    reaction = 0.3 if cues.reacts(line.key) else 0.0
    return decision + figure - leaning - reaction
