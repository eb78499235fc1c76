"""Splits text into sentences, and sentences into content words, without a dictionary.

A content word in Japanese is a run of kanji, a run of katakana or a Latin word; hiragana counts as
grammar. This is crude, but enough to choose among sentences.
"""

import re
import unicodedata
from collections.abc import Iterable

from workers.summaries.digest.words import EMPTY_KANJI, GRAMMAR

MAX_SENTENCE = 300
MAX_SENTENCES_OF_A_MESSAGE = 30

_BULLET = re.compile(r"^[\s　>＞|]*(?:[-*+•・●○■□◆◇▼▽▲※→⇒★☆]+[\s　]*|\(?\d{1,2}[.)．）][\s　]+|[①-⑳][\s　]*|#{1,6}\s+)+")
_END = re.compile(
    r"(?<![。！？])[。！？]++(?![」』）)\]。！？!?])"
    r"|(?<![!?])[!?]++(?=[\s\u3040-\u30ff\u4e00-\u9fff]|$)(?![」』）)])"
    r"|(?<!\b[A-Z])(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bDr)(?<!\bNo)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)(?<!\bInc)(?<!\bLtd)[.](?=\s+[A-Z\"'(\d])"
)
_LAUGHTER = "笑wｗ♪☆★〜~～ \t\n　"
_FACE = re.compile(r"[（(](?:笑{1,12}|[^（()）ぁ-んァ-ヶ一-龥A-Za-z0-9]{2,12})[）)]$")
_LONGEST_FACE = 14
_END_MARKS = "。！？!? \t\n　"
_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff々]")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(
    r"[a-z][一-龥々]{1,4}|[一-龥々]+[a-z](?![a-z0-9])|[一-龥々]+|[ァ-ヶー]{2,}|[a-z][a-z0-9+#.'-]*[a-z0-9+#]|[a-z]\d+|\d[\d,.]*\d|\d"
)
_KANJI = re.compile(r"[一-龥々]")


def language_of(texts: Iterable[str]) -> str:
    """Returns "ja" or "en": Japanese if at least a fifth of the letters are Japanese."""
    sample = "".join(text[:2_000] for text in texts)
    letters = len(_LETTER.findall(sample))
    return "ja" if letters and len(_JAPANESE.findall(sample)) >= letters / 5 else "en"


def key_of(text: str) -> str:
    """Returns the text normalised for comparison: one width (NFKC), lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().replace("’", "'").split())


def sentences_of(text: str) -> list[str]:
    """Returns at most `MAX_SENTENCES_OF_A_MESSAGE` sentences of a message, without bullets."""
    sentences: list[str] = []
    for line in text.splitlines():
        sentences += _sentences_of_a_line(_BULLET.sub("", line))
        if len(sentences) >= MAX_SENTENCES_OF_A_MESSAGE:
            break
    return sentences[:MAX_SENTENCES_OF_A_MESSAGE]


def _sentences_of_a_line(line: str) -> list[str]:
    ends = [found.end() for found in _END.finditer(line)]
    pieces = [line[start:end] for start, end in zip([0, *ends], [*ends, len(line)], strict=True)]
    return [trimmed for piece in pieces if (trimmed := _trimmed(piece))]


def _trimmed(piece: str) -> str:
    piece = " ".join(_without_laughter(piece).split()).strip("　 、,=_-*─━―")
    if not _LETTER.search(piece) and not re.search(r"\d", piece):
        return ""
    return piece if len(piece) <= MAX_SENTENCE else piece[: MAX_SENTENCE - 1] + "…"


def _without_laughter(piece: str) -> str:
    """Removes laughter and faces from a sentence's end ("(笑)", "www"); end marks stay."""
    said = piece.rstrip(_END_MARKS)
    left = _without_last_laughs(said)
    while face := _FACE.search(left[-_LONGEST_FACE:]):
        left = _without_last_laughs(left[: -len(face[0])])
    return piece if left == said else left + piece[len(said) :]


def _without_last_laughs(text: str) -> str:
    left = text.rstrip(_LAUGHTER)
    laughs = text[len(left) :]
    if left[-1:].isascii() and left[-1:].isalpha():
        laughs = laughs[len(laughs) - len(laughs.lstrip("w")) :]  # keeps a "w" that ends a word such as "know"
    return text[: len(text) - len(laughs)] if laughs.strip() else text


def words_of(key: str) -> list[str]:
    """Returns the content words in a sentence's key, in order, with repetitions.

    A run of three or more kanji also yields its pairs, so that "見積書" and "見積" share a word.
    """
    words: list[str] = []
    for word in _WORD.findall(key):
        if word in GRAMMAR or word in EMPTY_KANJI:
            continue
        words.append(_stem(word))
        if len(word) > 2 and _KANJI.match(word):
            words += [word[at : at + 2] for at in range(min(len(word), 12) - 1)]
    return words


def _stem(word: str) -> str:
    """Returns an English word without its ending, so that "shared" and "share" are equal.

    The result is only compared, never shown.
    """
    return re.sub(r"(?:ing|ed|es|e|s)$", "", word) if len(word) >= 4 and word.isascii() else word


def letters_of(key: str) -> int:
    """Returns the number of letters and digits in a key."""
    return sum(1 for character in key if character.isalnum())
