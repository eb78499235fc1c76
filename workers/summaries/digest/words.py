"""Word lists of the extractive summariser, Japanese and English."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GRAMMAR = _words("""
    a about above after again all also am an and any are aren't as at be because been before being below between both but by
    can can't cannot could couldn't did didn't do does doesn't doing don't down during each even every few for from further
    get got had has have haven't having he he'll he's her here here's hers him his how i i'd i'll i'm i've if in into is
    isn't it it's its just let let's like ll may maybe me might more most much must my no nor not now of off ok okay on once
    one only or other our out over own please re really same she she's should so some still such sure than thank thanks that
    that's the their them then there there's these they they're this those through to too under until up us ve very was we
    we'd we'll we're we've well were what what's when where which while who whom why will with won't would yes yet you
    you'll you're your yours hi hello today tomorrow going go make made need needs see know think new since per via either
""")
"""English words that do not show what a sentence is about."""

EMPTY_KANJI = _words("""
    午前 午後 午前中 今週 来週 先週 今月 来月 先月 今年 来年 昨年 月曜 火曜 水曜 木曜 金曜 土曜 日曜 夕方 週末 月末
    今日 明日 昨日 今回 前回 次回 最近 今 私 僕 俺 何 方 人 時 事 物 所 中 前 後 上 下 感 思 言 見 出 行 来 食 飲 使 聞 話
    皆 他 的 一 二 三 御 様 自分 本当 場合 時間 時点 以上 以下 以前 以降 程度 全部 全然 結構 多分 絶対 一番 一緒 大丈夫 感じ
    普段 普通 最初 最後 先程 先日 後日 本日 件 等 お願 願 致 頂 宜 申 失礼 了解 承知 有難 疲 世話 早速 是非 確 持 入 気 好
    良 悪 大 小 少 多 無 合 知 分 考 送 作 取 付 始 終 変 決 受 買 読 書 教 違 出来 個人的 大変 確認 連絡 対応
""")
"""Runs of kanji that do not show what a sentence is about."""

NO_JAPANESE_TOPICS = _words("""
    美味 本格的 原因 結果 期限 納期 本件 件 次第 旨 点 事前 各自 各社 全社 貴社 締切 提出期限
    今日 明日 昨日 明後日 一昨日 今回 前回 次回 最近 今週 来週 先週 今月 来月 先月 今年 来年 去年 昨年 本日 当日 翌日 前日
    毎日 毎週 毎月 毎年 午前 午後 今朝 今夜 今晩 昨夜 朝 昼 夜 夕方 週末 平日 休日 月曜 火曜 水曜 木曜 金曜 土曜 日曜 月曜日
    火曜日 水曜日 木曜日 金曜日 土曜日 日曜日 本当 自分 場合 時間 時点 以上 以下 以前 以降 以外 程度 全部 全然 全員 結構
    多分 絶対 一番 一緒 大丈夫 感じ 普段 普通 最初 最後 先程 先日 後日 早速 確認 連絡 対応 返信 送付 共有 報告 相談 依頼
    検討 作成 修正 予定 参加 開催 実施 準備 調整 変更 追加 完了 提出 説明 回答 質問 了解 承知 失礼 皆様 皆 皆さん 担当 弊社
    御社 当社 貴社 私 僕 俺 彼 彼女 方 人 人達 友達 相手 何 何人 何時 何回 何度 何年 何歳 何処 無理 大変 意外 勿論 是非 結局
    実際 実は 非常 個人的 基本的 基本 色々 様々 時々 少々 多々 残念 素敵 簡単 便利 必要 有名 人気 大好 大事 大切 出来 出来上
    理由 意味 関係 問題 内容 部分 方法 状態 状況 種類 最高 最低 最大 興味 経験 機会 気持 思 同感 同様 同時 一度 一回 一人
    二人 一日 一年 一時 期待 希望 心配 安心 納得 想像 記憶 印象 理解 意識 勉強中 途中 現在 今後 将来 当時 昔 以来 今現在
    ホント マジ アレ コレ ソレ ダメ イイ 代替 早め 可能 予想 対象 複数 両方 逆 逆転 個別 件名 下記 上記 別途 各位 宛 御中
    株式会社 有限会社 様 さん パターン タイプ イメージ レベル メイン バージョン
""")
"""Japanese phrases that are never the topic of a conversation, even if they are frequent."""

NO_ENGLISH_TOPICS = GRAMMAR | _words("""
    monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october
    november december team everyone guys question thing things lot bit week weeks day days time times month year morning
    afternoon evening good great fine back able want wants wanted take took send sent sends look looks looking check checked
    try work works working update updates confirm confirmed let next last first second two three right way done yesterday
    tonight people someone anyone ask asked tell told say says said come came use used give gave keep put soon later also
    already however regarding re fwd note ready jan feb mar apr jun jul aug sep sept oct nov dec am pm eod asap fyi http
    https www com can't sounds perfect share shared start started end finish finished hear meet talk call seem seems help
    better best many another
""")

WORK = _words("""
    対応 確認 送付 連絡 共有 提出 作成 修正 手配 準備 調整 報告 返信 回答 更新 設定 依頼 発注 発送 納品 相談 調査 訪問 予約
    登録 反映 公開 検収 請求 持参 転送 配布 検証 テスト レビュー リリース デプロイ アップ 投稿 改修 交換 返送 返金 支払
    振込 入金 お送り 送信 集計 追加 変更 削除 周知 案内 展開 印刷 記入 入力 提示 説明 伺い 交渉 打診 着手 完成 移行
    復旧
""")
"""Nouns for work that become verbs with する."""

NO_NAMES = _words("""
    action all also everyone hello hi no note ok okay please so sorry team thanks then todo well yes お客 お客様 みな 各位
    皆
""")
"""Words before a comma at the beginning of a request that are not a person's name."""
