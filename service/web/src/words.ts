/** Every word that people read, in both languages, side by side. */

import { createContext, useContext } from "react";
import type { EventType, Status } from "./api";

export type Language = "ja" | "en";

type Both<T> = readonly [ja: T, en: T];

const say = (ja: string, en: string): Both<string> => [ja, en];
const saying = <Given extends unknown[]>(
  ja: (...given: Given) => string,
  en: (...given: Given) => string,
): Both<(...given: Given) => string> => [ja, en];

const s = (count: number, one: string, many = `${one}s`) =>
  `${n(count)} ${count === 1 ? one : many}`;
// Kept: to make a format takes longer than to draw a row. Both languages group digits alike.
const NUMBERS = new Intl.NumberFormat("ja-JP");
const n = (count: number) => NUMBERS.format(count);

const WORDS = {
  // The frame
  skip: say("本文へ移動", "Skip to the content"),
  navigation: say("メインメニュー", "Main menu"),
  chatwork: say("Chatwork設定", "Chatwork settings"),
  jobs: say("ジョブ", "Jobs"),
  companies: say("会社", "Companies"),
  audit: say("監査", "Audit"),
  account: say("アカウント", "Account"),
  admin: say("管理者", "Admin"),
  employee: say("一般ユーザー", "Employee"),
  signOut: say("サインアウト", "Sign out"),
  language: say("言語", "Language"),
  theme: say("表示", "Theme"),
  themeAuto: say("システムに合わせる", "Like the system"),
  themeLight: say("ライト", "Light"),
  themeDark: say("ダーク", "Dark"),
  apiDocs: say("API ドキュメント", "API documentation"),
  live: say("ライブ", "Live"),
  liveHint: say("変化はすぐに画面に反映されます", "Changes appear at once"),
  connecting: say("接続中", "Connecting"),
  connectingHint: say("サーバーに接続しています", "Connecting to the server"),
  reconnecting: say("再接続中", "Reconnecting"),
  reconnectingHint: say("接続が切れました。再接続しています", "The connection broke. Reconnecting"),
  polling: say("2秒ごとに更新", "Every 2 s"),
  pollingHint: say(
    "ライブ接続ができないため、2秒ごとに更新しています",
    "No live connection: the page looks every 2 seconds",
  ),
  offline: say(
    "オフラインです。表示されている内容は最新でない可能性があります。接続が戻りしだい更新します。",
    "You are offline. What you see may be out of date; it is brought up to date once you are back.",
  ),
  modelShutdown: saying(
    (model: string, on: string) =>
      `要約に使うモデル ${model} は ${on} に提供が終わります。それまでに OPENAI_MODEL を別のモデルに変えてください。`,
    (model: string, on: string) =>
      `The model that writes summaries, ${model}, is shut down on ${on}. Set OPENAI_MODEL to another before that day.`,
  ),
  close: say("閉じる", "Close"),
  dismiss: say("通知を閉じる", "Dismiss"),
  notifications: say("通知", "Notifications"),
  toList: say("一覧に戻る", "Back to the list"),
  toStart: say("最初の画面へ", "To the first screen"),
  copy: say("コピー", "Copy"),
  copied: say("コピーしました", "Copied"),
  copyWhat: saying(
    (what: string) => `${what}をコピー`,
    (what: string) => `Copy ${what}`,
  ),
  more: say("さらに表示", "Show more"),
  less: say("折りたたむ", "Show less"),
  reload: say("再読み込み", "Try again"),
  abort: say("やめる", "Never mind"),
  all: say("すべて", "All"),
  none: say("なし", "None"),
  system: say("システム", "System"),
  systemPart: saying(
    (part: string) => `システム（${part}）`,
    (part: string) => `System (${part})`,
  ),
  part_rescue: say("ワーカーの監視", "rescue"),
  part_operator: say("コマンドライン", "command line"),
  you: say("自分", "you"),
  yes: say("はい", "yes"),
  no: say("いいえ", "no"),
  optional: say("（任意）", " (optional)"),

  // Sign in
  signIn: say("サインイン", "Sign in"),
  signInIntro: say(
    "Chatwork の同期と要約の下書きを、履歴つきで。",
    "Chatwork syncs and summary drafts, with their whole history.",
  ),
  email: say("メールアドレス", "Email"),
  password: say("パスワード", "Password"),
  signingIn: say("サインインしています…", "Signing in…"),
  wrongPassword: say("メールアドレスまたはパスワードが正しくありません。", "The email or the password is wrong."),
  tooManyTries: saying(
    (seconds: number) => `試行回数が多すぎます。${n(seconds)} 秒後にもう一度お試しください。`,
    (seconds: number) => `Too many tries. Try again in ${s(seconds, "second")}.`,
  ),
  sessionEnded: say(
    "セッションの有効期限が切れました。サインインすると、元の画面に戻ります。",
    "Your session has ended. Sign in, and you are back where you were.",
  ),
  notSignedOut: say(
    "サーバーに接続できなかったため、サインアウトできませんでした。",
    "The server did not answer: you are still signed in.",
  ),
  signedOutNow: say("サインアウトしました。", "You are signed out."),

  // States of things
  loading: say("読み込んでいます", "Loading"),
  slow: say("時間がかかっています。このままお待ちください…", "This takes longer than usual. Still waiting…"),
  forbiddenTitle: say("この画面は管理者のみ利用できます", "Only admins can use this screen"),
  forbiddenText: say(
    "必要な場合は、管理者に権限の変更を依頼してください。",
    "If you need it, ask an admin to change your role.",
  ),
  notFoundTitle: say("見つかりません", "Not found"),
  notFoundText: say(
    "アドレスが正しくないか、閲覧する権限がありません。",
    "The address is not right, or it is not yours to see.",
  ),
  failedTitle: say("表示できませんでした", "This could not be shown"),
  serverError: say(
    "サーバーで問題が発生しました。しばらくしてからもう一度お試しください。",
    "Something went wrong on the server. Try again in a moment.",
  ),
  databaseAway: say("サーバーが一時的に利用できません。", "The server is not available for the moment."),
  noAnswer: say("サーバーに接続できませんでした。", "The server did not answer."),
  tryingAgain: say("自動的に再試行しています…", "Trying again by itself…"),
  requestId: say("問い合わせ番号", "Request"),
  pageBroke: say("画面の表示中に問題が発生しました", "Something on this page broke"),
  refused: saying(
    (detail: string) => `実行できませんでした: ${detail}`,
    (detail: string) => `Not done: ${detail}`,
  ),
  notValid: saying(
    (what: string) => `正しくない項目があります（${what}）。`,
    (what: string) => `Not valid: ${what}.`,
  ),
  onlyAdminsMay: say("この操作は管理者のみ実行できます。", "Only admins may do this."),
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
  notLinked: say("このルームはすでに紐づいていません。", "This room is not linked any more."),
  nameNotValid: say("会社名は1〜200文字で入力してください。", "A company's name has 1 to 200 characters."),
  dayNotValid: say("期間の日付が正しくありません。", "The period's days are not valid."),
  untilOver: say("再開する日時には、これからの日時を指定してください。", "Until when must be a time to come."),
  unknownValue: saying(
    (what: string) => `アドレスの条件「${what}」が正しくありません。`,
    (what: string) => `The address asks for a “${what}” that there is not.`,
  ),
  otherJobActive: say(
    "同じ内容の別のジョブが実行中のため、再試行できません。",
    "Another job that does the same is active, so this one can't be retried.",
  ),
  tooLateToCancel: saying(
    (status: string) => `キャンセルできませんでした。ジョブはすでに「${status}」です。`,
    (status: string) => `Too late to cancel: the job is already ${status.toLowerCase()}.`,
  ),
  notPossibleNow: saying(
    (status: string) => `現在の状態（${status}）では実行できません。`,
    (status: string) => `Not possible while the job is ${status.toLowerCase()}.`,
  ),

  // What a job's error means
  means401: say(
    "Chatwork が API トークンを受け付けませんでした。トークンの設定を確認してください。",
    "Chatwork did not accept the API token. Check how it is set.",
  ),
  means403: say(
    "トークンの持ち主がこのルームに参加していないため、Chatwork に拒否されました。",
    "Chatwork refused: the token's owner is not a member of this room.",
  ),
  means404: say(
    "Chatwork にこのルームがありません。削除された可能性があります。",
    "Chatwork has no such room. It may have been deleted.",
  ),
  means5xx: say(
    "Chatwork 側で一時的な問題が発生しているようです。",
    "Something seems to be wrong at Chatwork for the moment.",
  ),
  meansNoAnswer: say(
    "Chatwork から応答がありませんでした。",
    "Chatwork did not answer.",
  ),
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
    "The language model's answer was cut off at its longest.",
  ),
  meansAnswerWithheld: say(
    "要約に使う言語モデルのフィルターが応答を止めました。",
    "The language model's filter held its answer back.",
  ),
  meansOnlyReasoning: say(
    "要約に使う言語モデルは考えただけで、答えを返しませんでした。",
    "The language model thought, and answered nothing.",
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
    "The quota or the credit for the language model is used up: check the plan.",
  ),
  meansModelWouldNot: say("要約に使う言語モデルが応答を断りました。", "The language model refused to answer."),
  meansModelRefused: say(
    "要約に使う言語モデルのサーバーがリクエストを断りました。もう一度試しても同じ結果になります。",
    "The language model's server refused the request, and would refuse it again.",
  ),
  meansCompanyGone: say("会社が見つかりませんでした。", "There is no such company."),

  // Statuses and events
  queued: say("待機中", "Queued"),
  processing: say("処理中", "Processing"),
  completed: say("完了", "Completed"),
  failed: say("失敗", "Failed"),
  canceled: say("キャンセル済み", "Canceled"),
  status: say("ステータス", "Status"),
  eventQueued: say("受付", "Queued"),
  eventRequeued: say("再受付", "Queued again"),
  eventStarted: say("開始", "Started"),
  eventProgress: say("進捗", "Progress"),
  eventCompleted: say("完了", "Completed"),
  eventFailed: say("失敗", "Failed"),
  eventFailedRetry: say("失敗（再試行あり）", "Failed, will retry"),
  eventCanceled: say("キャンセル", "Canceled"),
  reason_new: say("新しいジョブ", "a new job"),
  reason_retry: say("自動再試行", "automatic retry"),
  reason_manual_retry: say("手動で再試行", "retried by hand"),
  reason_worker_lost: say("ワーカーが応答しなくなったため", "its worker was lost"),
  reason_worker_shutdown: say("ワーカーの停止にともなう引き継ぎ", "its worker was stopping"),
  by: saying(
    (who: string) => `実行者: ${who}`,
    (who: string) => `by ${who}`,
  ),
  runsFrom: saying(
    (when: string) => `${when} 以降に実行`,
    (when: string) => `runs from ${when}`,
  ),

  // Job types
  type_chatwork_rooms_sync: say("ルーム同期", "Sync rooms"),
  type_chatwork_messages_sync: say("メッセージ同期", "Sync messages"),
  type_summary_draft: say("要約の下書き", "Summary draft"),

  // Chatwork settings
  chatworkIntro: say(
    "Chatwork からルームとメッセージを取り込みます。",
    "Brings rooms and messages over from Chatwork.",
  ),
  syncRooms: say("ルーム同期", "Sync rooms"),
  syncRoomsText: say("ルームの一覧を Chatwork から取り込みます。", "Fetches the list of rooms from Chatwork."),
  syncMessages: say("メッセージ同期", "Sync messages"),
  syncMessagesText: say(
    "有効なルームの新しいメッセージを取り込みます。",
    "Fetches the new messages of all active rooms.",
  ),
  syncOneRoom: say("このルームを同期", "Sync this room"),
  syncing: say("受け付けています…", "Sending…"),
  noToken: say(
    "Chatwork の API トークンが設定されていません（CHATWORK_API_TOKEN）。サーバーの管理者に連絡してください。",
    "Chatwork is not set up: CHATWORK_API_TOKEN is missing. Tell whoever runs the server.",
  ),
  neverSynced: say("まだ一度も実行されていません", "Has never run"),
  lastRun: say("前回の実行", "Last run"),
  rooms: say("ルーム", "Rooms"),
  roomsCount: saying(
    (count: number) => `${n(count)} ルーム`,
    (count: number) => s(count, "room"),
  ),
  noRooms: say("まだルームがありません", "No rooms yet"),
  noRoomsText: say(
    "「ルーム同期」を押すと、Chatwork のルームがここに表示されます。",
    "Press “Sync rooms”, and the rooms of Chatwork appear here.",
  ),
  noRoomMatches: say("条件に合うルームがありません", "No room matches"),
  clearFilters: say("条件をクリア", "Clear the filters"),
  searchRooms: say("ルームを検索", "Search rooms"),
  searchRoomsHint: say("ルーム名・説明・ルームID", "Name, description or room ID"),
  filter: say("絞り込み", "Filter"),
  active: say("有効", "Active"),
  inactive: say("無効", "Inactive"),
  inError: say("エラー", "In error"),
  room: say("ルーム", "Room"),
  messages: say("メッセージ", "Messages"),
  messagesCount: saying(
    (count: number) => `${n(count)} 件`,
    (count: number) => s(count, "message"),
  ),
  messagesTotal: saying(
    (count: number) => `メッセージ ${n(count)} 件`,
    (count: number) => s(count, "message"),
  ),
  lastSync: say("最終同期", "Last sync"),
  lastError: say("最後のエラー", "Last error"),
  seen: say("確認しました", "Seen"),
  seenWhat: saying(
    (name: string) => `「${name}」のエラーを確認しました`,
    (name: string) => `I have seen the error of “${name}”`,
  ),
  gapChip: say("欠落の可能性", "May be incomplete"),
  gapBetween: saying(
    (after: string, before: string) => `${after} から ${before} までのメッセージに、取得できなかったものがある可能性があります。`,
    (after: string, before: string) => `Messages between ${after} and ${before} may be missing.`,
  ),
  gapBefore: saying(
    (before: string) => `${before} より前のメッセージに、取得できなかったものがある可能性があります。`,
    (before: string) => `Messages before ${before} may be missing.`,
  ),
  gapAfter: saying(
    (after: string) => `${after} より後のメッセージに、取得できなかったものがある可能性があります。`,
    (after: string) => `Messages after ${after} may be missing.`,
  ),
  gapAnywhere: say(
    "取得できなかったメッセージがある可能性があります。",
    "Messages may be missing.",
  ),
  gap_over_100: say(
    "Chatwork から取得できるのは最新の100件までです。",
    "Chatwork gives the newest 100 messages and no more.",
  ),
  gap_plan: say(
    "Chatwork のプランの制限により、古いメッセージは取得できません。",
    "The Chatwork plan withholds older messages.",
  ),
  gapHere: say("ここに取得できなかったメッセージがある可能性があります", "Messages may be missing here"),
  unknownSender: say("送信者不明", "Unknown sender"),
  takesPart: say("同期の対象", "In the sync"),
  notYetSynced: say("未同期", "Not yet"),
  roomActive: saying(
    (name: string) => `「${name}」を同期の対象にする`,
    (name: string) => `Include “${name}” in the sync`,
  ),
  selectRoom: saying(
    (name: string) => `「${name}」を選択`,
    (name: string) => `Select “${name}”`,
  ),
  selectAll: say("すべて選択", "Select all"),
  selected: saying(
    (count: number) => `${n(count)} 件を選択中`,
    (count: number) => `${count.toLocaleString("en-GB")} selected`,
  ),
  turnOn: say("有効にする", "Turn on"),
  turnOff: say("無効にする", "Turn off"),
  clearSelection: say("選択を解除", "Clear selection"),
  roomsChanged: saying(
    (count: number, on: boolean) => `${n(count)} 件のルームを${on ? "有効" : "無効"}にしました`,
    (count: number, on: boolean) => `${s(count, "room")} turned ${on ? "on" : "off"}`,
  ),
  roomsNotChanged: saying(
    (count: number) => `${n(count)} 件のルームは変更できませんでした`,
    (count: number) => `${s(count, "room")} could not be changed`,
  ),
  readMessages: say("メッセージを見る", "Read messages"),
  readMessagesOf: saying(
    (name: string) => `「${name}」のメッセージを見る`,
    (name: string) => `Read the messages of “${name}”`,
  ),
  noMessages: say("メッセージはまだありません", "No messages yet"),

  // Progress
  progressOf: saying(
    (done: number, total: number, unit: string) => `${n(total)} ${unit}中 ${n(done)} ${unit}`,
    (done: number, total: number, unit: string) => `${n(done)} of ${n(total)} ${unit}`,
  ),
  unitRooms: say("ルーム", "rooms"),
  unitChunks: say("ブロック", "parts"),
  unitItems: say("件", "items"),
  progress: say("進捗", "Progress"),
  rate: saying(
    (perMinute: string, unit: string) => `毎分 ${perMinute} ${unit}`,
    (perMinute: string, unit: string) => `${perMinute} ${unit} a minute`,
  ),
  timeLeft: saying(
    (left: string) => `残り約 ${left}`,
    (left: string) => `about ${left} left`,
  ),
  lastUpdate: saying(
    (when: string) => `最終更新 ${when}`,
    (when: string) => `last update ${when}`,
  ),
  quiet: say("更新が止まっています", "No update for a while"),
  roomsSynced: saying(
    (count: number) => `同期済み ${n(count)} ルーム`,
    (count: number) => `${s(count, "room")} synced`,
  ),
  roomsInError: saying(
    (count: number) => `エラー ${n(count)} ルーム`,
    (count: number) => `${s(count, "room")} in error`,
  ),
  placesIncomplete: saying(
    (count: number) => `欠落の可能性 ${n(count)} か所`,
    (count: number) => `${s(count, "place")} where messages may be missing`,
  ),
  messagesFetched: saying(
    (count: number) => `メッセージ ${n(count)} 件を取得`,
    (count: number) => `${s(count, "message")} fetched`,
  ),
  roomsResult: saying(
    (total: number, created: number, updated: number) =>
      `全 ${n(total)} ルーム（新規 ${n(created)}、更新 ${n(updated)}）`,
    (total: number, created: number, updated: number) =>
      `${s(total, "room")}: ${n(created)} new, ${n(updated)} updated`,
  ),
  draftResult: saying(
    (messages: number) => `メッセージ ${n(messages)} 件から作成`,
    (messages: number) => `made from ${s(messages, "message")}`,
  ),
  cancel: say("キャンセル", "Cancel"),
  canceling: say("キャンセルしています…", "Canceling…"),
  retry: say("再試行", "Retry"),
  details: say("詳細", "Details"),
  openJob: say("詳細を見る", "See details"),

  // Toasts
  toastCompleted: saying(
    (what: string) => `${what}が完了しました`,
    (what: string) => `${what}: completed`,
  ),
  toastFailed: saying(
    (what: string) => `${what}が失敗しました`,
    (what: string) => `${what}: failed`,
  ),
  toastCanceled: saying(
    (what: string) => `${what}はキャンセルされました`,
    (what: string) => `${what}: canceled`,
  ),
  toastMany: saying(
    (completed: number, failed: number, canceled: number) =>
      `ジョブが終了しました: 完了 ${n(completed)}、失敗 ${n(failed)}、キャンセル済み ${n(canceled)}`,
    (completed: number, failed: number, canceled: number) =>
      `Jobs ended: ${n(completed)} completed, ${n(failed)} failed, ${n(canceled)} canceled`,
  ),
  accepted: saying(
    (what: string) => `${what}を受け付けました`,
    (what: string) => `${what}: accepted`,
  ),

  // Jobs
  jobsIntro: say("自分が実行したジョブの状況です。", "The jobs that you started, and what became of them."),
  jobsIntroAdmin: say("全員のジョブの状況です。", "Everybody's jobs, and what became of them."),
  statusFilter: say("ステータスで絞り込み", "Filter by status"),
  orMore: saying(
    (count: number) => `${n(count)}+`,
    (count: number) => `${n(count)}+`,
  ),
  type: say("種類", "Type"),
  owner: say("実行者", "Owner"),
  time: say("作成日時", "Created"),
  when: say("日時", "When"),
  anyType: say("すべての種類", "All types"),
  anyOwner: say("すべての実行者", "All owners"),
  anyTime: say("すべての期間", "Any time"),
  last1h: say("過去1時間", "Last hour"),
  last24h: say("過去24時間", "Last 24 hours"),
  last7d: say("過去7日間", "Last 7 days"),
  last30d: say("過去30日間", "Last 30 days"),
  customTime: say("期間を指定", "Custom range"),
  from: say("開始", "From"),
  to: say("終了", "To"),
  attempt: say("試行", "Attempt"),
  attemptOf: saying(
    (attempt: number, most: number) => `試行 ${attempt}/${most}`,
    (attempt: number, most: number) => `Attempt ${attempt} of ${most}`,
  ),
  created: say("作成", "Created"),
  duration: say("所要時間", "Duration"),
  result: say("結果", "Result"),
  worker: say("ワーカー", "Worker"),
  job: say("ジョブ", "Job"),
  newJobs: saying(
    (count: number) => `新しいジョブ ${n(count)} 件を表示`,
    (count: number) => `Show ${s(count, "new job")}`,
  ),
  selectJob: saying(
    (what: string) => `ジョブ ${what} を選択`,
    (what: string) => `Select job ${what}`,
  ),
  selectMatching: say("条件に合うすべてのジョブを選択", "Select all jobs that match"),
  matchingSelected: say("条件に合うすべてのジョブを選択中", "All jobs that match are selected"),
  bulkCancel: say("まとめてキャンセル…", "Cancel…"),
  bulkRetry: say("まとめて再試行…", "Retry…"),
  bulkCancelTitle: say("ジョブをまとめてキャンセル", "Cancel jobs"),
  bulkRetryTitle: say("ジョブをまとめて再試行", "Retry jobs"),
  counting: say("対象を数えています…", "Counting…"),
  bulkCancelCount: saying(
    (count: number, more: boolean) => `${n(count)} 件${more ? "以上" : ""}のジョブをキャンセルします。`,
    (count: number, more: boolean) => `${s(count, "job")}${more ? " or more" : ""} will be canceled.`,
  ),
  bulkRetryCount: saying(
    (count: number, more: boolean) => `${n(count)} 件${more ? "以上" : ""}のジョブを再試行します。`,
    (count: number, more: boolean) => `${s(count, "job")}${more ? " or more" : ""} will be retried.`,
  ),
  bulkCancelRest: say("すでに終了したジョブは変更されません。", "Jobs that have ended already stay as they are."),
  bulkRetryRest: say(
    "失敗またはキャンセル済みのジョブだけが対象です。",
    "Only jobs that failed or were canceled are retried.",
  ),
  bulkMore: say("一度に実行できるのは 1,000 件までです。", "At most 1,000 in one go."),
  bulkNothing: say("対象となるジョブがありません。", "There is no such job among them."),
  bulkCancelDo: saying(
    (count: number) => `${n(count)} 件をキャンセル`,
    (count: number) => `Cancel ${s(count, "job")}`,
  ),
  bulkRetryDo: saying(
    (count: number) => `${n(count)} 件を再試行`,
    (count: number) => `Retry ${s(count, "job")}`,
  ),
  bulkCanceled: saying(
    (count: number) => `${n(count)} 件をキャンセルしました`,
    (count: number) => `${s(count, "job")} canceled`,
  ),
  bulkRetried: saying(
    (count: number) => `${n(count)} 件を再試行しました`,
    (count: number) => `${s(count, "job")} queued again`,
  ),
  bulkRefused: saying(
    (count: number) => `${n(count)} 件は実行できませんでした`,
    (count: number) => `${s(count, "job")} refused`,
  ),
  bulkLeft: say("対象のジョブがまだ残っています。", "There are more of them."),
  noJobs: say("ジョブはまだありません", "No jobs yet"),
  noJobsText: say(
    "同期や要約の下書きを実行すると、ここに表示されます。",
    "Start a sync or a summary draft, and it appears here.",
  ),
  noJobMatches: say("条件に合うジョブはありません", "No job matches"),
  loadingMore: say("続きを読み込んでいます…", "Loading more…"),
  endOfList: saying(
    (count: number) => `以上 ${n(count)} 件`,
    (count: number) => `${s(count, "job")} in all`,
  ),
  pausedBanner: saying(
    (types: string[]) => `${types.join("、")}は一時停止中です。`,
    (types: string[]) => `Paused: ${types.join(", ")}.`,
  ),
  noWorkerBanner: say(
    "稼働中のワーカーがありません。ジョブは待機したままになります。",
    "No worker is alive. Jobs will wait.",
  ),
  toOperations: say("運用を開く", "Open operations"),

  // A job
  historyTitle: say("履歴", "History"),
  asItWas: say("このときのジョブ", "The job as it was"),
  asItIs: say("現在のジョブ", "The job as it is"),
  timeline: say("タイムライン", "Timeline"),
  slider: say("イベントを選択", "Choose an event"),
  eventOf: saying(
    (seq: number, last: number) => `イベント ${n(seq)} / ${n(last)}`,
    (seq: number, last: number) => `Event ${n(seq)} of ${n(last)}`,
  ),
  now: say("最新", "Now"),
  toNow: say("最新に戻る", "Back to now"),
  first: say("最初のイベント", "First event"),
  previous: say("前のイベント", "Previous event"),
  next: say("次のイベント", "Next event"),
  last: say("最後のイベント", "Last event"),
  play: say("再生", "Play"),
  stop: say("停止", "Stop"),
  keysHint: say("← → で前後のイベントへ", "← → step through the events"),
  shareHint: say("この時点へのリンクをコピー", "Copy a link to this moment"),
  changed: say("変更", "changed"),
  added: say("追加", "added"),
  removed: say("削除", "removed"),
  was: saying(
    (before: string) => `変更前: ${before}`,
    (before: string) => `was ${before}`,
  ),
  changedFields: saying(
    (count: number) => `このイベントで ${n(count)} 項目が変更されました`,
    (count: number) => `This event changed ${s(count, "field")}`,
  ),
  createdHere: say("このイベントでジョブが作成されました", "This event created the job"),
  field_status: say("ステータス", "Status"),
  field_attempt: say("試行", "Attempt"),
  field_maxAttempts: say("最大試行回数", "Most attempts"),
  field_worker: say("ワーカー", "Worker"),
  field_runAt: say("実行予定", "Runs from"),
  field_startedAt: say("開始", "Started"),
  field_finishedAt: say("終了", "Finished"),
  field_createdAt: say("作成", "Created"),
  field_updatedAt: say("更新", "Updated"),
  field_seq: say("イベント番号", "Event number"),
  field_userId: say("実行者", "Owner"),
  field_type: say("種類", "Type"),
  field_id: say("ID", "ID"),
  field_payload: say("入力（payload）", "Payload"),
  field_result: say("結果（result）", "Result"),
  field_error: say("エラー（error）", "Error"),
  stack: say("スタックトレース", "Stack trace"),
  attempts: say("試行の比較", "Attempts side by side"),
  attemptNumber: saying(
    (attempt: number) => `試行 ${attempt}`,
    (attempt: number) => `Attempt ${attempt}`,
  ),
  waited: say("待機", "Waited"),
  ran: say("実行", "Ran"),
  running: say("実行中", "running"),
  notStarted: say("未開始", "not started"),
  updates: say("進捗報告", "Updates"),
  outcome: say("結末", "Outcome"),
  why: say("きっかけ", "Because"),
  handedBack: say("引き継ぎ", "Handed back"),
  moreProgress: saying(
    (count: number) => `ほか ${n(count)} 件の進捗`,
    (count: number) => `${n(count)} more progress events`,
  ),
  sinceBefore: say("前のイベントからの時間", "Time since the event before"),
  download: say("履歴をダウンロード", "Download the history"),
  downloadHint: say("NDJSON 形式", "as NDJSON"),
  runAgain: say("新しいジョブとして再実行", "Run again as new"),
  forceFail: say("強制的に失敗にする…", "Force to fail…"),
  forceFailTitle: say("ジョブを強制的に失敗にする", "Force the job to fail"),
  forceFailText: say(
    "応答しないワーカーで止まったジョブを終わらせます。この試行は失敗として記録され、自動では再試行されません。",
    "Ends a job that is stuck in a worker. The attempt is recorded as failed and is not retried by itself.",
  ),
  forceFailDo: say("失敗にする", "Force to fail"),
  reason: say("理由", "Reason"),
  moreActions: say("その他の操作", "More actions"),
  whyWaiting: say("なぜ待機中？", "Why is it waiting?"),
  waitSoon: say("まもなく実行されます。", "It runs in a moment."),
  waitRetry: saying(
    (when: string) => `${when}に再試行されます。`,
    (when: string) => `It will be retried ${when}.`,
  ),
  waitDelayed: saying(
    (when: string) => `${when}に実行される予定です。`,
    (when: string) => `It is scheduled to run ${when}.`,
  ),
  waitPaused: say("この種類のジョブは一時停止されています。", "Jobs of this type are paused."),
  waitPausedUntil: saying(
    (when: string) => `この種類のジョブは ${when} まで一時停止されています。`,
    (when: string) => `Jobs of this type are paused until ${when}.`,
  ),
  waitNoWorker: say(
    "この種類のジョブを実行できるワーカーが稼働していません。",
    "No worker that runs jobs of this type is alive.",
  ),
  waitNext: saying(
    (workers: number) => `次に実行されます（稼働中のワーカー ${n(workers)} 台）。`,
    (workers: number) => `It is next in line (${s(workers, "worker")} alive).`,
  ),
  waitLine: saying(
    (ahead: number, workers: number) =>
      `先に ${n(ahead)}${ahead >= 1000 ? " 件以上" : " 件"}のジョブが待っています（稼働中のワーカー ${n(workers)} 台）。`,
    (ahead: number, workers: number) =>
      `${n(ahead)}${ahead >= 1000 ? " or more" : ""} ${ahead === 1 ? "job is" : "jobs are"} ahead of it (${s(workers, "worker")} alive).`,
  ),
  noSuchMoment: saying(
    (seq: number) => `イベント ${n(seq)} はまだありません。`,
    (seq: number) => `There is no event ${n(seq)} yet.`,
  ),
  canceledByOwner: say("実行者がキャンセル", "canceled by its owner"),
  canceledByAdmin: say("管理者がキャンセル", "canceled by an admin"),

  // Companies
  companiesIntro: say(
    "会社にルームを紐づけ、期間を選んで要約を下書きします。",
    "Link rooms to a company, choose a period and draft a summary.",
  ),
  newCompany: say("会社を追加", "Add a company"),
  companyName: say("会社名", "Company name"),
  create: say("追加", "Add"),
  nameTaken: say("同じ名前の会社がすでにあります。", "There is a company of this name already."),
  noCompanies: say("会社はまだありません", "No companies yet"),
  noCompaniesText: say(
    "会社を追加すると、Chatwork のルームを紐づけて要約を下書きできます。",
    "Add one to link its Chatwork rooms and draft summaries.",
  ),
  searchCompanies: say("会社を検索", "Search companies"),
  noCompanyMatches: say("条件に合う会社がありません", "No company matches"),
  chooseCompany: say("会社を選択してください", "Choose a company"),
  linkedRooms: say("紐づいているルーム", "Linked rooms"),
  noLinkedRooms: say(
    "紐づいているルームがありません。要約にはルームの紐づけが必要です。",
    "No room is linked. A summary needs linked rooms.",
  ),
  linkRoom: say("ルームを紐づける", "Link a room"),
  chooseRoom: say("ルームを選択", "Choose a room"),
  link: say("紐づける", "Link"),
  unlink: say("解除", "Unlink"),
  unlinkWhat: saying(
    (name: string) => `「${name}」の紐づけを解除`,
    (name: string) => `Unlink “${name}”`,
  ),
  linkedAlready: say("紐づけ済み", "linked"),
  onlyAdminsLink: say("紐づけの変更は管理者のみ行えます。", "Only admins link and unlink rooms."),
  draftTitle: say("要約を下書きする", "Draft a summary"),
  period: say("期間", "Period"),
  thisWeek: say("今週", "This week"),
  lastWeek: say("先週", "Last week"),
  thisMonth: say("今月", "This month"),
  lastMonth: say("先月", "Last month"),
  last90d: say("過去90日間", "Last 90 days"),
  lastYear: say("過去1年間", "Last year"),
  startDay: say("開始日", "First day"),
  endDay: say("終了日", "Last day"),
  draftDo: say("下書きを作成", "Draft the summary"),
  drafting: say("下書きを作成しています…", "Drafting…"),
  badPeriod: say("終了日は開始日以降にしてください。", "The last day must not be before the first."),
  cachedDraft: say(
    "同じ期間・同じ件数のメッセージによる下書きがあるため、それを表示しています。",
    "There is a draft of the same period and as many messages: here it is.",
  ),
  drafts: say("下書き", "Drafts"),
  noDrafts: say("下書きはまだありません", "No drafts yet"),
  noDraftsText: say("期間を選んで「下書きを作成」を押してください。", "Choose a period and press “Draft the summary”."),
  expires: saying(
    (when: string) => `有効期限 ${when}`,
    (when: string) => `good until ${when}`,
  ),
  expired: say("期限切れ", "Expired"),
  sources: saying(
    (count: number) => `出典 ${n(count)} 件`,
    (count: number) => s(count, "source"),
  ),
  sourceIds: say("出典のメッセージID", "Message ids it rests on"),
  model: say("モデル", "Model"),
  tokens: saying(
    (count: number) => `${n(count)} トークン`,
    (count: number) => s(count, "token"),
  ),
  headingSummary: say("要約", "Summary"),
  headingTopics: say("主な話題", "Key Topics"),
  headingOpen: say("未解決の事項", "Open Items"),
  headingNext: say("次のアクション", "Next Actions"),
  copyMarkdown: say("Markdown をコピー", "Copy Markdown"),

  // Audit
  auditIntro: say("すべてのイベントが、起きた順に記録されています。", "Everything that happened, in order."),
  log: say("ログ", "Log"),
  operations: say("運用", "Operations"),
  auditSections: say("監査の画面", "Parts of the audit"),
  integrity: say("整合性", "Integrity"),
  integrityGood: say("相違はありません", "Nothing differs"),
  integrityBad: saying(
    (count: number) => `${n(count)} 件の相違があります`,
    (count: number) => `${s(count, "difference")} found`,
  ),
  findingMODIFIED: say("イベントの内容が書き換えられています", "An event's data are not what the service writes"),
  findingMISSING: say("番号の付いたイベントが失われています", "An event that has had a position is gone"),
  findingINSERTED: say("正規の手順を通らずに追加されています", "It came into the log by another way than the service's"),
  findingREORDERED: say("イベントの順序が入れ替わっています", "Positions contradict the order of the events"),
  findingBACKDATED: say("直前のイベントより前の日時になっています", "An event is earlier than the one before it"),
  findingTRUNCATED_TAIL: say("ログの末尾が失われています", "The newest part of the log is gone"),
  findingSEQ_GAP: say("ジョブの履歴に抜けがあります", "A job's history leaves an event out"),
  findingILLEGAL_TRANSITION: say("起こり得ない状態の変化です", "No decision could have made this event"),
  findingVIEW_DRIFT: say("表示がログと一致しません", "The view is not what the log says"),
  findingGUARD_MISSING: say("ログを守る仕組みが外れているか、変わっています", "A guard of the log is gone, off, or not ours"),
  brokenHistory: saying(
    (meaning: string) => `このジョブの履歴は壊れています: ${meaning}`,
    (meaning: string) => `This job's history is broken. ${meaning}.`,
  ),
  findingUnknown: say("ログに問題があります", "Something is wrong with the log"),
  findingAt: saying(
    (seq: number) => `イベント #${n(seq)}`,
    (seq: number) => `event #${n(seq)}`,
  ),
  findingPosition: saying(
    (position: number) => `番号 ${n(position)}`,
    (position: number) => `position ${n(position)}`,
  ),
  integrityNever: say("まだ検証されていません", "Never verified"),
  integrityFailed: say("検証を完了できませんでした", "The verification could not finish"),
  verifying: say("検証しています…", "Verifying…"),
  verify: say("検証する", "Verify"),
  verifiedBy: saying(
    (when: string, who: string) => `最終検証 ${when}（${who}）`,
    (when: string, who: string) => `last verified ${when} by ${who}`,
  ),
  covered: saying(
    (events: number, jobs: number) => `${n(events)} イベント・${n(jobs)} ジョブを検証`,
    (events: number, jobs: number) => `${s(events, "event")} of ${s(jobs, "job")} folded and compared`,
  ),
  differencesShown: saying(
    (shown: number, all: number) => `${n(all)} 件中 ${n(shown)} 件を表示`,
    (shown: number, all: number) => `${n(shown)} of ${n(all)} shown`,
  ),
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
  position: say("番号", "Position"),
  event: say("イベント", "Event"),
  actor: say("実行者", "Actor"),
  anyActor: say("すべての実行者", "All actors"),
  anyEvent: say("すべてのイベント", "All events"),
  jobId: say("ジョブID", "Job ID"),
  jobIdInvalid: say("ジョブIDの形式が正しくありません。", "This is not a job's ID."),
  newEvents: saying(
    (count: number) => `新しいイベント ${n(count)} 件を表示`,
    (count: number) => `Show ${s(count, "new event")}`,
  ),
  olderEvents: say("以前のイベントを表示", "Show older events"),
  startOfLog: say("ログの先頭です", "This is where the log begins"),
  noEvents: say("イベントはまだありません", "No events yet"),
  noEventMatches: say("条件に合うイベントはありません", "No event matches"),
  workers: say("ワーカー", "Workers"),
  noWorkers: say("ワーカーがありません", "No workers"),
  noWorkersText: say("ワーカーが起動するまで、ジョブは待機したままになります。", "Until one is started, jobs wait."),
  alive: say("稼働中", "Alive"),
  silent: say("応答なし", "Silent"),
  gone: say("停止", "Gone"),
  lastSeen: saying(
    (when: string) => `最終応答 ${when}`,
    (when: string) => `last seen ${when}`,
  ),
  startedWhen: saying(
    (when: string) => `起動 ${when}`,
    (when: string) => `Started ${when}`,
  ),
  slots: saying(
    (busy: number, all: number) => `${n(busy)} / ${n(all)} 実行枠を使用中`,
    (busy: number, all: number) => `${n(busy)} of ${n(all)} slots busy`,
  ),
  idle: say("待機しています", "Idle"),
  stuck: say("停止に応じない処理", "Stuck"),
  showGone: saying(
    (count: number) => `停止したワーカー ${n(count)} 台を表示`,
    (count: number) => `Show ${s(count, "worker")} that are gone`,
  ),
  jobTypes: say("ジョブの種類", "Job types"),
  pause: say("一時停止", "Pause"),
  pauseWhat: saying(
    (name: string) => `${name} を一時停止`,
    (name: string) => `Pause ${name}`,
  ),
  resume: say("再開", "Resume"),
  resumeWhat: saying(
    (name: string) => `${name} を再開`,
    (name: string) => `Resume ${name}`,
  ),
  pauseText: say(
    "この種類のジョブは新しく開始されなくなります。すでに処理中のジョブは続行されます。",
    "No new jobs of this type start. Those already running go on.",
  ),
  pauseUntil: say("再開する日時", "Until"),
  pauseUntilHint: say("空欄の場合は、手動で再開するまで停止します。", "Left empty, it stays paused until somebody resumes it."),
  pausedSince: saying(
    (when: string, who: string) => `${when}から一時停止中（${who}）`,
    (when: string, who: string) => `Paused ${when} by ${who}`,
  ),
  until: saying(
    (when: string) => `${when} まで`,
    (when: string) => `until ${when}`,
  ),
  typeRuns: say("実行可能", "Enabled"),
  paused: say("一時停止中", "Paused"),
  mostAttempts: saying(
    (count: number) => `最大 ${n(count)} 回試行`,
    (count: number) => s(count, "attempt"),
  ),
  deadline: saying(
    (time: string) => `制限時間 ${time}`,
    (time: string) => `${time} at most`,
  ),
} as const;

type All = typeof WORDS;
export type Words = { readonly [Name in keyof All]: All[Name][0] } & { readonly language: Language };

function inLanguage(language: Language): Words {
  const index = language === "ja" ? 0 : 1;
  const said = Object.entries(WORDS).map(([name, both]) => [name, both[index]]);
  return { ...Object.fromEntries(said), language } as Words;
}

const SAID: Record<Language, Words> = { ja: inLanguage("ja"), en: inLanguage("en") };

export const wordsIn = (language: Language): Words => SAID[language];

export const Speaking = createContext<Words>(SAID.ja);

/** The words in the language that is chosen. */
export const useWords = () => useContext(Speaking);

export const statusWord = (words: Words, status: Status): string => words[status];

const TYPE_WORDS: Record<string, "type_chatwork_rooms_sync" | "type_chatwork_messages_sync" | "type_summary_draft"> = {
  chatwork_rooms_sync: "type_chatwork_rooms_sync",
  chatwork_messages_sync: "type_chatwork_messages_sync",
  summary_draft: "type_summary_draft",
};

/** What people call a job of this type: in this page's words, or else by the title that the service gives, or by its name. */
export function typeWord(words: Words, type: string, title?: string): string {
  const name = Object.hasOwn(TYPE_WORDS, type) ? TYPE_WORDS[type] : undefined;
  return name ? words[name] : title || type;
}

export function eventWord(
  words: Words,
  event: { type: EventType; seq: number; data: Record<string, unknown> },
): string {
  switch (event.type) {
    case "queued":
      return event.seq === 1 ? words.eventQueued : words.eventRequeued;
    case "started":
      return words.eventStarted;
    case "progress":
      return words.eventProgress;
    case "completed":
      return words.eventCompleted;
    case "failed":
      return event.data.willRetry ? words.eventFailedRetry : words.eventFailed;
    case "canceled":
      return words.eventCanceled;
    default:
      return event.type; // what somebody has written into the log
  }
}

export function reasonWord(words: Words, reason: unknown): string {
  switch (reason) {
    case "new":
      return words.reason_new;
    case "retry":
      return words.reason_retry;
    case "manual_retry":
      return words.reason_manual_retry;
    case "worker_lost":
      return words.reason_worker_lost;
    case "worker_shutdown":
      return words.reason_worker_shutdown;
    case "canceled by its owner":
      return words.canceledByOwner;
    case "canceled by an admin":
      return words.canceledByAdmin;
    default:
      return typeof reason === "string" ? reason : "";
  }
}
