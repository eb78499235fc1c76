"""The four headings of a draft, and how a model's answer is put under them.

A stored draft has each heading exactly once, in this order, even if the model answered otherwise.
"""

import re

SUMMARY, KEY_TOPICS, OPEN_ITEMS, NEXT_ACTIONS = "Summary", "Key Topics", "Open Items", "Next Actions"
HEADINGS = (SUMMARY, KEY_TOPICS, OPEN_ITEMS, NEXT_ACTIONS)

NOTHING_SAID = "この期間のメッセージはありません。 (No messages in this period.)"
NOTHING = {"ja": "- なし", "en": "- None"}
LEFT_OUT = {
    "ja": "- （モデルの回答にこの項目の記載がありません）",
    "en": "- (The model's answer says nothing under this heading.)",
}
"""The text under a heading that the model left out or left empty.

It is not "none", because the model did not say that there is none."""
CUT = {"ja": "- …（長いため以下省略）", "en": "- … (the rest is left out: too long)"}

_NAMES = {
    SUMMARY: ("summary", "overview", "要約", "概要", "サマリー", "まとめ"),
    KEY_TOPICS: ("key topics", "topics", "main topics", "主なトピック", "主要トピック", "主な話題", "トピック", "話題"),
    OPEN_ITEMS: ("open items", "open questions", "open issues", "未解決事項", "未解決の事項", "未決事項", "課題", "懸案事項"),
    NEXT_ACTIONS: ("next actions", "next steps", "action items", "actions", "次のアクション", "今後の対応", "次の対応"),
}
_CANONICAL = {name: heading for heading, names in _NAMES.items() for name in names}
_MARKED_LINE = re.compile(
    r"[ \t]{0,3}(?:#{1,6}[ \t]*+(?P<hashed>[^\n]{1,80})|\*\*(?P<bold>[^*\n]{1,80})\*\*[ \t]*+[:：]?[ \t]*+)"
)
_LOOSELY_MARKED_LINE = re.compile(
    r"[ \t]{0,3}(?:\d{1,2}[.)][ \t]{0,3})?"
    r"(?:【(?P<bracketed>[^】\n]{1,40})】[ \t]*+|[■◆●▼□◇][ \t　]?(?P<squared>[^\n]{1,40})|(?P<named>[^\n:：]{1,40})[:：]?[ \t]*+)"
)
"""This pattern is tried only if no heading is marked as Markdown.

Where headings are marked as Markdown, an unmarked line such as "課題:" may be part of the summary."""
_TAG_ALONE = re.compile(r"[ \t]{0,3}</?[A-Za-z][\w:-]{0,40}>[ \t]{0,3}")

Sections = dict[str, list[str]]
"""Maps each heading of a text to the lines under it."""


def draft_of(sections: Sections, language: str) -> str:
    """Writes a draft in Markdown. A heading without lines gets "none" in the draft's language."""
    return _written({heading: sections.get(heading) or [NOTHING[language]] for heading in HEADINGS})


def draft_saying(text: str) -> str:
    """Writes a draft with the same text under each of the four headings."""
    return _written({heading: [text] for heading in HEADINGS})


def sections_of(answer: str) -> Sections:
    """Returns the lines of a model's answer under each heading.

    Headings are recognised in English and Japanese, and in several markings. If a heading comes
    again, its lines are added to its first section. Text before the first heading is dropped,
    because it is a greeting or reasoning in an unknown form. If "Summary" comes again after all
    four headings, everything before it is dropped, because it was the model's first try. If there
    is no heading, the whole answer is the summary.
    """
    lines = answer.splitlines()
    sections = _sections_marked_by(_MARKED_LINE, lines) or _sections_marked_by(_LOOSELY_MARKED_LINE, lines)
    sections = sections or _sections_marked_by(_MARKED_LINE, [f"## {SUMMARY}", *lines])
    return {heading: _trimmed(sections[heading]) for heading in HEADINGS if heading in sections}


def _sections_marked_by(marked_line: re.Pattern[str], lines: list[str]) -> Sections:
    sections: Sections = {}
    current: str | None = None
    for line in lines:
        heading = _heading_in(line, marked_line)
        if heading is not None:
            if heading == SUMMARY and sections.keys() == set(HEADINGS):
                sections = {}
            current = heading
            sections.setdefault(current, [])
        elif current is not None and not _TAG_ALONE.fullmatch(line):
            sections[current].append(f"### {line.lstrip('# ')}" if line.startswith(("# ", "## ")) else line.rstrip())
    return sections


def complete(sections: Sections, language: str) -> str:
    """Writes a draft from a model's sections. A missing or empty section gets `LEFT_OUT`."""
    return _written({heading: sections.get(heading) or [LEFT_OUT[language]] for heading in HEADINGS})


def as_answered(sections: Sections) -> str:
    """Writes the sections in Markdown, with only the headings that are present."""
    return _written(sections)


def shortened(sections: Sections, most: int, language: str) -> Sections:
    """Returns the sections, cut to about `most` characters in all.

    If they are too long, each section keeps its first lines, up to a quarter of `most`. So a long
    section does not take the space of the others.
    """
    if sum(map(_length, sections.values())) <= most:
        return sections
    share = most // len(HEADINGS)
    return {heading: _first_lines(lines, share, language) for heading, lines in sections.items()}


def _first_lines(lines: list[str], most: int, language: str) -> list[str]:
    if _length(lines) <= most:
        return lines
    left = most - len(CUT[language]) - 1
    kept: list[str] = []
    for line in lines:
        if len(line) + 1 > left:
            break
        kept.append(line)
        left -= len(line) + 1
    return [*(kept or [lines[0][: left - 1] + "…"]), CUT[language]]


def _length(lines: list[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _written(sections: Sections) -> str:
    return "\n\n".join(f"## {heading}\n\n" + "\n".join(lines).strip("\n") for heading, lines in sections.items())


def _heading_in(line: str, marked_line: re.Pattern[str]) -> str | None:
    found = marked_line.fullmatch(line)
    if found is None:
        return None
    marked = next(filter(None, found.groups()), "")
    name = re.sub(r"^\d{1,3}[.)]\s{0,3}|[*_#:：]+", "", marked).strip().casefold()
    return _CANONICAL.get(name) or _CANONICAL.get(re.split(r"[(（/\[【［]", name)[0].strip())


def _trimmed(lines: list[str]) -> list[str]:
    """Returns the lines without extra empty lines and without an unpaired "```" at the end."""
    text = "\n".join(lines).strip("\n")
    if text.count("```") % 2 and text.endswith("\n```"):
        text = text.removesuffix("\n```").rstrip("\n")
    elif text == "```":
        text = ""
    return re.sub(r"\n{3,}", "\n\n", text).splitlines()
