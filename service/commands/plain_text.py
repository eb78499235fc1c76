"""Data as a terminal may show it: plain text, of which nothing can be mistaken for the program's own words.

What others wrote (an error's message, a worker's name, a chat room's name) may hold colours, line feeds, characters that turn the
direction of writing, or some that cannot be seen. Printed as it is, it forges lines and steers the reader's terminal.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

import orjson
from rich.text import Text

SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
BLANKS = " \u3000"  # of the many kinds of blanks, those that people type
# Unicode calls these letters and marks, and nothing shows them: fillers, the grapheme joiner, variation selectors.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")


def plain(text: str) -> str:
    r"""`text` on one line, every character of it visible: others are written as `\n`, `\x1b` or `\u202e`, and a backslash is
    doubled, so that two different texts never look the same."""
    return visible(text.replace("\\", r"\\"))


def visible(text: str) -> str:
    """`plain` for sentences of our own that hold data: a backslash stays as it is."""
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(char if _shows(char) else _escaped(char) for char in text)


def plain_text(text: str, style: str = "") -> Text:
    """For rich, which reads markup in a `str` and none in this."""
    return Text(plain(text), style=style)


def plain_lines(text: str) -> str:
    """Text of several lines, which stay lines."""
    return "\n".join(visible(line) for line in text.split("\n"))


def print_fields(*fields: str) -> None:
    """A line for programs: fields with a tab between, and no tab in them."""
    print("\t".join(map(plain, fields)))


def print_json(value: Any) -> None:
    r"""`value` as one line of JSON. A character that cannot be seen is written as `\u202e`, which is the same string in JSON."""
    text = orjson.dumps(value).decode()
    if not text.isprintable() or _UNSEEN.search(text):
        text = "".join(char if _shows(char) else _json_escaped(char) for char in text)
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def named(names: Iterable[str], most: int = 20) -> str:
    """The names with a comma between, as far as a reader wants to see them."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _shows(char: str) -> bool:
    if char in BLANKS:
        return True
    return char.isprintable() and not _UNSEEN.match(char) and unicodedata.category(char) != "Zs"


def _escaped(char: str) -> str:
    code = ord(char)
    if char in SHORT:
        return SHORT[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))
