"""The sentence with which a draft begins where messages of its period may be missing.

It is put before a draft whenever one is shown, not when one is made: gaps are found and closed later too, and a draft that is
answered again must not claim more than is known now.
"""

import re
from collections.abc import Sequence

from workers.summaries.markdown import SUMMARY

MOST_NAMES = 5
LONGEST_NAME = 60  # characters
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~&!])")


def with_gap_note(content: str, room_names: Sequence[str]) -> str:
    """`room_names` are those of the rooms with a gap in the period; without any the content stays as it is."""
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
    # A draft begins with this heading, and it stays the first: readers and programs look for it there.
    return f"{heading}\n{note}\n{after}" if not before and after else f"{note}\n\n{content}"


def _plain(name: str) -> str:
    """A room's name as text that is no Markdown, in one line."""
    text = " ".join(name.split())
    return _MARKUP.sub(r"\\\1", text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…")
