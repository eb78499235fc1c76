"""Converts Chatwork's markup to plain text.

Quotes and code are left out, because a quote repeats an earlier message and code does not help a
summary. Source: https://developer.chatwork.com/docs/message-notation
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_BODY = 8_000
"""At most this many characters of a body are read. People type far fewer; only programs post more."""

_QUOTED = re.compile(r"\[(qt|code)\](?:(?!\[\1\]).)*?\[/\1\]", re.DOTALL)
_NAME = (
    r"[ \t　]{{0,8}}(?:(?P<{0}>[^\n\[、。,:：!?！？]{{1,30}}?)(?:さん|様|さま|君|くん|ちゃん)(?=[\s　、。,!！:：\[]|$)"
    r"|(?P<{0}_bare>[A-Z][\w.'’-]*(?:[ ][A-Z][\w.'’-]*){{0,2}}|[一-龥々ァ-ヶー]{{2,8}})"
    r"(?=[ \t　]{{0,8}}(?:\n|,|:|$)))?[ \t　]{{0,8}}[,、:：]?"
)
_TO = re.compile(r"\[To:\d+\]" + _NAME.format("to"))
_REPLY = re.compile(r"\[(?:rp|返信) aid=\d+ to=(?:\d+-)?(?P<id>\d+)\]" + _NAME.format("reply"))
_TASK = re.compile(r"\[task aid=\d{1,20}[^\[\]]{0,200}+\](?P<text>(?:(?!\[task ).)*?)\[/task\]", re.DOTALL)
_TITLE = re.compile(r"\[title\](?P<text>(?:(?!\[title\]).)*?)\[/title\]", re.DOTALL)
_DELETED = re.compile(
    r"\[deleted\]|\[(?:preview|picon|piconname|dtext|qtmeta|hr|toall|To|rp)\b[^\]\n]{0,200}\]|\[返信[^\]\n]{0,80}\]"
)
_TAG = re.compile(r"\[/?(?:info|title|qt|code|task|download)(?::\d+)?\]")
_URL = re.compile(r"https?://[^\s<>\"'「」（）。、\]]+")
_EMOTICON = re.compile(
    r"\((?:bow|roger|clap|handshake|cracker|please|sweat|nod|think|blush|shake|y|yes|n|F|h|\*|gogo|ninja|dance|love|cry|"
    r"devil|lightbulb|ec14|beer|coffee|quick|whew|wink|tongueout|inlove|puke|emo|talk|yawn|nod|:\)|;\)|p|e|x|\^|\^\^)\)|[:;8]-?[)(DpP](?=\s|$)"
)
_EMOJI = re.compile(r"[\U0001F000-\U0001FAFF\u2600-\u27BF\uFE0F\u200D]+")


@dataclass(frozen=True, slots=True)
class Plain:
    """A body without markup.

    `to`: the names of the people whom the message addresses. `replies_to`: the ids of the messages
    that it answers. `tasks`: the texts of the Chatwork tasks in the body.
    """

    text: str
    to: tuple[str, ...] = ()
    replies_to: frozenset[str] = frozenset()
    tasks: tuple[str, ...] = ()


def plain(body: str) -> Plain:
    text = _without_quotes(body[:MAX_BODY].replace("\r\n", "\n"))
    replies = list(_REPLY.finditer(text))
    named = [*_names(replies, "reply"), *_names(list(_TO.finditer(text)), "to")]
    tasks = tuple(" ".join(_cleaned(found["text"]).split()) for found in _TASK.finditer(text))
    text = _TASK.sub("\n", _TITLE.sub(r"\n\g<text>\n", _TO.sub("\n", _REPLY.sub("\n", text))))
    return Plain(
        text=_cleaned(text),
        to=tuple(dict.fromkeys(named)),
        replies_to=frozenset(found["id"] for found in replies),
        tasks=tuple(task for task in tasks if task),
    )


def _without_quotes(text: str) -> str:
    for _ in range(5):  # quotes nested five deep; people do not nest them deeper
        text, found = _QUOTED.subn("\n", text)
        if not found:
            break
    return text


def _names(found: list[re.Match[str]], group: str) -> list[str]:
    return [name.strip() for match in found if (name := match[group] or match[f"{group}_bare"])]


def _cleaned(text: str) -> str:
    text = _TAG.sub("\n", _DELETED.sub("\n", text))
    text = _URL.sub(lambda found: _short(found[0]), text)
    return _EMOJI.sub(" ", _EMOTICON.sub(" ", text)).strip()


def _short(url: str) -> str:
    """Returns the host of a URL, with "/…" for the rest: "docs.google.com/…"."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    rest = parts.path.strip("/") or parts.query
    return f"{parts.netloc}/…" if rest else parts.netloc
