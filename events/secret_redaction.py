"""Removes secrets from text before it is stored, logged or printed.

Secrets of this process are found by their value (see `hide`), all others by their form, such as `password=…`. Everything here
takes linear time, because the text may come from hostile servers and people.
"""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

MARK = "[hidden]"
SHORTEST = 4  # characters; a shorter secret is found by its form only, because its value occurs in ordinary words
PLAIN = 10  # characters; a secret of this length or more is also replaced inside a longer word

_plain: set[str] = set()
_words: dict[str, re.Pattern[str]] = {}


def hide(secrets: Iterable[str]) -> None:
    """Registers secrets of this process, which `scrubbed` replaces from now on.

    Their percent-encoded, percent-decoded, JSON and Python forms are replaced as well.
    """
    for secret in secrets:
        for form in _forms(secret):
            if len(form) >= PLAIN:
                _plain.add(form)
            elif len(form) >= SHORTEST:
                _words[form] = re.compile(rf"(?<![0-9A-Za-z]){re.escape(form)}(?![0-9A-Za-z])")


def scrubbed(text: str) -> str:
    """Returns the text with `MARK` in the place of each secret."""
    # The longest secret goes first, because one secret may be part of another.
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


# Forms of secrets: a substring that must be there, the pattern, and its replacement. The quantifiers are possessive, so that no
# pattern backtracks.
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
