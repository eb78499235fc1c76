/** The words for refusals, for the errors of jobs and for findings in the log. */

import { counted, digits, say, saying } from "../words/say";

export const refusalsWords = {
  serverError: say(
    "サーバーで問題が発生しました。しばらくしてからもう一度お試しください。",
    "Something went wrong on the server. Try again in a moment.",
  ),
  databaseAway: say("サーバーが一時的に利用できません。", "The server is not available for the moment."),
  noAnswer: say("サーバーに接続できませんでした。", "The server did not answer."),
  refused: saying(
    (detail: string) => `実行できませんでした: ${detail}`,
    (detail: string) => `Not done: ${detail}`,
  ),
  notValid: saying(
    (what: string) => `正しくない項目があります（${what}）。`,
    (what: string) => `Not valid: ${what}.`,
  ),
  onlyAdminsMay: say("この操作は管理者のみ実行できます。", "Only admins may do this."),
  auditorsOnlyRead: say("監査人は閲覧のみ可能です。", "Auditors may read everything and change nothing."),
  onlyOwnJobs: say("表示できるのは自分のジョブのみです。", "You may see your own jobs only."),
  otherSite: say(
    "このページのアドレスとは別のサイトからの操作とみなされたため、実行できませんでした。",
    "Not done: the request seemed to come from another site.",
  ),
  stillAnswered: say(
    "同じ操作を処理しています。しばらくしてからもう一度お試しください。",
    "The same request is still being answered. Try again in a moment.",
  ),
  tooManyRequests: say(
    "操作の回数が多すぎます。しばらくしてからもう一度お試しください。",
    "Too many requests. Try again in a moment.",
  ),
  requestLimit: saying(
    (seconds: number) => `操作の回数が上限に達しました。${digits(seconds)}秒後にもう一度お試しください。`,
    (seconds: number) => `You have sent too many requests. Try again in ${counted(seconds, "second")}.`,
  ),
  activeLimit: saying(
    (most: number) =>
      `待機中と処理中のジョブが上限（${digits(most)}件）に達しています。終わるのを待つか、いくつかキャンセルしてください。`,
    (most: number) =>
      `You may have ${counted(most, "job")} waiting or running. Wait until some have ended, or cancel some.`,
  ),
  paidLimit: saying(
    (seconds: number) =>
      `費用のかかるジョブの数が上限に達しました。約${digits(Math.ceil(seconds / 60))}分後にもう一度お試しください。`,
    (seconds: number) =>
      `You have reached your limit of jobs that cost money. Try again in about ${counted(Math.ceil(seconds / 60), "minute")}.`,
  ),
  typeGone: say(
    "この種類のジョブは現在のバージョンにないため、実行できません。",
    "This type of job does not exist any more.",
  ),
  payloadOutdated: say(
    "このジョブの入力は現在のバージョンに合わないため、再実行できません。",
    "This job's payload does not fit its type any more, so it can't be run again.",
  ),
  companyGone: say("この会社は見つかりません。", "There is no such company."),
  roomGone: say("このルームは見つかりません。", "There is no such room."),
  notLinked: say("紐づけはすでに解除されています。", "This room is not linked any more."),
  nameNotValid: say("会社名は1〜200文字で入力してください。", "A company's name has 1 to 200 characters."),
  dayNotValid: say("期間の日付が正しくありません。", "The period's days are not valid."),
  untilOver: say("再開する日時には、これからの日時を指定してください。", "Choose a time in the future for “Until”."),
  unknownValue: saying(
    (what: string) => `アドレスの条件「${what}」が正しくありません。`,
    (what: string) => `The address has an unknown value for “${what}”.`,
  ),
  means401: say(
    "Chatwork が API トークンを受け付けませんでした。トークンの設定を確認してください。",
    "Chatwork did not accept the API token. Check how it is set.",
  ),
  means403: say(
    "Chatwork がルームの一覧を渡しませんでした。API トークンの権限を確認してください。",
    "Chatwork refused the list of rooms. Check what the API token may read.",
  ),
  means404: say(
    "Chatwork の API がこのアドレスにありません。CHATWORK_API_BASE_URL を確認してください。",
    "Chatwork's API is not at this address. Check CHATWORK_API_BASE_URL.",
  ),
  means403OfRoom: say(
    "トークンの持ち主がこのルームに参加していないため、Chatwork に拒否されました。",
    "Chatwork refused: the token's owner is not a member of this room.",
  ),
  means404OfRoom: say(
    "Chatwork にこのルームがありません。削除された可能性があります。",
    "Chatwork has no such room. It may have been deleted.",
  ),
  means5xx: say(
    "Chatwork 側で一時的な問題が発生しているようです。",
    "Something seems to be wrong at Chatwork for the moment.",
  ),
  meansNoAnswer: say("Chatwork から応答がありませんでした。", "Chatwork did not answer."),
  meansUnreadable: say("Chatwork の応答を読み取れませんでした。", "Chatwork's answer could not be read."),
  meansUnreadableItems: say(
    "読み取れない項目があり、取り込めませんでした。Chatwork で内容を確認してください。",
    "Something could not be read and was not stored. Look at it in Chatwork.",
  ),
  meansUnknownRoom: say(
    "まだ取り込まれていないルームです。先にルーム同期を実行してください。",
    "This room is not known yet. Sync the rooms first.",
  ),
  meansNoToken: say("Chatwork の API トークンが設定されていません。", "No Chatwork API token is set."),
  meansWorkerLost: say(
    "処理中のワーカーが応答しなくなりました。",
    "The worker stopped answering while it ran this job.",
  ),
  meansTimeout: say("制限時間内に終わりませんでした。", "It did not end within its time limit."),
  meansForceFailed: say("管理者が強制的に失敗にしました。", "An admin forced it to fail."),
  meansModelFailed: say(
    "要約に使う言語モデルから正しい応答が得られませんでした。",
    "The language model gave no usable answer.",
  ),
  meansAnswerCutOff: say(
    "要約に使う言語モデルの応答が、長さの上限で途中で切れました。",
    "The language model's answer reached its length limit and was cut off.",
  ),
  meansAnswerWithheld: say(
    "要約に使う言語モデルのフィルターが応答を止めました。",
    "The language model's filter held its answer back.",
  ),
  meansOnlyReasoning: say(
    "要約に使う言語モデルは考えただけで、答えを返しませんでした。",
    "The language model returned its reasoning and no answer.",
  ),
  meansUnknownModel: say(
    "要約に使うモデルがサーバーにありません。管理者が OPENAI_MODEL を変える必要があります。",
    "The server does not have this model: an admin must change OPENAI_MODEL.",
  ),
  meansModelKey: say(
    "要約に使う言語モデルのサーバーが、設定されたキーを受け付けませんでした。",
    "The language model's server does not take the key that is set.",
  ),
  meansModelUnpaid: say(
    "要約に使う言語モデルの利用枠または残高がありません。契約を確認してください。",
    "The quota or credit for the language model is used up. Check the plan.",
  ),
  meansModelWouldNot: say("要約に使う言語モデルが応答を断りました。", "The language model refused to answer."),
  meansModelRefused: say(
    "要約に使う言語モデルのサーバーがリクエストを断りました。もう一度試しても同じ結果になります。",
    "The language model's server refused the request, and would refuse it again.",
  ),
  meansCompanyGone: say("会社が見つかりませんでした。", "There is no such company."),
  noToken: say(
    "Chatwork の API トークンが設定されていません（CHATWORK_API_TOKEN）。サーバーの管理者に連絡してください。",
    "Chatwork is not set up: CHATWORK_API_TOKEN is missing. Contact the person who runs the server.",
  ),
  noSuchMoment: saying(
    (seq: number) => `イベント ${digits(seq)} はまだありません。`,
    (seq: number) => `There is no event ${digits(seq)} yet.`,
  ),
  nameTaken: say("同じ名前の会社がすでにあります。", "There is a company of this name already."),
  badPeriod: say("終了日は開始日以降にしてください。", "The last day must not be before the first."),
  findingMODIFIED: say("イベントの内容が書き換えられています", "The data of an event was changed"),
  findingMISSING: say("番号の付いたイベントが失われています", "An event that had a position is gone"),
  findingINSERTED: say("正規の手順を通らずに追加されています", "An event was added to the log, but not by the service"),
  findingREORDERED: say("イベントの順序が入れ替わっています", "Positions contradict the order of the events"),
  findingBACKDATED: say("直前のイベントより前の日時になっています", "An event is earlier than the one before it"),
  findingTRUNCATED_TAIL: say("ログの末尾が失われています", "The newest part of the log is gone"),
  findingSEQ_GAP: say("ジョブの履歴に抜けがあります", "A job's history leaves an event out"),
  findingILLEGAL_TRANSITION: say("起こり得ない状態の変化です", "This change of status is not allowed"),
  findingVIEW_DRIFT: say("表示がログと一致しません", "The view does not match the log"),
  findingGUARD_MISSING: say(
    "ログを守る仕組みが外れているか、変わっています",
    "A trigger or constraint that guards the log is missing or changed",
  ),
  findingBAD_SIGNATURE: say("チェックポイントの署名が正しくありません", "The signature of a checkpoint is not valid"),
  findingINCONSISTENT: say(
    "以前に署名されたチェックポイントと食い違っています",
    "The log contradicts a checkpoint that was signed before",
  ),
  findingREDACTED: say("個人データが正規の手順で消去されています", "Personal data was erased, as a signed note says"),
  explainMODIFIED: say(
    "記録された後に、イベントの内容、実行者または日時が変えられています。サービスはイベントを書き換えないので、誰かがデータベースを直接変更しています。",
    "Its data, its actor or its time was changed after it was written. The service never does that, so somebody has changed the database directly.",
  ),
  explainMISSING: say(
    "一度番号が付いたイベントが、今のログにありません。誰かがデータベースから削除しています。",
    "The event had a position in the log, and is not there any more. Somebody has removed it from the database.",
  ),
  explainINSERTED: say(
    "サービスが書いていない行がログにあります。誰かがデータベースに直接追加しています。",
    "The log has a row that the service did not write. Somebody has added it to the database directly.",
  ),
  explainREORDERED: say(
    "ログの番号の順序が、ジョブの中のイベントの順序と合いません。番号の付け替えが疑われます。",
    "The order of positions contradicts the order of the events within the job. Somebody may have exchanged positions.",
  ),
  explainBACKDATED: say(
    "日時は同じジョブの中で必ず進みます。逆に戻っているので、日時が変えられています。",
    "Times only grow within a job. This one goes back, so it was changed.",
  ),
  explainTRUNCATED_TAIL: say(
    "ログの最後の部分が削除されています。外部に保管された写しと比べると、どこまであったかがわかります。",
    "The newest part of the log was removed. A copy of a checkpoint that is stored outside shows how far the log once went.",
  ),
  explainSEQ_GAP: say(
    "イベントの番号は 1 から順に続きます。途中の番号がないので、イベントが削除されています。",
    "The numbers of events run 1, 2, 3 … without gaps. One is missing, so an event was removed.",
  ),
  explainILLEGAL_TRANSITION: say(
    "この順序や実行者では、サービスはこのイベントを書けません。書き換えられたか、追加されています。",
    "The service could not have written this event after those before it, or not by this actor. It was changed or added.",
  ),
  explainVIEW_DRIFT: say(
    "イベントの記録から計算した結果と、一覧や画面に表示される値が違います。記録のほうが正しく、表示は再構築できます。",
    "Lists and screens show another value than the recorded events give. The record counts; operators can rebuild what is shown.",
  ),
  explainGUARD_MISSING: say(
    "ログの書き換えを防ぐデータベースの仕組みがありません。その間に行われた変更は防がれていません。",
    "The database no longer refuses changes of the log. Changes made meanwhile were not prevented.",
  ),
  explainBAD_SIGNATURE: say(
    "チェックポイントが、信頼する鍵で署名されたものではありません。偽造か、鍵の設定違いです。",
    "The checkpoint was not signed by a trusted key. It is forged, or another key is configured.",
  ),
  explainINCONSISTENT: say(
    "署名された時点のログと、今のログが違います。書き換えられたか、古いバックアップから復元されています。",
    "The log is not the one that was signed then. It was changed, or restored from an older backup.",
  ),
  explainREDACTED: say(
    "消去は署名付きで記録されています。問題ではありません。残りの内容は検証できます。",
    "The erasure is on record with a signature. It is no fault, and the rest can still be verified.",
  ),
  explainUnknown: say(
    "このページが知らない種類の問題です。運用担当者に伝えてください。",
    "This page does not know this kind of finding. Tell the operators.",
  ),
  noProofYet: say(
    "このイベントの証明はまだありません。次の署名の後に、もう一度お試しください。",
    "There is no proof of this event yet. Try again after the next signature.",
  ),
  logDamaged: say("ログが壊れているため、証明を作れません。", "The log is damaged, so nothing can be proved."),
  brokenHistory: saying(
    (meaning: string) => `このジョブの履歴は壊れています: ${meaning}`,
    (meaning: string) => `This job's history is broken. ${meaning}.`,
  ),
  findingUnknown: say("ログに問題があります", "Something is wrong with the log"),
  differsInField: saying(
    (jobId: string, field: string, view: string, log: string) =>
      `${jobId}: ${field} は、表示では ${view}、ログでは ${log}`,
    (jobId: string, field: string, view: string, log: string) =>
      `${jobId}: ${field} is ${view} in the view and ${log} by the log`,
  ),
  onlyInView: saying(
    (jobId: string) => `${jobId}: ログにないジョブが表示されています`,
    (jobId: string) => `${jobId}: is in the view and not in the log`,
  ),
  onlyInLog: saying(
    (jobId: string) => `${jobId}: ログにあるジョブが表示されていません`,
    (jobId: string) => `${jobId}: is in the log and not in the view`,
  ),
  jobIdInvalid: say("ジョブIDの形式が正しくありません。", "A job ID is a UUID."),
} as const;
