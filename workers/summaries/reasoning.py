"""A model's thoughts, which some servers leave in its answer. They are no part of the answer, and nothing of them is kept.

Known forms: `<think>` and its likes in any case, with attributes, nested, unclosed or with the closing tag alone; `[THINK]`;
`◁think▷`; `<|begin_of_thought|>`; the channels of OpenAI's harmony format, with and without their marks.
"""

import re

_WORDS = (
    r"(?:think|thinking|thought|thoughts|reason|reasoning|reflect|reflection|scratchpad|analysis|deliberation|monologue"
    r"|inner|internal|chain|cot)(?:[_-][a-z]{1,20}){0,3}"
)
_MARK = re.compile(
    # A mark in quotes or in code is spoken of, not used.
    r"(?<![`'\"「『“‘])(?:"
    rf"[<＜◁][ \t]?(?P<closing>[/／]?)[ \t]?(?:[a-z]{{1,20}}:)?{_WORDS}(?=[\s>/＞▷])[^<>＜＞◁▷\n]{{0,200}}+[>＞▷]"
    rf"|&lt;(?P<closing_escaped>/?){_WORDS}&gt;"
    rf"|\[(?P<closing_bracket>/?){_WORDS}\]"
    rf"|<\|(?P<begin_or_end>begin_of_|end_of_|start_|end_|/)?{_WORDS}\|>"
    r"|(?P<details><details[ ]type=[\"']?reasoning[^<>\n]{0,200}+>)"
    r"|(?P<details_end></details>)"
    r")",
    re.IGNORECASE,
)
_CHANNEL = re.compile(r"<\|channel\|?>[ \t\n]{0,4}(?P<name>[a-z]{1,20})", re.IGNORECASE)
_END_OF_THOUGHTS = re.compile(r"<channel\|>", re.IGNORECASE)
"""Of Gemma's channels, which have no final one."""
_MESSAGE = re.compile(r"<\|message\|>", re.IGNORECASE)
_MESSAGE_END = re.compile(r"<\|(?:end|return|start|call)\|>", re.IGNORECASE)
_BARE_FINAL = re.compile(r"assistant ?final(?=[\s#*>\-A-Z\u3040-\u9fff])")
_FENCED = re.compile(r"^```[ \t]?" + _WORDS + r"[ \t]*+\n", re.IGNORECASE | re.MULTILINE)
_BLOCK = re.compile(r"<(?P<name>[a-z][\w:-]{0,40})(?:[ ][^<>\n]{0,200})?>", re.IGNORECASE)
_MOST_BLOCKS = 5


def without_reasoning(text: str) -> str:
    """What a model answered, without what it thought before. Empty where it did nothing but think."""
    return _without_unknown_blocks(_outside_marks(_without_fences(_final_channel(text))).strip())


def _final_channel(text: str) -> str:
    """Of harmony's channels the final one alone: "<|channel|>analysis<|message|>…<|channel|>final<|message|>…"."""
    channels = list(_CHANNEL.finditer(text))
    if channels:
        final = next((found for found in reversed(channels) if found["name"].lower() == "final"), None)
        if final is None:
            ends = [found.end() for found in _END_OF_THOUGHTS.finditer(text)]
            return text[ends[-1] :] if ends else ""
        message = _MESSAGE.search(text, final.end())
        text = text[message.end() if message else final.end() :]
        end = _MESSAGE_END.search(text)
        return text[: end.start()] if end else text
    if text.lstrip()[:10].lower().startswith(("analysis", "commentary")):
        finals = list(_BARE_FINAL.finditer(text))
        if finals:
            return text[finals[-1].end() :]
    return text


def _without_fences(text: str) -> str:
    """Without "```thinking" and what follows until its end."""
    kept: list[str] = []
    at = 0
    while found := _FENCED.search(text, at):
        kept.append(text[at : found.start()])
        end = text.find("\n```", found.end() - 1)
        if end < 0:
            return "".join(kept)
        at = end + len("\n```")
    return "".join([*kept, text[at:]])


def _outside_marks(text: str) -> str:
    """A closing mark without an opening one ends thoughts that began before the text; an opening one without a closing one
    begins thoughts that never end."""
    kept: list[str] = []
    depth = start = 0
    closed_last = False
    for found in _MARK.finditer(text):
        if found["details_end"] and depth == 0:
            continue  # the end of a fold that holds no thoughts
        if found[0].endswith(("/>", "/＞")):
            continue
        closed_last = _closes(found)
        if not closed_last:
            if depth == 0:
                kept.append(text[start : found.start()])
            depth += 1
        else:
            if depth == 0:
                kept.clear()
            depth = max(0, depth - 1)
            start = found.end()
    # Some models open their thoughts twice and close them once.
    return "".join([*kept, text[start:]]) if depth == 0 or closed_last else "".join(kept)


def _closes(found: re.Match[str]) -> bool:
    begin_or_end = (found["begin_or_end"] or "").lower()
    closing = found["closing"] or found["closing_escaped"] or found["closing_bracket"] or found["details_end"]
    return bool(closing) or begin_or_end in ("end_of_", "end_", "/")


def _without_unknown_blocks(text: str) -> str:
    """Without what stands before the answer in a tag that nobody knows. A tag around the whole answer is left to its reader."""
    for _ in range(_MOST_BLOCKS):
        found = _BLOCK.match(text)
        end = text.lower().find(f"</{found['name'].lower()}>") if found else -1
        if found is None or end < 0:
            return text
        rest = text[end + len(f"</{found['name']}>") :].strip()
        if not rest:
            return text
        text = rest
    return text
