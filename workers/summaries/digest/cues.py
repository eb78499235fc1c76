"""Recognises greetings, questions, requests, promises, reports and decisions.

The patterns hold the words that people use at work, in Japanese and English. The functions take a
sentence's key (`key_of`), its normalised text.
"""

import re

from workers.summaries.digest.sentences import letters_of
from workers.summaries.digest.words import WORK


def _any(*patterns: str) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


_WORK = _any(*sorted(WORK))
_HUMBLY = r"(?:いた|致)?し"
_EXCUSE = (
    r"(?:お手数(?:です|(?:を)?おかけします)が|恐れ入りますが|恐縮ですが|どうぞ|何卒|引き?続き|今後とも?|本日も"
    r"|こちらこそ|以上|では|それでは)"
)
_THANKED_FOR = (
    r"(?:どうも|本当に|大変|誠に|早速の?|ご(?:連絡|返信|確認|対応|回答)|(?:教えて)?(?:頂き|いただき)"
    r"|て(?:いただき|頂き|くださり|くれて))"
)
_WISHED_FOR = r"(?:(?:ご|御)(?:確認|検討|対応|査収|協力|連絡|返信|理解|教示)(?:の(?:ほど|程))?(?:を|、)?\s{0,4})"
_PRAISE = "いい|良い|よい|素敵|すごい|凄い|素晴らしい|羨ましい|うらやましい|楽しそう|楽しみ|大変|残念|嬉しい|面白い|偉い"
_NOD = (
    "へえ|ほう|おお|わあ|ああ|あー|えー|え|ええ|うん|うーん|はい|いえ|いいえ|なるほど|確かに|たしかに|まさに"
    "|ほんと|本当|マジ|まじ"
)

_PLEASANTRY = re.compile(
    _any(
        r"(?:いつも|大変|毎度|平素より?)?お世話(?:に?(?:なって|なり)(?:おり)?(?:い)?ま(?:す|した)|様(?:です|でした))",
        r"(?:(?:本日|今日)も)?(?:お|御)?(?:疲れ(?:様|さま)|つかれ(?:様|さま)?)(?:です|でした|でございます)?",
        r"おはよう(?:ございます)?|こんにち[はわ]|こんばん[はわ]|(?:はじめ|初め)まして|お久しぶりです",
        rf"(?:{_EXCUSE}[、,\s]{{0,8}}){{0,2}}{_WISHED_FOR}?(?:よろしく|宜しく)(?:お願い)?(?:いた|致)?(?:し|申し上げ)?(?:ます|ました|たいです)?ね?",
        rf"(?:{_THANKED_FOR}[、,\s]{{0,8}}){{0,4}}(?:ありがとう|有難う|有り難う)(?:ございま(?:す|した))?ね?",
        r"(?:大変|誠に)?申し訳(?:ありません|ございません|ないです|ない)が?|(?:すみません|すいません)(?:でした)?が?|ごめんなさい",
        rf"失礼{_HUMBLY}ま(?:す|した)",
        rf"(?:承知|了解|かしこまり)(?:です|(?:{_HUMBLY})?ました)?(?:です)?[よね]?",
        r"(?:そう|さよう)(?:なん|だったん|でし)?(?:です|だ|でし)?(?:た|か|よね|ね|よ|が){0,3}",
        rf"(?:{_NOD}){{1,4}}(?:です|だ|なん|に)?(?:か|よね|ね|よ){{0,2}}",
        rf"(?:とても|すごく|それは|めちゃ|めっちゃ)?(?:{_PRAISE})(?:です|だ)?(?:よね|ね|よ)?",
        r"(?:わかり|分かり)ま(?:す|した)[ねよ]?|とんでもない(?:です|ございません)|どういたしまして|お気になさらず",
        r"(?:(?:うーん|そう)[、\s]{0,8})?(?:何|なん|どう)(?:です|でしょう|だろう|だっけ)か?[ねな]?ー?",
        r"よろしければ|お時間の?(?:ある|あります)(?:とき|時|際)に",
        r"^[^、。はがを\s]{0,12}(?:会社|商事|営業|総務|人事|経理|開発|広報|担当|[部課])の(?!件)[一-龥ァ-ヶー]{1,5}です。?$|と申します",
        r"\b(?:hi|hello|hey|dear|good\s+(?:morning|afternoon|evening)|morning)\b(?:\s+(?:all|team|everyone|there|both|folks|guys))?",
        r"\b(?:thanks?(?:\s+you)?|thx|ty|cheers)\b(?:\s+(?:(?:so|very)\s+much|a\s+lot|again|in\s+advance|everyone|all))?"
        r"(?:\s+for\s+(?:the|your)\s+(?:quick\s+)?(?:update|help|reply|info|heads-up))?",
        r"\b(?:ok|okay|yes|yeah|yep|yup|no|nope|sure|great|perfect|nice|cool|awesome|excellent|absolutely|exactly|agreed|right)\b",
        r"\b(?:congrats|congratulations|lol|haha|noted|understood|welcome|got\s+it|sounds?\s+good|no\s+problem|np|will\s+do)\b",
        r"\b(?:you'?re\s+welcome|of\s+course|makes\s+sense|i\s+see|good\s+(?:point|idea|work|job)|well\s+done|take\s+care)\b",
        r"\b(?:(?:best|kind)\s+)?regards\b|\bhave\s+a\s+(?:nice|good|great)\s+(?:day|weekend|evening)\b",
        r"\bhope\s+you\s+(?:are|had)[^.!]*|\bsee\s+you(?:\s+(?:then|soon|tomorrow|there))?\b",
    )
)
_OPENING = re.compile(
    r"^(?:"
    + _any(
        r"(?:いつも|大変|平素より?)?お世話に?なって(?:おり|い)ます",
        r"(?:お|御)?疲れ(?:様|さま)(?:です|でした)|おつかれさま(?:です|でした)|おはようございます|こんにちは|すみません",
        r"(?:承知|了解)(?:いた)?しました|了解です|かしこまりました|ありがとうございま(?:す|した)|はい|いえ|なるほど",
        r"(?:hi|hello|hey|thanks|thank\s+you|ok|okay|sure|yes|no|great|yeah)(?:\s+(?:all|team|everyone))?(?=[,.!\s-])",
    )
    + r")[、。,.!！…ー\s-]+",
    re.IGNORECASE,
)

_QUESTION = re.compile(
    _any(
        r"\?[\s」』)]*$",
        r"(?:です|ます|でしょう|ません|ました|でした|ましょう)か[。!\s]*$",
        r"^(?:when|where|who|what|which|why|how|is|are|do|does|did|has|have|can|could|will|would|should)\b[^.!]*\?$",
    )
)
_EMPTY_QUESTION = re.compile(
    r"^[\s、,]{0,20}(?:(?:え|あれ|へえ|おお|あ)+[っー、,!\s]{0,20})?(?:"
    + _any(
        r"(?:そう|本当|ほんと|まじ|マジ|[そこあ]んなに?)(?:なん|なの|だったん|だったの|いう(?:もの|こと))?(?:です|でした|ます)?かね?",
        r"(?:あなた|そちら|貴方|どう|いかが|.{0,12}さん)は?(?:どう|いかが|何)?(?:です|でしょう)か",
        r".{0,4}いかが(?:です|でしょう)か|いい(?:です|んです)か|really|right|ok|yes|no",
    )
    + r")[?!。\s]*$"
)

_REQUEST = re.compile(
    _any(
        r"ください|下さい",
        rf"お?願い(?:{_HUMBLY}(?:ます|たい)|申し上げ|できま|出来ま|でき(?:れ|ない)|いたく|ね|。|$)",
        r"(?:いただけ|頂け|もらえ|貰え)(?:ます|ません|ると(?:助か|幸|嬉|うれ|あり|有)|れば(?:と|幸|助)|ないで|る\?)|(?:いただき|頂き)たい|しておいて(?:ほしい|欲しい)",
        r"要対応|至急対応|\btodo\b|必要が(?:あり|ござい)ま|(?:なければ|ないと)(?:なり|いけ)ません",
        r"\bplease\b|\b(?:could|can|would)\s+(?:you|someone|anyone)\b|\bneeds?\s+to\s+\w+|\bmust\s+\w+|\bha(?:s|ve)\s+to\s+\w+",
        r"\baction(?:\s+item)?:|\bto-?do\b|\blet's\s+(?!go\b|see\b)\w+|\bmake\s+sure\b|\bdon't\s+forget\b|\bremember\s+to\b",
    )
)
_NOT_A_REQUEST = re.compile(
    _any(
        r"ご了承|ご安心|ご自愛|お大事に|お?気を?(?:つけ|付け)|楽しんで|無理[はを]?(?:され|し)?(?:ない|ず)|頑張って|がんばって|ゆっくり",
        r"ぜひ|是非|[てで]みてくださ|気にしないで|許して|(?:せ|て)?くださ[っりる]|下さ[っりる]",
        r"\bplease\s+(?:feel\s+free|note|find|let\s+(?:me|us)\s+know\s+if|don't\s+hesitate|see)\b",
        r"\bi\s+(?:have|need)\s+to\b|\b(?:would|could)\s+have\b",
    )
)
_SOFT_REQUEST = re.compile(r"(?:ください|下さい)[ねよな]")
_ANY_WORK = re.compile(rf"{_WORK}|まで")

_PROMISE = re.compile(
    _any(
        rf"(?:{_WORK})[をはも]?(?:{_HUMBLY}|させていただき|させて頂き)(?:ます|ておきます)(?![かん])",
        r"(?:^|(?<=[をはもにへで、,\s]))(?:お?(?:送り|渡し|持ち|伝え|まとめ)(?:(?:いた)?し)?|調べて?(?:み)?|聞いてみ|進め|直し|伺い|揃え|仕上げ"
        r"|見て(?:おき|み))ます(?![かん])",
        r"て(?:おきます|おく予定)",
        r"\b(?:i|we)(?:'ll|\s+will|(?:'m|\s+am|'re|\s+are)\s+going\s+to)\s+\w+|^will\s+(?!do\b[.! ]*$)\w+[^?]*$",
        r"\b(?P<who>[a-z][a-z-]+)(?:-san)?\s+(?:will|is\s+going\s+to)\s+(?:send|prepare|check|update|review|share|fix|call|book|arrange"
        r"|follow|confirm|schedule|draft|write|deploy|test|look|get\s+back|handle|finish|submit|order|ship|contact|ask|add|create|merge"
        r"|move|set|start|take\s+care|circulate|upload|join|present|own|deliver|talk|email|visit)\b",
    )
)
_ANNOUNCING = r"(?:について|の件(?:で|を)?|に関して)、?(?:ご|お)?(?:共有|報告|連絡|案内|知らせ|説明|相談)"
_ANNOUNCEMENT = re.compile(_ANNOUNCING)
_NOT_A_PROMISE = re.compile(
    _any(
        r"毎[日週月朝]|いつも|よく|たまに|普段|時々|ことが(?:多|あ)|以下の?(?:通り|とおり)",
        _ANNOUNCING,
        r"(?:i|we)(?:'ll|\s+will)\s+(?:be|see|miss|have|never|probably|think)\b",
    )
)
_DONE = re.compile(
    _any(
        r"(?<!未)(?:完了|済み|済です|終了)(?!予定|次第|して(?:ください|いません)|し(?:たら|ましたら|次第))",
        r"(?:し|致し|送り|終わり|直し|直り|でき|出来|届き|入れ|出し|渡し|伝え)ました(?![らか])",
        r"\b(?:done|sent|finished|completed|fixed|uploaded|shared|shipped|deployed|merged|booked|submitted|paid|delivered|updated)\b(?!\s+by\b)",
    )
)
_DEFERRED = re.compile(
    _any(
        rf"確認{_HUMBLY}(?:ます|てみます|て(?:から|折り返し|ご?連絡|ご?回答))|確認中|調査中|調べ(?:ます|てみます|て)|聞いてみます",
        rf"折り返し|後ほど|のちほど|お待ちください|検討{_HUMBLY}ます|未定|まだ(?:わか|分か|決ま)",
        r"\blet\s+me\s+(?:check|ask|see|confirm|look)\b|\bi(?:'ll|\s+will)\s+(?:check|ask|look|find\s+out|get\s+back|confirm)\b",
        r"\b(?:not\s+sure|get\s+back\s+to\s+you|don't\s+know(?:\s+yet)?|tbd|no\s+idea)\b",
    )
)
_DECIDED = re.compile(
    _any(
        r"決定|決ま[りっ]|確定|合意|承認|了承(?!くだ|下)|採用|見送|完了|終了(?:し|です)|延期|中止|変更|遅延|遅れ|開始|リリース|受注|失注|契約",
        r"障害|不具合|エラー|原因|解決|復旧|値上げ|値引|予算|金額|合計|納期|納品|クレーム|不足|結果|優先|問題|課題",
        r"\b(?:decided|decision|agreed|approved|confirmed|signed|rejected|delayed|postponed|cancell?ed|moved\s+to|released|deployed|launched)\b",
        r"\b(?:outage|root\s+cause|fixed|resolved|failed|broken|blocked|bug|issue|risk|deadline|budget|price|quote|contract|results?)\b",
    )
)
_FIGURE = re.compile(
    r"\d[,.]?\s{0,3}(?:円|万|億|%|件|名|個|台|本|社|部|k\b|usd|eur|yen|hours?|days?|people|units)|[¥$€]\s{0,3}\d|\d{1,2}(?:[/月]\d|:\d\d|時)"
)
_LEANING = re.compile(
    r"^(?:[そこあ]れ|[そこ]こ|[そこあ]の|そちら|そういう|そんな|でも|けど|だから|じゃあ|では|あと|なので|ので|まあ|ただ"
    r"|(?:it|this|that|they|but|so|and|because|which)\b)"
)
_REACTION = re.compile(r"(?:ん|の|そう)ですよ?ね[ー。!\s]*$|(?:です|ます)よね[ー。!\s]*$|でしょうね[。!\s]*$")
_YES = re.compile(
    r"^(?:はい|承知|了解|かしこまり|わかりました|分かりました"
    r"|ok|okay|sure|will do|got it|on it|yes|understood|sounds good|of course)"
)


def is_small_talk(key: str) -> bool:
    """Whether fewer than four letters remain after greetings, thanks and nods are removed."""
    return letters_of(_PLEASANTRY.sub("", key)) < 4


def without_opening(text: str) -> str:
    """Removes a greeting or nod from the beginning, if at least four letters remain."""
    shorter = _OPENING.sub("", text)
    return shorter if letters_of(shorter) >= 4 else text


def asks(key: str) -> bool:
    """Whether the sentence is a question that expects information."""
    return bool(_QUESTION.search(key)) and not _EMPTY_QUESTION.match(key) and not is_small_talk(key)


def requests(key: str) -> bool:
    """Whether the sentence asks somebody to do something.

    "よろしくお願いします" alone (a greeting) and "お気をつけください" (take care) do not.
    """
    if not _REQUEST.search(key) or _NOT_A_REQUEST.search(key) or letters_of(_PLEASANTRY.sub("", key)) < 4:
        return False
    return bool(_ANY_WORK.search(key)) or not _SOFT_REQUEST.search(key)


def promises(key: str) -> bool:
    """Whether somebody promises something in the sentence."""
    found = _PROMISE.search(key) and not _NOT_A_PROMISE.search(key) and not _QUESTION.search(key)
    return bool(found) and not is_small_talk(key)


def without_verbs(words: frozenset[str]) -> frozenset[str]:
    """Returns the words without the words for work.

    No word remains of "共有します" (I will share), which does not name a task.
    """
    return words - WORK


def promised_by(key: str) -> str | None:
    """Returns the name in "Ken will send …"; None if the speaker promises."""
    found = _PROMISE.search(key)
    name = found["who"] if found else None
    return None if name in (None, "i", "we", "it", "that", "this", "they", "he", "she", "you", "who", "there", "and") else name


def reports_done(key: str) -> bool:
    """Whether the sentence reports something as done."""
    return bool(_DONE.search(key)) and not _QUESTION.search(key)


def defers(key: str) -> bool:
    """Whether the sentence promises an answer for later: "確認します", "let me check"."""
    return bool(_DEFERRED.search(key))


def tells_of_a_decision(key: str) -> bool:
    """Whether the sentence reports a decision, a result or a problem."""
    return bool(_DECIDED.search(key))


def holds_a_figure(key: str) -> bool:
    return bool(_FIGURE.search(key))


def leans_on_what_was_said_before(key: str) -> bool:
    """Whether the sentence begins with a reference to an earlier one, such as "それ" or "but"."""
    return bool(_LEANING.match(key))


def reacts(key: str) -> bool:
    """Whether the sentence only reacts to what the other said: "大変だったんですね"."""
    return bool(_REACTION.search(key))


def announces(key: str) -> bool:
    """Whether the sentence announces that information follows: "展示会について共有します"."""
    return bool(_ANNOUNCEMENT.search(key))


def accepts(key: str) -> bool:
    """Whether the sentence begins by accepting a request: "承知しました", "will do"."""
    return bool(_YES.match(key))
