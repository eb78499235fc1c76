"""The summariser without a model chooses lines, open items and next actions."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.messages import conversation, sections
from workers.summaries.digest import cues
from workers.summaries.digest.extractive import summarise
from workers.summaries.digest.sentences import key_of, language_of, sentences_of
from workers.summaries.digest.topics import topics_of
from workers.summaries.markdown import HEADINGS
from workers.summaries.markup import plain

EXHIBITION = conversation(
    ("田中", "[toall]\nお疲れ様です。営業の田中です。\n来週の展示会の準備について共有します。"),
    ("佐藤", "お疲れ様です！"),
    ("田中", "[info][title]展示会の件[/title]・出展ブースはA-12に決まりました\n・パネルの納期が2日遅れる見込みです[/info]"),
    ("鈴木", "[To:123]田中さん\nパネルの納期遅れの原因は何でしょうか？"),
    ("田中", "[rp aid=9 to=1-1003]鈴木さん\n印刷会社の機械トラブルとのことです。"),
    ("鈴木", "承知しました。ありがとうございます。"),
    ("田中", "[To:555]佐藤さん\nお手数ですが、代替の印刷会社から見積書を取り寄せてください。明日までにお願いします。"),
    ("佐藤", "承知しました。"),
    ("高橋", "ABC商事様から、システム改修の見積金額についてお問い合わせがありました。予算は税込120万円とのことです。"),
    ("高橋", "ABC商事様の納期はいつ頃までとお伝えすればよいでしょうか？"),
    ("田中", "開発チームに確認します。"),
    ("田中", "ありがとうございます！(bow) では代替の印刷会社に発注することに決定します。"),
    ("佐藤", "了解です。11月27日までに発注書を作成します。"),
    ("鈴木", "[qt][qtmeta aid=9 time=1700000000]ABC商事様の見積[/qt]発注書は経理の山田さんにも共有をお願いいたします。"),
    ("佐藤", "はい、共有します！"),
    ("鈴木", "ノベルティは500個で手配済みです。 https://docs.google.com/spreadsheets/d/abcdefghijklmn/edit#gid=0"),
    ("高橋", "よろしくお願いいたします。"),
)
MIGRATION = conversation(
    ("Ken", "Hi all, good morning!"),
    ("Ken", "Quick update on the API migration: the staging environment was moved to the new cluster on 21 Nov."),
    ("Mary", "Thanks Ken!"),
    ("Mary", "Which endpoints are failing?"),
    ("Ken", "The invoice export and the customer search. The root cause is a missing index on the customers table."),
    ("Tom", "Could you share the error logs by Friday?"),
    ("Ken", "Will do."),
    ("Mary", "Acme Corp asked about the invoice export. Do we have a release date for production?"),
    ("Tom", "Let me check with the infra team."),
    ("Mary", "Acme Corp agreed to pay $12,000 for the extra reporting module."),
    ("Ken", "I'll add the missing index tomorrow and re-run the load test."),
    ("Tom", "Thanks, have a nice weekend!"),
)


def test_the_summary_of_a_japanese_conversation_has_its_decisions_and_problems() -> None:
    content, _ = summarise(EXHIBITION)

    summary = "\n".join(sections(content)["Summary"])
    assert "代替の印刷会社に発注することに決定します" in summary
    assert "予算は税込120万円" in summary
    assert "パネルの納期が2日遅れる見込みです" in summary


def test_the_summary_of_an_english_conversation_has_its_decisions_and_problems() -> None:
    content, _ = summarise(MIGRATION)

    summary = "\n".join(sections(content)["Summary"])
    assert "Acme Corp agreed to pay $12,000" in summary
    assert "The root cause is a missing index" in summary
    assert "moved to the new cluster" in summary


def test_greetings_thanks_and_quotes_are_dropped() -> None:
    content = summarise(EXHIBITION)[0] + summarise(MIGRATION)[0]

    for small_talk in (
        "お疲れ様",
        "よろしくお願い",
        "ありがとう",
        "営業の田中です",
        "good morning",
        "Thanks",
        "weekend",
        "ABC商事様の見積\n",
    ):
        assert small_talk not in content


def test_no_chatwork_markup_is_left_in_the_summary() -> None:
    content, _ = summarise(EXHIBITION)

    for markup in ("[To:", "[rp", "[info]", "[/info]", "[title]", "[qt", "(bow)", "spreadsheets"):
        assert markup not in content


def test_a_repeated_statement_is_quoted_once() -> None:
    said = [
        ("佐藤", "新サーバーへの移行は11月30日に決まりました。"),
        ("鈴木", "新サーバーへの移行、11月30日に決まりましたね。"),
    ]

    content, _ = summarise(conversation(*said, *said, ("田中", "請求書の様式が変更されました。")))

    assert content.count("新サーバーへの移行") == 1


def test_a_short_answer_is_quoted_with_its_question() -> None:
    content, _ = summarise(conversation(("高橋", "納品はいつになりますか？"), ("田中", "12/5です。")))

    assert "- 高橋: 納品はいつになりますか？ → 田中: 12/5です。" in sections(content)["Summary"]


def test_a_postponed_question_is_an_open_item() -> None:
    assert sections(summarise(EXHIBITION)[0])["Open Items"] == [
        "- 高橋: ABC商事様の納期はいつ頃までとお伝えすればよいでしょうか？（11/24）"
    ]
    assert sections(summarise(MIGRATION)[0])["Open Items"] == ["- Mary: Do we have a release date for production? (24 Nov)"]


def test_a_question_that_was_answered_later_is_not_an_open_item() -> None:
    answered = conversation(
        ("高橋", "ABC商事様の納期はいつ頃でしょうか？"),
        ("田中", "開発チームに確認します。"),
        ("鈴木", "別件です。明日の会議室を変更しました。"),
        ("田中", "ABC商事様の納期は12月10日です。"),
    )

    assert sections(summarise(answered)[0])["Open Items"] == ["- なし"]


def test_a_reply_to_another_message_does_not_answer_a_question() -> None:
    unanswered = conversation(
        ("鈴木", "会議室を変更しました。"),
        ("高橋", "請求書の送付先はどちらですか？"),
        ("田中", "[rp aid=1 to=1-1000]\n了解です。移動します。"),
    )

    assert sections(summarise(unanswered)[0])["Open Items"] == ["- 高橋: 請求書の送付先はどちらですか？（11/24）"]


def test_requests_and_promises_name_the_person_and_the_due_date() -> None:
    japanese, english = (sections(summarise(said)[0])["Next Actions"] for said in (EXHIBITION, MIGRATION))

    assert (
        "- **佐藤**: お手数ですが、代替の印刷会社から見積書を取り寄せてください。（期限: 明日 (11/25)、依頼: 田中）" in japanese
    )
    assert "- **佐藤**: 11月27日までに発注書を作成します。（期限: 11月27日）" in japanese
    assert "- **Ken**: Could you share the error logs by Friday? (due: Friday, 27 Nov; asked by Tom)" in english
    assert "- **Ken**: I'll add the missing index tomorrow and re-run the load test. (due: tomorrow, 25 Nov)" in english


def test_a_request_belongs_to_the_person_who_agreed_to_it() -> None:
    actions = sections(summarise(EXHIBITION)[0])["Next Actions"]

    assert "- **佐藤**: 発注書は経理の山田さんにも共有をお願いいたします。（依頼: 鈴木）" in actions


def test_a_request_belongs_to_the_person_whom_it_names() -> None:
    said = conversation(
        (
            "佐藤 美咲",
            "対外報告は森田さん、原因の報告書は鈴木さんが11月12日(木)までに作成してください。山田さんにも共有します。",
        ),
        ("鈴木 亮", "報告書の様式を変更しました。"),
        ("森田 拓也", "問い合わせは3件です。"),
    )

    assert sections(summarise(said)[0])["Next Actions"][0].startswith("- **森田、鈴木**: 対外報告は森田さん")


def test_a_task_that_was_reported_done_is_not_a_next_action() -> None:
    done = conversation(("田中", "[To:1]佐藤さん\n見積書を送付してください。"), ("佐藤", "見積書を送付しました。"))

    assert sections(summarise(done)[0])["Next Actions"] == ["- なし"]


def test_a_chatwork_task_is_a_next_action() -> None:
    task = conversation(
        ("田中", "[info][title][dtext:task_added][/title][task aid=5 st=open lim=1]請求書の確認 11/28[/task][/info]")
    )

    assert sections(summarise(task)[0])["Next Actions"] == [
        "- **担当者の記載なし**: 請求書の確認 11/28（期限: 11/28、依頼: 田中）"
    ]


def test_topics_are_repeated_phrases_but_not_people_or_dates() -> None:
    topics = [line.removeprefix("- ").split("（")[0] for line in sections(summarise(EXHIBITION)[0])["Key Topics"]]

    assert {"印刷会社", "ABC商事様", "展示会", "発注書"} <= set(topics)
    assert not {"田中", "佐藤", "明日", "確認", "お願い"} & set(topics)
    assert "- Acme Corp (2 messages)" in sections(summarise(MIGRATION)[0])["Key Topics"]


def test_names_of_people_are_not_topics() -> None:
    assert topics_of(["佐藤さんの案件", "佐藤の案件"], ["佐藤 花子"]) == [("案件", 2)]


def test_a_topic_keeps_its_kana_and_leaves_out_the_stem_of_a_verb() -> None:
    assert topics_of(["夏休みの宿題", "夏休みは全部食べた"], []) == [("夏休み", 2)]


def test_sentences_come_from_all_rooms() -> None:
    sales = conversation(
        *[("田中", f"製品{letter}の見積金額は{number}万円です。") for number, letter in enumerate("ABCDEFGHIJKL", 10)]
    )
    support = conversation(("鈴木", "サーバー障害の原因は電源の故障でした。"), room_id="2", room_name="保守", first_id=2000)

    content, _ = summarise([*sales, *support])

    assert "[保守] 鈴木: サーバー障害の原因は電源の故障でした。" in content
    assert "[営業] 田中:" in content


def test_source_links_lead_to_the_quoted_messages() -> None:
    content, links = summarise(EXHIBITION)

    quoted = {
        message.message_id for message in EXHIBITION if any(line in content for line in sentences_of(plain(message.body).text))
    }
    assert 0 < len(links) <= 20
    assert set(links) <= quoted
    assert "1001" not in links


def test_a_summary_has_at_most_twenty_source_links() -> None:
    things = [
        "アルファ",
        "ブラボー",
        "チャーリー",
        "デルタ",
        "エコー",
        "ゴルフ",
        "ホテル",
        "インディア",
        "キロ",
        "マイク",
        "オスカー",
        "パパ",
    ]
    told = conversation(*[("田中", f"{thing}の{thing}工場で納期を決定。") for thing in things])
    asked = conversation(*[("佐藤", f"{thing}の価格はいくらですか？") for thing in things], room_id="2", first_id=2000)
    wanted = conversation(*[("鈴木", f"{thing}を送付してください。") for thing in things], room_id="3", first_id=3000)

    content, links = summarise([*told, *asked, *wanted])

    assert sum(line.startswith("- ") for line in content.splitlines()) > 25
    assert len(links) == 20


def test_requests_about_two_things_are_two_next_actions() -> None:
    requests = conversation(
        ("田中", "A社の資料を送付してください。"),
        ("田中", "B社の資料を送付してください。"),
        ("佐藤", "B社の資料を送付しました。"),
    )

    assert sections(summarise(requests)[0])["Next Actions"] == [
        "- **担当者の記載なし**: A社の資料を送付してください。（依頼: 田中）"
    ]
    assert len(sections(summarise(requests[:2])[0])["Next Actions"]) == 2


def test_a_repeated_request_is_one_next_action() -> None:
    again = conversation(("田中", "A社の資料を送付してください。"), ("田中", "A社の資料の送付をお願いいたします。"))

    assert len(sections(summarise(again)[0])["Next Actions"]) == 1


def test_an_english_request_is_recognised_as_done_in_other_word_forms() -> None:
    done = conversation(("Tom", "Could you share the error logs by Friday?"), ("Ken", "I shared the logs."))

    assert sections(summarise(done)[0])["Next Actions"] == ["- None"]


def test_the_same_messages_give_the_same_summary_in_any_order() -> None:
    assert summarise(EXHIBITION) == summarise(EXHIBITION[::-1])


def test_a_conversation_of_small_talk_gives_an_empty_summary() -> None:
    content, links = summarise(conversation(("田中", "お疲れ様です。"), ("佐藤", "よろしくお願いします！"), ("Ken", "Thanks!")))

    assert links == ()
    assert sections(content)["Open Items"] == sections(content)["Next Actions"] == ["- なし"]


SAID = st.lists(
    st.tuples(
        st.sampled_from(["田中", "Ken", ""]),
        st.text() | st.text(alphabet="[]qtcodeinfoTo:/123 \n。？?！まで見積してください(株)ー=＿"),
    ),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(SAID)
def test_any_conversation_gives_the_four_headings(said: list[tuple[str, str]]) -> None:
    content, links = summarise(conversation(*said))

    assert [line for line in content.splitlines() if line.startswith("## ")] == [f"## {heading}" for heading in HEADINGS]
    assert len(links) <= 20


@pytest.mark.parametrize(
    "body",
    [
        piece * (8000 // len(piece))
        for piece in (
            "[qt]", "[/qt]", "[To:1]", "[task aid=1]", "[title]", "[info]", "あ", "a. ", "？", "よろしく", "ありがとう、大変",
            "(((", "1/1 ", "https://", "お世話に", "見積、", "x\n", "田中さん", "次の月曜",
        )
    ],
    ids=lambda body: body[:8],
)  # fmt: skip
def test_no_message_takes_long_to_analyse(body: str) -> None:
    begun = time.process_time()

    summarise(conversation(*[("田中", body)] * 30))

    assert time.process_time() - begun < 3


@pytest.mark.parametrize(
    "text",
    [
        "いつも大変お世話になっております。",
        "お疲れ様です。",
        "ご確認のほど、よろしくお願いいたします。",
        "早速のご返信ありがとうございます！",
        "株式会社山田商事の鈴木です。",
        "開発部の佐藤です。",
        "承知いたしました。",
        "そうなんですね！",
        "なるほど、確かに。",
        "申し訳ございません。",
        "Hope you had a good weekend!",
        "Thanks for the quick update",
        "Good morning team, have a nice day!",
        "Sounds good, will do.",
    ],
)
def test_small_talk_is_recognised(text: str) -> None:
    assert cues.is_small_talk(key_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "12/5に納品します。",
        "サーバーが落ちました。",
        "ABC商事の件です。",
        "来週の月曜です。",
        "The build is broken.",
        "見積書のご確認をよろしくお願いします。",
    ],
)
def test_a_statement_with_content_is_not_small_talk(text: str) -> None:
    assert not cues.is_small_talk(key_of(text))


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("納期はいつですか", cues.asks),
        ("どちらに送ればよいでしょうか？", cues.asks),
        ("Which endpoints are failing?", cues.asks),
        ("見積書のご確認をよろしくお願いします。", cues.requests),
        ("契約書を送っていただけますか？", cues.requests),
        ("本日中にご対応くださいね", cues.requests),
        ("12月10日までに見積もりを出す必要があります。", cues.requests),
        ("We need to renew the certificate.", cues.requests),
        ("明日までに修正いたします。", cues.promises),
        ("資料を作成しておきます。", cues.promises),
        ("Ken will send the contract by Friday.", cues.promises),
        ("I'll look into it.", cues.promises),
        ("修正が完了しました。", cues.reports_done),
        ("Fixed and deployed.", cues.reports_done),
        ("確認して折り返します。", cues.defers),
        ("Let me check.", cues.defers),
    ],
)
def test_the_role_of_a_sentence_is_recognised(text: str, does: Callable[[str], bool]) -> None:
    assert does(key_of(text))


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("そうなんですか？", cues.asks),
        ("Really?", cues.asks),
        ("よろしくお願いします。", cues.requests),
        ("お気をつけてお越しください。", cues.requests),
        ("ゆっくり休んでくださいね。", cues.requests),
        ("Please feel free to ask.", cues.requests),
        ("確認しますか？", cues.promises),
        ("いつも朝に確認します。", cues.promises),
        ("展示会について共有します。", cues.promises),
        ("It will rain.", cues.promises),
        ("未完了です。", cues.reports_done),
        ("完了次第ご連絡します。", cues.reports_done),
        ("Is it done?", cues.reports_done),
    ],
)
def test_a_role_that_a_sentence_does_not_have_is_not_recognised_in_it(text: str, does: Callable[[str], bool]) -> None:
    assert not does(key_of(text))


def test_tomorrow_is_the_day_after_the_date_in_japan() -> None:
    late_in_japan = conversation(
        ("田中", "見積書を明日までに送付してください。"), begins=EXHIBITION[0].sent_at - timedelta(hours=8)
    )

    assert "期限: 明日 (11/25)" in summarise(late_in_japan)[0]


def test_sentences_are_split_in_both_languages() -> None:
    assert sentences_of("決定しました。次は「どうする？」と聞かれました！よろしくね") == [
        "決定しました。",
        "次は「どうする？」と聞かれました！",
        "よろしくね",
    ]
    assert sentences_of("Ask Mr. Smith about v1.2. It is e.g. broken! Right?") == [
        "Ask Mr. Smith about v1.2.",
        "It is e.g. broken!",
        "Right?",
    ]
    assert sentences_of("・一つ目\n2. 二つ目") == ["一つ目", "二つ目"]


def test_the_markup_names_the_addressed_person_and_the_answered_message() -> None:
    read = plain("[rp aid=9 to=1-1003]鈴木さん\n[To:5]田中 太郎さん\n了解です [qt][qtmeta aid=1 time=1]前の話[/qt]")

    assert read.text == "了解です"
    assert set(read.to) == {"鈴木", "田中 太郎"}
    assert read.replies_to == {"1003"}


def test_a_url_is_shortened_to_its_host() -> None:
    assert plain("見て https://docs.google.com/a/b?c=d#e です").text == "見て docs.google.com/… です"


@pytest.mark.parametrize(
    ("text", "language"), [("見積書です", "ja"), ("the quote", "en"), ("API の仕様 OK", "ja"), ("", "en"), ("123", "en")]
)
def test_the_language_is_recognised_by_the_letters(text: str, language: str) -> None:
    assert language_of([text]) == language
