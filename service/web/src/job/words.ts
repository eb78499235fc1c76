/** The words for jobs: statuses, events, types, progress, reasons to wait. More than one screen uses them. */

import { counted, digits, say, saying } from "../words/say";

export const jobWords = {
  chosenTwice: say(
    "選択した別のジョブと同じ内容のため、同時には実行できません。",
    "Another of the chosen jobs does the same, and only one of them may be active.",
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
  eventFailedRetry: say("失敗（自動再試行）", "Failed, will retry"),
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
  type_chatwork_rooms_sync: say("ルーム同期", "Sync rooms"),
  type_chatwork_messages_sync: say("メッセージ同期", "Sync messages"),
  type_summary_draft: say("要約の下書き", "Summary draft"),
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
  limitReached: saying(
    (minutes: number, requests: number) =>
      `Chatwork の利用上限（${digits(minutes)}分間に${digits(requests)}回）に達しました`,
    (minutes: number, requests: number) =>
      `Chatwork's limit is reached (${counted(requests, "request")} in ${counted(minutes, "minute")})`,
  ),
  resumesAt: saying(
    (time: string) => `${time} に再開`,
    (time: string) => `goes on at ${time}`,
  ),
  inAll: saying(
    (left: string) => `全体で残り約 ${left}`,
    (left: string) => `about ${left} left in all`,
  ),
  waitsForLimit: saying(
    (time: string) => `利用上限のため待機（${time} に再開）`,
    (time: string) => `waits for Chatwork's limit until ${time}`,
  ),
  quiet: say("更新が止まっています", "No update for a while"),
  roomsSynced: saying(
    (count: number) => `同期済み ${digits(count)} ルーム`,
    (count: number) => `${counted(count, "room")} synced`,
  ),
  roomsInError: saying(
    (count: number) => `エラー ${digits(count)} ルーム`,
    (count: number) => `${counted(count, "room")} in error`,
  ),
  placesIncomplete: saying(
    (count: number) => `欠落の可能性 ${digits(count)} か所`,
    (count: number) => `${counted(count, "place")} where messages may be missing`,
  ),
  messagesFetched: saying(
    (count: number) => `メッセージ ${digits(count)} 件を取得`,
    (count: number) => `${counted(count, "message")} fetched`,
  ),
  roomsResult: saying(
    (total: number, created: number, updated: number) =>
      `全 ${digits(total)} ルーム（新規 ${digits(created)}、更新 ${digits(updated)}）`,
    (total: number, created: number, updated: number) =>
      `${counted(total, "room")}: ${digits(created)} new, ${digits(updated)} updated`,
  ),
  draftResult: saying(
    (all: number, used: number | null) =>
      used !== null && used < all
        ? `メッセージ ${digits(all)} 件中 ${digits(used)} 件を抽出して作成`
        : `メッセージ ${digits(all)} 件から作成`,
    (all: number, used: number | null) =>
      used !== null && used < all
        ? `made from ${digits(used)} of ${counted(all, "message")}`
        : `made from ${counted(all, "message")}`,
  ),
  cancel: say("キャンセル", "Cancel"),
  canceling: say("キャンセルしています…", "Canceling…"),
  retry: say("再試行", "Retry"),
  openJob: say("詳細を見る", "See details"),
  accepted: saying(
    (what: string) => `${what}を受け付けました`,
    (what: string) => `${what}: accepted`,
  ),
  type: say("種類", "Type"),
  owner: say("実行者", "Owner"),
  time: say("作成日時", "Created"),
  attempt: say("試行", "Attempt"),
  attemptOf: saying(
    (attempt: number, most: number) => `試行 ${attempt}/${most}`,
    (attempt: number, most: number) => `Attempt ${attempt} of ${most}`,
  ),
  created: say("作成", "Created"),
  waited: say("待機", "Waited"),
  ran: say("実行", "Ran"),
  waitedAndRan: say("実行（待機）", "Ran (waited)"),
  result: say("結果", "Result"),
  worker: say("ワーカー", "Worker"),
  job: say("ジョブ", "Job"),
  openDraft: say("下書きを開く", "Open the draft"),
  unknownCompany: say("不明な会社", "Unknown company"),
  attemptNumber: saying(
    (attempt: number) => `試行 ${attempt}`,
    (attempt: number) => `Attempt ${attempt}`,
  ),
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
    (workers: number) => `次に実行されます（稼働中のワーカー ${digits(workers)} 台）。`,
    (workers: number) => `It is next in line (${counted(workers, "worker")} alive).`,
  ),
  waitLine: saying(
    (ahead: number, workers: number) =>
      `先に ${digits(ahead)}${ahead >= 1000 ? " 件以上" : " 件"}のジョブが待っています（稼働中のワーカー ${digits(workers)} 台）。`,
    (ahead: number, workers: number) =>
      `${digits(ahead)}${ahead >= 1000 ? " or more" : ""} ${ahead === 1 ? "job is" : "jobs are"} ahead of it (${counted(workers, "worker")} alive).`,
  ),
  canceledByOwner: say("実行者がキャンセル", "canceled by its owner"),
  canceledByAdmin: say("管理者がキャンセル", "canceled by an admin"),
  jobId: say("ジョブID", "Job ID"),
  causedBy: say("原因", "Cause"),
  causeEvent: saying(
    (seq: number) => `イベント #${digits(seq)}`,
    (seq: number) => `event #${digits(seq)}`,
  ),
  causeOtherJob: saying(
    (job: string, seq: number) => `ジョブ ${job} のイベント #${digits(seq)}`,
    (job: string, seq: number) => `event #${digits(seq)} of job ${job}`,
  ),
  causeSchedule: saying(
    (id: string, slot: string) => `定期実行 ${id}（${slot}）`,
    (id: string, slot: string) => `schedule ${id} (${slot})`,
  ),
  causeWebhook: saying(
    (id: string) => `Webhook ${id}`,
    (id: string) => `webhook ${id}`,
  ),
} as const;
