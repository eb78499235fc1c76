"""What a sentence does: it greets, asks, requests, promises, reports that something is done or decided.

Recognised by the words that people at work use, in Japanese and English. All functions take a sentence's key (`key_of`).
"""

import re

from workers.summaries.sentences import letters_of

_PLEASANTRY = re.compile(
    r"""
      (?:いつも|大変|毎度|平素より?)?(?:お世話に?(?:な(?:って|り)(?:おり)?(?:い|ま)*(?:す|した)?|様(?:です|でした)?))
    | (?:本日も?|今日も)?(?:お|御)?(?:疲れ(?:様|さま)|つかれ(?:様|さま)?)(?:です|でした|でございます)?
    | おはよう(?:ございます)? | こんにち[はわ] | こんばん[はわ] | (?:はじめ|初め)まして | お久しぶりです
    | (?:以上|どうぞ|何卒|引き?続き|今後とも?|本日も|こちらこそ|では|それでは|お手数(?:です|おかけします|をおかけします)が|恐れ入りますが|恐縮ですが)?
        [、,\s]*(?:お手数(?:です|おかけします|をおかけします)が|恐れ入りますが|恐縮ですが|どうぞ|何卒)?[、,\s]*
        (?:(?:ご|御)(?:確認|検討|対応|査収|協力|連絡|返信|理解|教示)(?:の(?:ほど|程))?(?:を|、)?\s*)?(?:よろしく|宜しく)(?:お願い)?(?:いた|致)?(?:し|申し上げ)?(?:ます|ました|たいです)?(?:ね)?
    | (?:(?:どうも|本当に|大変|誠に|早速の?|ご連絡|ご返信|ご確認|ご対応|ご回答|教えて(?:いただき|くださり)|頂き|いただき|(?:して|て)(?:いただき|くださり|くれて))[、,\s]*)*
        (?:ありがとう|有難う|有り難う)(?:ございま(?:す|した))?(?:ね)?
    | (?:大変|誠に)?(?:申し訳(?:ありません|ございません|ない)(?:です)?|すみません(?:でした)?|すいません|失礼(?:し|いたし|致し)(?:ます|ました)|ごめんなさい)(?:が)?
    | (?:承知|了解|かしこまり)(?:です|(?:いた|致)?し?(?:ました)|ました)?(?:です)?(?:よ|ね)?
    | (?:そう|さよう)(?:なん|だったん|でし)?(?:です|だ|でし)?(?:た|か|ね|よね|よ|が)*
    | (?:へえ|ほう|おお|わあ|ああ|あー|えー|え|ええ|うん|うーん|はい|いえ|いえいえ|いいえ|なるほど|確かに|たしかに|まさに|ほんと|本当|マジ|まじ)+
        (?:です|だ|なん|に)?(?:か|ね|よね|よ)*
    | (?:とても|すごく|それは|めちゃ|めっちゃ)?(?:いい|良い|よい|素敵|すごい|凄い|素晴らしい|羨ましい|うらやましい|楽しそう|楽しみ|大変|残念|嬉しい|面白い|偉い)(?:です|だ)?(?:ね|よね|よ)*
    | (?:わかり|分かり)(?:ます|ました)(?:ね|よ)? | とんでもない(?:です|ございません) | どういたしまして | お気になさらず
    | (?:うーん|そう)?[、\s]*(?:何|なん|どう)(?:です|でしょう|だろう|だっけ)(?:か)?(?:ね|な)*ー? | う[ーん]+
    | (?:よろしければ|お時間(?:の)?(?:ある|あります)(?:とき|時|際)に)
    | ^(?:株式会社)?[^、。はがを\s]{1,12}の[一-龥ァ-ヶー]{1,5}(?:です|と申します)。?$
    | \b(?:hi|hello|hey|dear|good\s+(?:morning|afternoon|evening)|morning)\b(?:\s+(?:all|team|everyone|there|both|folks|guys))?
    | \b(?:thanks?(?:\s+you)?|thx|ty|cheers)\b(?:\s+(?:so|very)\s+much|\s+a\s+lot|\s+again|\s+in\s+advance|\s+everyone|\s+all)?(?:\s+for\s+(?:the|your)\s+(?:update|help|quick\s+reply|reply|info|heads-up))?
    | \b(?:ok|okay|yes|yeah|yep|yup|no|nope|sure|great|perfect|nice|cool|awesome|excellent|congrats|congratulations|absolutely|exactly|agreed|right|lol|haha|noted|understood|welcome)\b
    | \b(?:got\s+it|sounds?\s+good|no\s+problem|np|you'?re\s+welcome|will\s+do|of\s+course|makes\s+sense|i\s+see|good\s+(?:point|idea|work|job)|well\s+done|best\s+regards|kind\s+regards|regards|have\s+a\s+(?:nice|good|great)\s+(?:day|weekend|evening)|hope\s+you\s+(?:are|had)[^.!]*|see\s+you(?:\s+(?:then|soon|tomorrow|there))?|take\s+care)\b
    """,
    re.VERBOSE,
)
_OPENING = re.compile(
    r"""^(?:
      (?:いつも|大変|平素より?)?お世話に?な(?:って|り)(?:おり|い)?ます | (?:お|御)?疲れ(?:様|さま)(?:です|でした) | おつかれさま(?:です|でした) | おはようございます
    | こんにちは | すみません | 承知(?:いた)?しました | 了解(?:です|しました|いたしました) | かしこまりました | ありがとうございま(?:す|した) | はい | いえ | なるほど
    | (?:hi|hello|hey|thanks|thank\s+you|ok|okay|sure|yes|no|great|yeah)(?:\s+(?:all|team|everyone))?(?=[,.!\s-])
    )[、。,.!！…ー\s-]+""",
    re.VERBOSE | re.IGNORECASE,
)
_QUESTION = re.compile(
    r"[?？][\s」』)）]*$|(?:です|ます|でしょう|ません|ました|でした|ましょう)か[。!！\s]*$"
    r"|^(?:when|where|who|what|which|why|how|is|are|do|does|did|has|have|can|could|will|would|should)\b[^.!]*\?$"
)
_EMPTY_QUESTION = re.compile(
    r"^[\s、,]*(?:(?:え|ええ|あれ|へえ|おお|あ)+[っー、,!！\s]*)?(?:(?:そう|本当|ほんと|まじ|マジ|そんなに?|こんなに?|あんなに?)(?:なん|なの|だったん|だったの|いう(?:もの|こと))?(?:です|でした|ます)?か(?:ね)?"
    r"|(?:あなた|そちら|貴方|どう|いかが|.{0,12}さん)は?(?:どう|いかが|何)?(?:です|でしょう)か|.{0,4}いかが(?:です|でしょう)か|いい(?:です|んです)か|really|right|ok|yes|no)[?？!！。\s]*$"
)
_REQUEST = re.compile(
    r"(?:ください|下さい)|お?願い(?:(?:いた|致)?し(?:ます|たい)|申し上げ|できま|出来ま|でき(?:れ|ない)|いたく|します)|お?願い(?:ね|。|$)"
    r"|(?:いただけ|頂け|もらえ|貰え)(?:ます|ません|ると|れば|ない|る[?？])|(?:いただき|頂き)たい|しておいて(?:ほしい|欲しい)"
    r"|要対応|至急対応|\btodo\b|する必要が(?:あ|ご)|(?:なければ|ないと)(?:なり|いけ)ません"
    r"|\bplease\b|\b(?:could|can|would)\s+(?:you|someone|anyone)\b|\bneeds?\s+to\s+\w+|\bmust\s+\w+|\bha(?:s|ve)\s+to\s+\w+|\baction(?:\s+item)?:|\bto-?do\b"
    r"|\blet's\s+(?!go\b|see\b)\w+|\bmake\s+sure\b|\bdon'?t\s+forget\b|\bremember\s+to\b"
)
_NOT_A_REQUEST = re.compile(
    r"ご了承|ご安心|ご自愛|お大事に|お気をつけ|気をつけて|気を付けて|楽しんで|無理(?:は|を)?(?:され|し)?(?:ない|ず)|頑張って|がんばって|ゆっくり|ぜひ|是非|(?:て|で)みてくださ|気にしないで|許して|(?:せ|て)?くださ(?:った|って|り|る)|下さ(?:った|って|り|る)"
    r"|\bplease\s+(?:feel\s+free|note|find|let\s+(?:me|us)\s+know\s+if|don't\s+hesitate|see)\b|\bi\s+(?:have|need)\s+to\b|\b(?:would|could)\s+have\b"
)
_WORK = (
    "対応 確認 送付 連絡 共有 提出 作成 修正 手配 準備 調整 報告 返信 回答 更新 設定 依頼 発注 発送 納品 相談 調査 訪問 予約 登録 反映 "
    "公開 実施 検収 請求 持参 転送 配布 検証 テスト レビュー リリース デプロイ アップ 投稿 改修 交換 返送 返金 支払 振込 入金 お送り 送信 "
    "集計 追加 変更 削除 周知 案内 展開 印刷 記入 入力 提示 説明 伺い 交渉 打診 着手 開始 完成 移行 復旧"
).split()
_VERBS = frozenset(_WORK)
_ANY_WORK = re.compile(rf"{'|'.join(_WORK)}|まで")
_SOFT_REQUEST = re.compile(r"(?:ください|下さい)(?:ね|よ|な)")
_PROMISE = re.compile(
    rf"(?:{'|'.join(_WORK)})[をはも]?(?:し|いたし|致し|させていただき|させて頂き)(?:ます|ておきます)(?![かん])"
    r"|(?:^|(?<=[をはもにへで、,\s]))(?:送り|お送り(?:いた)?し|お渡し(?:いた)?し|お持ち(?:いた)?し|お伝え(?:いた)?し|調べて?(?:み)?|まとめ|伝え|聞いてみ|進め|直し|伺い|揃え|仕上げ|見て(?:おき|み))ます(?![かん])"
    r"|て(?:おきます|おく予定)"
    r"|\b(?:i|we)(?:'ll|\s+will|\s+am\s+going\s+to|'m\s+going\s+to|\s+are\s+going\s+to|'re\s+going\s+to)\s+\w+|^will\s+(?!do\b[.! ]*$)\w+[^?]*$"
    r"|\b(?P<who>[a-z][a-z-]+)(?:-san)?\s+(?:will|is\s+going\s+to)\s+(?:send|prepare|check|update|review|share|fix|call|book|arrange|follow|confirm|schedule|draft|write"
    r"|deploy|test|look|get\s+back|handle|finish|submit|order|ship|contact|ask|add|create|merge|move|set|start|take\s+care|circulate|upload|join|present|own|deliver|talk|email|visit)\b"
)
_NOT_A_PROMISE = re.compile(r"について(?:ご|お)?(?:共有|報告|連絡|案内|知らせ|説明|相談)|以下の?(?:通り|とおり)|毎[日週月朝]|いつも|よく|たまに|普段|時々|ことが(?:多|あ)|(?:i|we)(?:'ll|\s+will)\s+(?:be|see|miss|have|never|probably|think)\b")
_DONE = re.compile(
    r"(?<!未)(?:完了|済み|済です|終了)(?!予定|次第|して(?:ください|いません)|し(?:たら|ましたら|次第))|(?:しました|致しました|送りました|終わりました|直しました|直りました|できました|出来ました|届きました|入れました|出しました|渡しました|伝えました)(?![らか])"
    r"|\b(?:done|sent|finished|completed|fixed|uploaded|shared|shipped|deployed|merged|booked|submitted|paid|delivered|updated)\b(?!\s+by\b)(?!\?)"
)
_DEFERRED = re.compile(
    r"確認(?:いた|致)?し(?:ます|てみます|て(?:から|折り返し|ご?連絡|ご?回答))|調べ(?:ます|てみます|て)|聞いてみます|折り返し|後ほど|のちほど|少々お待ち|お待ちください|検討(?:いた|致)?します|確認中|調査中|未定|まだ(?:わか|分か|決ま)"
    r"|\b(?:let\s+me\s+(?:check|ask|see|confirm|look)|i(?:'ll|\s+will)\s+(?:check|ask|look|find\s+out|get\s+back|confirm)|not\s+sure|get\s+back\s+to\s+you|don't\s+know(?:\s+yet)?|tbd|no\s+idea)\b"
)
_DECIDED = re.compile(
    r"決定|決ま(?:り|っ)|確定|合意|承認|了承(?!くだ|下)|完了|終了(?:し|です)|延期|中止|変更|遅延|遅れ|障害|不具合|エラー|原因|解決|復旧|開始|リリース|受注|失注|契約|値上げ|値引|予算|金額|合計|納期|納品|クレーム|不足|結果|優先|問題|課題|採用|見送"
    r"|\b(?:decided|agreed|approved|confirmed|signed|delayed|postponed|cancell?ed|moved\s+to|released|deployed|launched|outage|root\s+cause|fixed|resolved|deadline|budget|price|quote|contract|risk|blocked|results?|bug|issue|decision|rejected|failed|broken)\b"
)
_FIGURE = re.compile(r"\d[\d,.]*\s*(?:円|万|億|%|件|名|個|台|本|社|部|k\b|usd|eur|yen|hours?|days?|people|units)|[¥$€]\s*\d|\d{1,2}(?:[/月]\d{1,2}|:\d\d|時)")
_LEANING = re.compile(
    r"^(?:それ|これ|あれ|そこ|ここ|その|この|あの|そちら|そういう|そんな|でも|けど|だから|じゃあ|では|あと|なので|ので|まあ|ただ|it\b|this\b|that\b|they\b|but\b|so\b|and\b|because\b|which\b)"
)


def is_small_talk(key: str) -> bool:
    """Nothing is left once greetings, thanks and nods are taken away."""
    return letters_of(_PLEASANTRY.sub("", key)) < 4


def without_opening(text: str) -> str:
    """The sentence without the greeting or nod that it begins with."""
    shorter = _OPENING.sub("", text)
    return shorter if letters_of(shorter) >= 4 else text


def asks(key: str) -> bool:
    return bool(_QUESTION.search(key)) and not _EMPTY_QUESTION.match(key) and not is_small_talk(key)


def requests(key: str) -> bool:
    """Asks somebody to do something: more than "よろしくお願いします"."""
    rest = _PLEASANTRY.sub("", key)
    found = bool(_REQUEST.search(key)) and letters_of(rest) >= 4 and not _NOT_A_REQUEST.search(key)
    return found and not (_SOFT_REQUEST.search(key) and not _ANY_WORK.search(key))


def promises(key: str) -> bool:
    """Somebody says that they will do something."""
    return bool(_PROMISE.search(key)) and not _NOT_A_PROMISE.search(key) and not is_small_talk(key) and not _QUESTION.search(key)


def is_only_work(words: frozenset[str]) -> bool:
    """Verbs without a thing, as in "共有します": a promise that says no more than yes."""
    return words <= _VERBS


def promised_by(key: str) -> str | None:
    """The name in "Ken will send …"; None where the speaker speaks of themselves."""
    found = _PROMISE.search(key)
    name = found["who"] if found else None
    return None if name in (None, "i", "we", "it", "that", "this", "they", "he", "she", "you", "who", "there", "and") else name


def reports_done(key: str) -> bool:
    return bool(_DONE.search(key)) and not _QUESTION.search(key)


def defers(key: str) -> bool:
    """An answer that is none yet: "確認します", "let me check"."""
    return bool(_DEFERRED.search(key))


def tells_of_a_decision(key: str) -> bool:
    return bool(_DECIDED.search(key))


def holds_a_figure(key: str) -> bool:
    return bool(_FIGURE.search(key))


def leans_on_what_was_said_before(key: str) -> bool:
    return bool(_LEANING.match(key))


def reacts(key: str) -> bool:
    """Says back what the other said: "大変だったんですね"."""
    return bool(re.search(r"(?:ん|の|そう)です(?:ね|よね)[ー。!！\s]*$|(?:です|ます)よね[ー。!！\s]*$|でしょうね[。!！\s]*$", key))


def accepts(key: str) -> bool:
    """A bare yes to what was asked for: "承知しました", "will do"."""
    return bool(re.match(r"^(?:はい|承知|了解|かしこまり|わかりました|分かりました|ok|okay|sure|will do|got it|on it|yes|understood|sounds good|of course)", key))
