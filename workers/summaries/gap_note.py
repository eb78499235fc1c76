"""Adds a note to a draft whose period may lack messages.

A gap is a place in a room where messages may be missing (table `chatwork_gaps`). The note is added
each time a draft is shown and is not stored with the draft, because a gap may be found or closed
after the draft was made.
"""

import re
from collections.abc import Sequence

from workers.summaries.markdown import SUMMARY

MOST_NAMES = 5
LONGEST_NAME = 60  # characters of a room's name in the note
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~&!])")


def with_gap_note(content: str, room_names: Sequence[str]) -> str:
    """Returns the content with a note that names these rooms.

    They are the rooms that may lack messages of the period. Without rooms the content is unchanged.
    """
    if not room_names:
        return content
    names = "、".join(_plain(name) for name in room_names[:MOST_NAMES])
    more = len(room_names) - MOST_NAMES
    note = (
        f"> **この期間のメッセージは、すべてそろっていない可能性があります**（{names}{f' ほか{more}ルーム' if more > 0 else ''}）。"
        "Chatwork から取得できなかったメッセージは、この要約に含まれていません。\n"
        "> (Messages of this period may be missing: Chatwork did not give all of them.)"
    )
    heading = f"## {SUMMARY}\n"
    before, _, after = content.partition(heading)
    # The note goes below the first heading, because readers and programs expect a draft to begin
    # with that heading.
    return f"{heading}\n{note}\n{after}" if not before and after else f"{note}\n\n{content}"


def _plain(name: str) -> str:
    """Returns a room's name on one line, with Markdown's special characters escaped."""
    text = " ".join(name.split())
    return _MARKUP.sub(r"\\\1", text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…")
