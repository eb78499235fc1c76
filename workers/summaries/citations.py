"""Finds the citations in a model's answer, such as `[#3, #17]` and its variants.

Everything here takes time linear in the answer's length: the patterns are possessive, so they never
backtrack.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST_REST = 200
"""The closing bracket must follow within this many characters after the numbers."""
_SHORT = 24
"""If at most this many characters stand between the numbers and the bracket ("など", "etc."), they are removed too.

A longer text stays in the answer."""

_NUMBERS = re.compile(
    r"[\[［【][ \t　]?[#＃][ \t　]?\d++"
    r"(?:[\d \t　,，、;；・/&＆〜～~–—-]|\n[ \t　]{0,4}(?=[#＃]\d)|[#＃](?=[ \t　]?\d)|と|及び|および|から|and\b|to\b)*+"
)
_REST = re.compile(rf"([^\[\]［］【】\n]{{0,{_LONGEST_REST}}}+)[\]］】]")
_CUT_OFF_REST = re.compile(r"(?:[#＃]|など|等|ほか|他|etc\.?|\.{2,3}|…){0,20}+[ \t　]{0,20}+(?=\n|$)")
_CUT_OFF = re.compile(r"[\[［【][ \t　]?[#＃]?[ \t　]?$")
_NUMBER = re.compile(r"\d++")
_RANGE = re.compile(r"(?<!\d)(\d{1,6})[ \t　]?[〜～~–—-][ \t　]?[#＃]?(\d{1,6})(?!\d)")
_WIDEST_RANGE = 300
_HASHED = re.compile(r"[#＃][ \t　]?\d++")


@dataclass(frozen=True, slots=True)
class _Marker:
    """One citation: its start and end in the answer, its numbers, and the words that stay."""

    start: int
    end: int
    numbers: tuple[int, ...]
    words: str


def cited_in(answer: str) -> list[int]:
    """Returns the numbers of the cited messages, each once, in the order of the answer."""
    return list(dict.fromkeys(number for marker in _markers(answer) for number in marker.numbers))


def without_citations(answer: str) -> str:
    """Returns the answer without its citations. A longer text inside the brackets stays.

    The numbers are removed, because the draft's source links replace them.
    """
    pieces: list[str] = []
    end = 0
    for marker in _markers(answer):
        pieces += [answer[end : marker.start].rstrip(" \t　"), f" [{marker.words}]" if marker.words else ""]
        end = marker.end
    return "".join([*pieces, _without_a_cut_off_marker(answer[end:])])


def _markers(answer: str) -> Iterator[_Marker]:
    for found in _NUMBERS.finditer(answer):
        rest = _REST.match(answer, found.end())
        if rest is None:
            # There is no closing bracket: the answer was cut off inside the list, or the model
            # forgot the bracket.
            cut_off = _CUT_OFF_REST.match(answer, found.end())
            yield _Marker(found.start(), cut_off.end() if cut_off else found.end(), _numbers_in(found[0]), "")
            continue
        words = rest[1].strip(" \t　")
        yield _Marker(
            found.start(), rest.end(), _numbers_in(found[0] + "".join(_HASHED.findall(rest[1]))),
            "" if len(words) <= _SHORT else " ".join(_HASHED.sub("", words).split()),
        )  # fmt: skip


def _numbers_in(text: str) -> tuple[int, ...]:
    """Returns the numbers in a citation: 3, 4 and 5 for "#3-#5".

    A number of more than six digits is left out, because no message has such a number.
    """
    return tuple(int(digits) for digits in _NUMBER.findall(_RANGE.sub(_written_out, text)) if len(digits) <= 6)


def _written_out(found: re.Match[str]) -> str:
    first, last = int(found[1]), int(found[2])
    return " ".join(map(str, range(first, last + 1))) if 0 <= last - first < _WIDEST_RANGE else found[0]


def _without_a_cut_off_marker(end: str) -> str:
    """Removes an incomplete citation at the end of an answer that was cut off: "… [#"."""
    tail = end[-8:].rstrip()
    found = _CUT_OFF.search(tail)
    return end if found is None else end[: len(end) - len(end[-8:]) + found.start()].rstrip(" \t　")
