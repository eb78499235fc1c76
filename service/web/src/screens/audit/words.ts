/** The words of the screen "audit". */

import { counted, digits, say, saying } from "../../words/say";

export const auditWords = {
  auditIntro: say("すべてのイベントが、起きた順に記録されています。", "Everything that happened, in order."),
  log: say("ログ", "Log"),
  operations: say("運用", "Operations"),
  auditSections: say("監査の画面", "Parts of the audit"),
  integrity: say("整合性", "Integrity"),
  integrityGood: say("相違はありません", "Nothing differs"),
  integrityBad: saying(
    (count: number) => `${digits(count)} 件の相違があります`,
    (count: number) => `${counted(count, "difference")} found`,
  ),
  findingAt: saying(
    (seq: number) => `イベント #${digits(seq)}`,
    (seq: number) => `event #${digits(seq)}`,
  ),
  findingPosition: saying(
    (position: number) => `番号 ${digits(position)}`,
    (position: number) => `position ${digits(position)}`,
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
    (events: number, jobs: number) => `${digits(events)} イベント・${digits(jobs)} ジョブを検証`,
    (events: number, jobs: number) => `${counted(events, "event")} of ${counted(jobs, "job")} folded and compared`,
  ),
  differencesShown: saying(
    (shown: number, all: number) => `${digits(all)} 件中 ${digits(shown)} 件を表示`,
    (shown: number, all: number) => `${digits(shown)} of ${digits(all)} shown`,
  ),
  position: say("番号", "Position"),
  event: say("イベント", "Event"),
  actor: say("実行者", "Actor"),
  anyActor: say("すべての実行者", "All actors"),
  anyEvent: say("すべてのイベント", "All events"),
  newEvents: saying(
    (count: number) => `新しいイベント ${digits(count)} 件を表示`,
    (count: number) => `Show ${counted(count, "new event")}`,
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
    (busy: number, all: number) => `${digits(busy)} / ${digits(all)} 実行枠を使用中`,
    (busy: number, all: number) => `${digits(busy)} of ${digits(all)} slots busy`,
  ),
  idle: say("待機しています", "Idle"),
  stuck: say("停止できない処理", "Cannot be stopped"),
  showGone: saying(
    (count: number) => `停止したワーカー ${digits(count)} 台を表示`,
    (count: number) => `Show ${counted(count, "worker")} that are gone`,
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
  pauseUntilHint: say(
    "空欄の場合は、手動で再開するまで停止します。",
    "If you leave this empty, the type stays paused until somebody resumes it.",
  ),
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
    (count: number) => `最大 ${digits(count)} 回試行`,
    (count: number) => counted(count, "attempt"),
  ),
  deadline: saying(
    (time: string) => `制限時間 ${time}`,
    (time: string) => `${time} at most`,
  ),
} as const;
