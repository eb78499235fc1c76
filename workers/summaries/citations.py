"""How a model's answer points back at messages: `[#3, #17]`, and what models make of that form.

Everything here takes time linear in the answer's length: each pattern gives back nothing of what it has taken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST_REST = 200
"""Characters after the numbers in which the closing bracket is looked for."""
_SHORT = 24
"""Characters that may follow the numbers inside the brackets and go with them: "など", "etc.", "and 3 more"."""

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
    """Where it stands, the numbers in it, and the words in it that say more than numbers."""

    start: int
    end: int
    numbers: tuple[int, ...]
    words: str


def cited_in(answer: str) -> list[int]:
    """The numbers of the messages that an answer rests on, in the order in which it names them."""
    return list(dict.fromkeys(number for marker in _markers(answer) for number in marker.numbers))


def without_citations(answer: str) -> str:
    """The numbers mean nothing to a reader: the draft's source links stand for them. Words inside the brackets stay."""
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
            # No closing bracket: the answer was cut off inside the list, or the model forgot it.
            cut_off = _CUT_OFF_REST.match(answer, found.end())
            yield _Marker(found.start(), cut_off.end() if cut_off else found.end(), _numbers_in(found[0]), "")
            continue
        words = rest[1].strip(" \t　")
        yield _Marker(
            found.start(), rest.end(), _numbers_in(found[0] + "".join(_HASHED.findall(rest[1]))),
            "" if len(words) <= _SHORT else " ".join(_HASHED.sub("", words).split()),
        )  # fmt: skip


def _numbers_in(text: str) -> tuple[int, ...]:
    """Messages are numbered from 1 to 300: a longer run of digits is no number of a message. "#3-#5" names all three."""
    return tuple(int(digits) for digits in _NUMBER.findall(_RANGE.sub(_written_out, text)) if len(digits) <= 6)


def _written_out(found: re.Match[str]) -> str:
    first, last = int(found[1]), int(found[2])
    return " ".join(map(str, range(first, last + 1))) if 0 <= last - first < _WIDEST_RANGE else found[0]


def _without_a_cut_off_marker(end: str) -> str:
    """An answer that ends in the middle of a marker: "… [#"."""
    tail = end[-8:].rstrip()
    found = _CUT_OFF.search(tail)
    return end if found is None else end[: len(end) - len(end[-8:]) + found.start()].rstrip(" \t　")
