"""Finds the topics of messages: phrases that recur and are specific."""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from workers.summaries.digest.words import NO_ENGLISH_TOPICS, NO_JAPANESE_TOPICS

MAX_TOPICS = 8

_PHRASE = re.compile(r"(?:[一-龥々〆]|[ァ-ヶー]|[A-Za-z0-9.+#&_-]){2,24}")
_ENGLISH = re.compile(r"[A-Za-z][A-Za-z0-9+#&'’-]*")
_HAS_JAPANESE = re.compile(r"[一-龥々ァ-ヶ]")
_COUNTED = re.compile(r"^\d|^[\d年月日時分秒円万千百件名個台本社部回目度歳人階%./:-]+$|^[第約全各毎]?\d+")


def topics_of(texts: Sequence[str], names: Iterable[str] = (), *, named_at_least: int = 2) -> list[tuple[str, int]]:
    """Returns the topics, the heaviest first, each with the number of texts that name it.

    At least `named_at_least` texts must name a topic. People's `names` are not topics.
    """
    people = {part for name in names for part in re.split(r"[\s　・]+", unicodedata.normalize("NFKC", name).casefold()) if part}
    spelling: dict[str, Counter[str]] = defaultdict(Counter)
    named_in: Counter[str] = Counter()
    for text in texts:
        found = _phrases(unicodedata.normalize("NFKC", text))
        named_in.update({phrase.casefold() for phrase in found})
        for phrase in found:
            spelling[phrase.casefold()][phrase] += 1
    weighed = {key: _weight(key, count) for key, count in named_in.items() if _may_be_a_topic(key, people)}
    often = {key: weight for key, weight in weighed.items() if named_in[key] >= named_at_least}
    chosen = _without_parts_of_each_other(often, named_in)
    return [(_usual(spelling[key]), named_in[key]) for key in chosen]


def _phrases(text: str) -> list[str]:
    japanese = [_whole_word(found, text) for found in _PHRASE.finditer(text) if _HAS_JAPANESE.search(found[0])]
    return [*japanese, *_english_phrases(text)]


def _whole_word(found: re.Match[str], text: str) -> str:
    """Returns the phrase, extended or cut so that it ends where a word ends.

    A run of kanji keeps a kana that belongs to it ("夏休み"), and loses a last kanji that begins a
    verb ("全部|食べた").
    """
    phrase, rest = found[0].lstrip("ー").strip(".-_&"), text[found.end() : found.end() + 3]
    if not re.search(r"[一-龥々]$", phrase) or rest.startswith(("くらい", "ぐらい")):
        return phrase
    if re.match(r"[いきちみりえけせめれげべぎび](?:[はがのをにでともやかだ、。！？!?・\s]|$)", rest):
        return phrase + rest[0]
    return phrase[:-1] if re.match(r"[きくけぎぐげちつぬびぶべみむめりるれろわえうい]", rest) else phrase


def _english_phrases(text: str) -> list[str]:
    """Returns every sequence of one, two or three neighbouring words that may name a topic.

    A sequence ends before a single letter and before a word in `NO_ENGLISH_TOPICS`, such as "the".
    """
    phrases: list[str] = []
    for clause in re.split(r"[^A-Za-z0-9+#&'’ -]|\s-\s", text):
        run: list[str] = []
        for word in [*_ENGLISH.findall(clause), ""]:
            if word and word.casefold().replace("’", "'") not in NO_ENGLISH_TOPICS and len(word) > 1:
                run.append(word)
            else:
                phrases += [" ".join(run[at : at + size]) for size in (1, 2, 3) for at in range(len(run) - size + 1)]
                run = []
    return phrases


def _may_be_a_topic(key: str, people: set[str]) -> bool:
    if key in NO_JAPANESE_TOPICS or _COUNTED.match(key) or len(key) < 2:
        return False
    bare = re.sub(r"(?:さん|様|氏|-san)$", "", key)
    return bare not in people and not (key.isascii() and (set(key.split()) <= people or len(key) < 3))


def _weight(key: str, named_in: int) -> float:
    """Returns the weight of a phrase: higher if it is frequent, or long and so specific."""
    length = len(key) / 2.5 if key.isascii() else len(key)
    kana_or_latin = 1.15 if re.match(r"[ァ-ヶA-Za-z]", key) else 1.0
    return named_in * math.log(1 + min(length, 10)) * kana_or_latin


def _without_parts_of_each_other(weighed: dict[str, float], named_in: Counter[str]) -> list[str]:
    """Returns the heaviest phrases, of which none is part of another.

    If one phrase is part of another, the longer one stays if it is named nearly as often; otherwise
    the heavier one stays.
    """
    chosen: list[str] = []
    repeated = sorted(weighed, key=lambda key: (-weighed[key], key))
    for key in repeated[:200]:
        longer = [other for other in repeated[:200] if other != key and key in other and named_in[other] * 1.7 >= named_in[key]]
        if not longer and not any(_overlap(key, other) for other in chosen):
            chosen.append(key)
        if len(chosen) == MAX_TOPICS:
            break
    return chosen


def _overlap(key: str, other: str) -> bool:
    return key in other or other in key


def _usual(spellings: Counter[str]) -> str:
    return max(sorted(spellings), key=lambda spelling: spellings[spelling])
