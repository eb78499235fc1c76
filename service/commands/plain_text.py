"""Makes untrusted text safe to print to a terminal.

Text from others (an error's message, a worker's name, a room's name) may hold escape sequences,
line feeds, bidirectional controls or invisible characters. Printed raw, it could forge lines of
output and control the terminal.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from rich.text import Text

SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
BLANKS = " \u3000"  # the blanks that people type; other kinds are escaped
# Unicode classifies these as letters and marks, but they are invisible: fillers, the grapheme
# joiner, variation selectors.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")

_UNPRINTED = bytes({*range(32), 127} - {10})  # of the bytes of ASCII, apart from line feeds


def plain(text: str) -> str:
    r"""Returns `text` on one line with all characters visible.

    Invisible characters are written as `\n`, `\x1b` or `\u202e`. A backslash is doubled, so that
    different texts never look the same.
    """
    return visible(text.replace("\\", r"\\"))


def visible(text: str) -> str:
    """Like `plain`, but a backslash stays single.

    It is for sentences of the service that contain data.
    """
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(char if _shows(char) else _escaped(char) for char in text)


def plain_text(text: str, style: str = "") -> Text:
    """Returns `plain` text for rich, which interprets markup in a `str` but not in a `Text`."""
    return Text(plain(text), style=style)


def plain_lines(text: str) -> str:
    """Returns a text with `visible` applied to each line."""
    return "\n".join(visible(line) for line in text.split("\n"))


def print_fields(*fields: str) -> None:
    """Prints one line for programs: fields separated by tabs. A tab inside a field is escaped."""
    print("\t".join(map(plain, fields)))


def print_json(value: Any) -> None:
    r"""Prints `value` as one line of JSON.

    Invisible characters are escaped like `\u202e`, which a JSON parser turns back into them.
    """
    text = orjson.dumps(value).decode()
    if not text.isprintable() or _UNSEEN.search(text):
        text = "".join(char if _shows(char) else _json_escaped(char) for char in text)
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


def print_json_lines(lines: Sequence[bytes]) -> None:
    """Prints lines of JSON, each with its line feed, as `print_json` would.

    Line breaks and tabs between the parts of a line become spaces.
    """
    whole = b"".join(lines)
    if not whole.isascii() or len(whole.translate(None, _UNPRINTED)) < len(whole):
        whole = b"".join(map(_visible_line, lines))
    sys.stdout.buffer.write(whole)
    sys.stdout.buffer.flush()


def _visible_line(line: bytes) -> bytes:
    text = line[:-1].decode()
    if text.isprintable() and (text.isascii() or not _UNSEEN.search(text)):
        return line
    # Inside a JSON text, these characters are always escaped. So here they stand between parts.
    text = text.translate({10: " ", 13: " ", 9: " "})
    return "".join(char if _shows(char) else _json_escaped(char) for char in text).encode() + b"\n"


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def named(names: Iterable[str], most: int = 20) -> str:
    """Returns the first `most` names, separated by commas, and the number of the others."""
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
