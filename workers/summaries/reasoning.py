"""Removes the reasoning that some servers leave in a model's answer.

Known forms: `<think>` and similar tags in upper or lower case, with attributes, nested, unclosed or
with the closing tag alone; `[THINK]`; `◁think▷`; `<|begin_of_thought|>`; the channels of OpenAI's
harmony format, with and without their markers.
"""

import re

_WORDS = (
    r"(?:think|thinking|thought|thoughts|reason|reasoning|reflect|reflection|scratchpad|analysis|deliberation|monologue"
    r"|inner|internal|chain|cot)(?:[_-][a-z]{1,20}){0,3}"
)
_MARK = re.compile(
    # A tag after a quote or a backtick is quoted text, so it does not begin reasoning.
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
"""The end of reasoning in Gemma's format, which has no final channel."""
_MESSAGE = re.compile(r"<\|message\|>", re.IGNORECASE)
_MESSAGE_END = re.compile(r"<\|(?:end|return|start|call)\|>", re.IGNORECASE)
_BARE_FINAL = re.compile(r"assistant ?final(?=[\s#*>\-A-Z\u3040-\u9fff])")
_FENCED = re.compile(r"^```[ \t]?" + _WORDS + r"[ \t]*+\n", re.IGNORECASE | re.MULTILINE)
_BLOCK = re.compile(r"<(?P<name>[a-z][\w:-]{0,40})(?:[ ][^<>\n]{0,200})?>", re.IGNORECASE)
_MOST_BLOCKS = 5


def without_reasoning(text: str) -> str:
    """Returns a model's answer without its reasoning; empty if there is nothing else."""
    return _without_unknown_blocks(_outside_marks(_without_fences(_final_channel(text))).strip())


def _final_channel(text: str) -> str:
    """Returns the final channel of an answer in OpenAI's harmony format; else the whole text.

    The format is "<|channel|>analysis<|message|>…<|channel|>final<|message|>…". Without a final
    channel the result is the text after the end of Gemma's reasoning, or empty. If a server has
    removed the markers, the text begins with "analysis", and the answer follows "assistantfinal".
    """
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
    """Returns the text without blocks fenced as "```thinking"."""
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
    """Returns the text outside pairs of reasoning tags.

    A closing tag without an opening one ends reasoning that began before the text. An opening tag
    without a closing one begins reasoning that lasts to the end.
    """
    kept: list[str] = []
    depth = start = 0
    closed_last = False
    for found in _MARK.finditer(text):
        if found["details_end"] and depth == 0:
            continue  # This tag closes a <details> that is not reasoning.
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
    # Some models open a tag twice and close it once, so text after a last closing tag is kept.
    return "".join([*kept, text[start:]]) if depth == 0 or closed_last else "".join(kept)


def _closes(found: re.Match[str]) -> bool:
    begin_or_end = (found["begin_or_end"] or "").lower()
    closing = found["closing"] or found["closing_escaped"] or found["closing_bracket"] or found["details_end"]
    return bool(closing) or begin_or_end in ("end_of_", "end_", "/")


def _without_unknown_blocks(text: str) -> str:
    """Removes blocks in unknown tags from the beginning of a text.

    A tag around the whole text stays, because the answer is inside it.
    """
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
