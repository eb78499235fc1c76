"""Takes secrets out of text before it is stored, logged or printed: those of this process by their value, others by their form.

Whoever assembles a process says what its secrets are (`hide`). Everything here takes linear time, whatever the text: it comes from
servers and people outside.
"""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

MARK = "[hidden]"
SHORTEST = 4  # characters; a shorter secret is found by its form alone, since it would tear up ordinary words
PLAIN = 10  # characters from which a secret is one also inside a longer word

_plain: set[str] = set()
_words: dict[str, re.Pattern[str]] = {}


def hide(secrets: Iterable[str]) -> None:
    """From now on these are replaced by a mark, also percent-encoded, percent-decoded, and as JSON or Python would write them."""
    for secret in secrets:
        for form in _forms(secret):
            if len(form) >= PLAIN:
                _plain.add(form)
            elif len(form) >= SHORTEST:
                _words[form] = re.compile(rf"(?<![0-9A-Za-z]){re.escape(form)}(?![0-9A-Za-z])")


def scrubbed(text: str) -> str:
    # The longest first: one secret may be a part of another.
    for secret in sorted(_plain, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, MARK)
    for word, pattern in _words.items():
        if word in text:
            text = pattern.sub(MARK, text)
    for sign, form, instead in _FORMS:
        if sign in text:
            text = form.sub(instead, text)
    return text


def _forms(secret: str) -> set[str]:
    decoded = unquote(secret)
    forms = {secret, decoded, quote(decoded, safe=""), quote(decoded)}
    forms |= {json.dumps(form)[1:-1] for form in forms} | {json.dumps(form, ensure_ascii=False)[1:-1] for form in forms}
    forms |= {repr(form)[1:-1] for form in forms}
    return {form for form in forms if form.strip()}


# What a secret looks like: a sign that must be there, its form, and what is left of it. Possessive, so that nothing is tried twice.
_FORMS = (
    ("://", re.compile(r"(://[^\s/@:\"']*+:)[^\s/@\"']*+@"), rf"\1{MARK}@"),
    ("earer", re.compile(r"\b([Bb]earer\s)\s{0,9}+[0-9A-Za-z._~+/=\-]{8,}+"), rf"\1{MARK}"),
    ("uthorization", re.compile(r"([Aa]uthorization[\"']?[:=]\s?[\"']?[Bb]asic\s)[0-9A-Za-z+/=]++"), rf"\1{MARK}"),
    ("sk-", re.compile(r"\bsk-[0-9A-Za-z_\-]{8,}+"), MARK),
    ("=", re.compile(r"(?i)((?:password|passwd|secret|token|api[_-]?key|signature)=[\"']?)[^\s\"'&,;)\]}\\]++"), rf"\1{MARK}"),
    (
        '"',
        re.compile(r"(?i)((?:password|passwd|secret|token|api[_-]?key)\\?\"\s?:\s?\\?\")[^\s\"\\]++"),
        rf"\1{MARK}",
    ),
)
