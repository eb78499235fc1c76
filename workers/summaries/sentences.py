"""Text cut into sentences, and sentences into the words that carry their meaning, in Japanese and English without a dictionary.

A Japanese word of content is a run of kanji, a run of katakana or a Latin word; hiragana is grammar. It is crude, it needs
nothing, and for choosing among sentences it is enough.
"""

import re
import unicodedata
from collections.abc import Iterable

MAX_SENTENCE = 300
MAX_SENTENCES_OF_A_MESSAGE = 30

_BULLET = re.compile(r"^[\s　>＞|]*(?:[-*+•・●○■□◆◇▼▽▲※→⇒★☆]+[\s　]*|\(?\d{1,2}[.)．）][\s　]+|[①-⑳][\s　]*|#{1,6}\s+)+")
_END = re.compile(
    r"[。！？]+(?![」』）)\]。！？!?])"
    r"|[!?]+(?=[\s\u3040-\u30ff\u4e00-\u9fff]|$)(?![」』）)])"
    r"|(?<!\b[A-Z])(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bDr)(?<!\bNo)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)(?<!\bInc)(?<!\bLtd)[.](?=\s+[A-Z\"'(\d])"
)
_LAUGHTER = re.compile(r"[\s　]*(?:[（(]笑+[）)]|笑+|[wｗ]{1,}|[♪☆★〜~～]+|[（(][^（()）ぁ-んァ-ヶ一-龥A-Za-z0-9]{2,12}[）)])+(?=[。！？!?\s]*$)")
_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff々]")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[一-龥々]+|[ァ-ヶー]{2,}|[a-z][a-z0-9+#.'-]*[a-z0-9+#]|[a-z]\d+|\d[\d,.]*\d|\d")
_KANJI = re.compile(r"[一-龥々]")

GRAMMAR = frozenset(
    "a about above after again all also am an and any are aren't as at be because been before being below between both but by can "
    "can't cannot could couldn't did didn't do does doesn't doing don't down during each even every few for from further get got had "
    "has have haven't having he he'll he's her here here's hers him his how i i'd i'll i'm i've if in into is isn't it it's its "
    "just let let's like ll may maybe me might more most much must my no nor not now of off ok okay on once one only or other our out "
    "over own please re really same she she's should so some still such sure than thank thanks that that's the their them then there "
    "there's these they they're this those through to too under until up us ve very was we we'd we'll we're we've well were what "
    "what's when where which while who whom why will with won't would yes yet you you'll you're your yours hi hello today tomorrow "
    "by going go make made need needs see know think new been since per via both either".split()
)
_EMPTY_KANJI = frozenset(
    "今日 明日 昨日 今回 前回 次回 最近 今 私 僕 俺 何 方 人 時 事 物 所 中 前 後 上 下 感 思 言 見 出 行 来 食 飲 使 聞 "
    "話 皆 他 的 一 二 三 御 様 自分 本当 場合 時間 時点 以上 以下 以前 以降 程度 全部 全然 結構 多分 絶対 一番 一緒 大丈夫 "
    "感じ 普段 普通 最初 最後 先程 先日 後日 本日 件 等 お願 願 致 頂 下 宜 申 失礼 了解 承知 有難 疲 世話 早速 是非 確 持 入 "
    "気 好 良 悪 大 小 少 多 無 合 知 分 考 送 作 取 付 始 終 変 決 受 買 読 書 教 違 出来 個人的 大変 確認 連絡 対応".split()
)


def language_of(texts: Iterable[str]) -> str:
    """Either "ja" or "en": Japanese as soon as a fifth of the letters are."""
    sample = "".join(text[:2_000] for text in texts)
    letters = len(_LETTER.findall(sample))
    return "ja" if letters and len(_JAPANESE.findall(sample)) >= letters / 5 else "en"


def key_of(text: str) -> str:
    """What is compared instead of the text: one width, one case, one kind of space."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().replace("’", "'").split())


def sentences_of(text: str) -> list[str]:
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
    piece = " ".join(_LAUGHTER.sub("", piece).split()).strip("　 、,=_-*─━―")
    if not _LETTER.search(piece) and not re.search(r"\d", piece):
        return ""
    return piece if len(piece) <= MAX_SENTENCE else piece[: MAX_SENTENCE - 1] + "…"


def words_of(key: str) -> list[str]:
    """The words of content in a sentence's key, in order and with repetitions; of a long run of kanji also its pairs, so that
    "見積書" and "見積" have something in common."""
    words: list[str] = []
    for word in _WORD.findall(key):
        if word in GRAMMAR or word in _EMPTY_KANJI:
            continue
        words.append(word)
        if len(word) > 2 and _KANJI.match(word):
            words += [word[at : at + 2] for at in range(min(len(word), 12) - 1)]
    return words


def letters_of(key: str) -> int:
    """How many letters and digits are in it: spaces and marks say nothing."""
    return sum(1 for character in key if character.isalnum())
