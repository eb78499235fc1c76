"""What the messages were about: phrases that come back, not words that every message holds."""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from workers.summaries.sentences import GRAMMAR

MAX_TOPICS = 8

_PHRASE = re.compile(r"(?:[一-龥々〆]|[ァ-ヶー]|[A-Za-z0-9.+#&_-]){2,24}")
_ENGLISH = re.compile(r"[A-Za-z][A-Za-z0-9+#&'’-]*")
_HAS_JAPANESE = re.compile(r"[一-龥々ァ-ヶ]")
_COUNTED = re.compile(r"^\d|^[\d年月日時分秒円万千百件名個台本社部回目度歳人階%./:-]+$|^[第約全各毎]?\d+")

_NO_TOPICS = frozenset(
    "今日 明日 昨日 明後日 一昨日 今回 前回 次回 最近 今週 来週 先週 今月 来月 先月 今年 来年 去年 昨年 本日 当日 翌日 前日 毎日 毎週 毎月 毎年 "
    "午前 午後 今朝 今夜 今晩 昨夜 朝 昼 夜 夕方 週末 平日 休日 月曜 火曜 水曜 木曜 金曜 土曜 日曜 月曜日 火曜日 水曜日 木曜日 金曜日 土曜日 日曜日 "
    "本当 自分 場合 時間 時点 以上 以下 以前 以降 以外 程度 全部 全然 全員 結構 多分 絶対 一番 一緒 大丈夫 感じ 普段 普通 最初 最後 先程 先日 後日 早速 "
    "確認 連絡 対応 返信 送付 共有 報告 相談 依頼 検討 作成 修正 予定 参加 開催 実施 準備 調整 変更 追加 完了 提出 説明 回答 質問 "
    "了解 承知 失礼 皆様 皆 皆さん 担当 弊社 御社 当社 貴社 私 僕 俺 彼 彼女 方 人 人達 友達 相手 何 何人 何時 何回 何度 何年 何歳 何処 "
    "無理 大変 意外 勿論 是非 結局 実際 実は 非常 個人的 基本的 基本 色々 様々 時々 少々 多々 残念 素敵 簡単 便利 必要 有名 人気 大好 大事 大切 出来 出来上 "
    "理由 意味 関係 問題 内容 部分 方法 状態 状況 種類 最高 最低 最大 最近 興味 経験 機会 気持 思 同感 同様 同時 一度 一回 一人 二人 一日 一年 一時 "
    "期待 希望 心配 安心 納得 想像 記憶 印象 理解 意識 勉強中 途中 現在 今後 将来 当時 昔 以来 今現在 ホント マジ アレ コレ ソレ ダメ イイ "
    "代替 早め 可能 予想 対象 複数 両方 逆 逆転 個別 件名 下記 上記 以下 別途 各位 宛 御中 株式会社 有限会社 様 さん パターン タイプ イメージ レベル メイン バージョン".split()
)
_NO_ENGLISH_TOPICS = GRAMMAR | frozenset(
    "monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october november "
    "december team everyone guys question thing things lot bit week weeks day days time times month year morning afternoon evening "
    "good great fine back able want wants wanted take took send sent sends look looks looking check checked try work works working "
    "update updates confirm confirmed let want next last first second two three right way done yesterday tonight people someone anyone "
    "ask asked tell told say says said come came use used give gave keep put soon later also already however regarding re fwd note ready "
    "jan feb mar apr jun jul aug sep sept oct nov dec am pm eod asap fyi http https www com can't sounds perfect share shared start started end finish finished hear meet talk call seem seems help better best many another ".split()
)


def topics_of(texts: Sequence[str], names: Iterable[str] = (), *, named_at_least: int = 2) -> list[tuple[str, int]]:
    """The topics of these messages and in how many each was named, the weightiest first. `names` (of people) are no topics."""
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
    """A run of kanji with the kana that belong to it ("夏休み"), or without a last kanji that begins a verb ("全部|食べた")."""
    phrase, rest = found[0].strip("ー.-_&"), text[found.end() : found.end() + 3]
    if not re.search(r"[一-龥々]$", phrase) or rest.startswith(("くらい", "ぐらい")):
        return phrase
    if re.match(r"[いきちみりえけせめれげべぎび](?:[はがのをにでともやかだ、。！？!?・\s]|$)", rest):
        return phrase + rest[0]
    return phrase[:-1] if re.match(r"[きくけぎぐげちつぬびぶべみむめりるれろわえうい]", rest) else phrase


def _english_phrases(text: str) -> list[str]:
    """Runs of one to three words without grammar between them."""
    phrases: list[str] = []
    for clause in re.split(r"[^A-Za-z0-9+#&'’ -]|\s-\s", text):
        run: list[str] = []
        for word in [*_ENGLISH.findall(clause), ""]:
            if word and word.casefold().replace("’", "'") not in _NO_ENGLISH_TOPICS and len(word) > 1:
                run.append(word)
            else:
                phrases += [" ".join(run[at : at + size]) for size in (1, 2, 3) for at in range(len(run) - size + 1)]
                run = []
    return phrases


def _may_be_a_topic(key: str, people: set[str]) -> bool:
    if key in _NO_TOPICS or _COUNTED.match(key) or len(key) < 2:
        return False
    bare = re.sub(r"(?:さん|様|氏|-san)$", "", key)
    return bare not in people and not (key.isascii() and (set(key.split()) <= people or len(key) < 3))


def _weight(key: str, named_in: int) -> float:
    """Often named, and specific: longer phrases say more."""
    length = len(key) / 2.5 if key.isascii() else len(key)
    kana_or_latin = 1.15 if re.match(r"[ァ-ヶA-Za-z]", key) else 1.0
    return named_in * math.log(1 + min(length, 10)) * kana_or_latin


def _without_parts_of_each_other(weighed: dict[str, float], named_in: Counter[str]) -> list[str]:
    """The weightiest phrases. Of two where one holds the other, the longer one stays if it is named nearly
    as often."""
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
