"""The four headings of a draft. Whatever a model answers, what is kept has all of them, once each and in this order."""

import re

SUMMARY, KEY_TOPICS, OPEN_ITEMS, NEXT_ACTIONS = "Summary", "Key Topics", "Open Items", "Next Actions"
HEADINGS = (SUMMARY, KEY_TOPICS, OPEN_ITEMS, NEXT_ACTIONS)

NOTHING_SAID = "この期間のメッセージはありません。 (No messages in this period.)"
NOTHING = {"ja": "- なし", "en": "- None"}

_NAMES = {
    SUMMARY: ("summary", "overview", "要約", "概要", "サマリー", "まとめ"),
    KEY_TOPICS: ("key topics", "topics", "main topics", "主なトピック", "主要トピック", "主な話題", "トピック", "話題"),
    OPEN_ITEMS: ("open items", "open questions", "open issues", "未解決事項", "未解決の事項", "未決事項", "課題", "懸案事項"),
    NEXT_ACTIONS: ("next actions", "next steps", "action items", "actions", "次のアクション", "今後の対応", "次の対応"),
}
_CANONICAL = {name: heading for heading, names in _NAMES.items() for name in names}
_MARKED_LINE = re.compile(r"[ \t]{0,3}(?:#{1,6}[ \t]*(?P<hashed>[^\n]{1,80})|\*\*(?P<bold>[^*\n]{1,80})\*\*[ \t]*[:：]?[ \t]*)")
_FENCE = re.compile(r"\s*```(?:markdown|md)?[ \t]*\n(.*?)\n?```\s*", re.DOTALL | re.IGNORECASE)


def draft_of(sections: dict[str, list[str]], language: str) -> str:
    """Markdown out of each heading's lines. A heading without any says that there is nothing."""
    return "\n\n".join(
        f"## {heading}\n\n" + ("\n".join(sections.get(heading, [])).strip("\n") or NOTHING[language]) for heading in HEADINGS
    )


def draft_saying(text: str) -> str:
    """The four headings, each over the same text."""
    return draft_of({heading: [text] for heading in HEADINGS}, "en")


def repaired(answer: str, language: str) -> str:
    """A model's answer with exactly our headings: translated or differently marked ones are recognised, missing ones added,
    doubled ones joined, and what stands before the first belongs to the summary."""
    sections: dict[str, list[str]] = {heading: [] for heading in HEADINGS}
    current = SUMMARY
    for line in _unfenced(answer).splitlines():
        heading = _heading_in(line)
        if heading is not None:
            current = heading
        elif line.startswith(("# ", "## ")):
            sections[current].append(f"### {line.lstrip('# ')}")
        else:
            sections[current].append(line.rstrip())
    return draft_of({heading: _trimmed(lines) for heading, lines in sections.items()}, language)


def _heading_in(line: str) -> str | None:
    found = _MARKED_LINE.fullmatch(line)
    if found is None:
        return None
    name = re.sub(r"^\d+[.)]\s*|[*_#:：]+", "", found["hashed"] or found["bold"]).strip().casefold()
    return _CANONICAL.get(name) or _CANONICAL.get(re.split(r"[(（/]", name)[0].strip())


def _unfenced(answer: str) -> str:
    fenced = _FENCE.fullmatch(answer)
    return fenced[1] if fenced else answer


def _trimmed(lines: list[str]) -> list[str]:
    """Without empty lines at either end, and never more than one in a row."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines).strip("\n")).splitlines()
