/** The words of the screen "audit". */

import { counted, digits, say, saying } from "../../words/say";

export const auditWords = {
  auditIntro: say(
    "ジョブのすべてのイベントが、起きた順に記録されています。一時停止などの操作は、閲覧と操作の記録に残ります。",
    "Every event of every job, in order. Pauses and other acts of operators are on the record of access.",
  ),
  log: say("ログ", "Log"),
  operations: say("運用", "Operations"),
  access: say("アクセス記録", "Access"),
  protection: say("署名による保護", "Protection by signatures"),
  signedUpTo: saying(
    (size: number, left: number) => `先頭から ${digits(size)} 件が署名済み（未署名 ${digits(left)} 件）`,
    (size: number, left: number) => `The first ${counted(size, "event")} signed, ${digits(left)} not yet`,
  ),
  allSigned: saying(
    (size: number) => `${digits(size)} 件すべてが署名済み`,
    (size: number) => (size === 1 ? "The only event is signed" : `All ${digits(size)} events are signed`),
  ),
  nothingSigned: say("署名済みチェックポイントはまだありません", "No signed checkpoint yet"),
  nothingSignedText: say(
    "署名がないと、データベースを自由に書き換えられる人による改ざんを見つけられないことがあります。署名の鍵（AUDIT_SIGNING_KEY）を設定すると署名が始まります。",
    "Without signatures, changes by somebody with full access to the database may go unnoticed. Signing begins when a key is set (AUDIT_SIGNING_KEY).",
  ),
  emptyLogText: say(
    "ログにイベントがまだありません。署名の鍵（AUDIT_SIGNING_KEY）があれば、最初のイベントが記録された後に署名されます。",
    "The log has no event yet. If there is a key (AUDIT_SIGNING_KEY), the first events are signed soon after they are recorded.",
  ),
  firstSignatureSoon: say(
    "署名は有効です。最初のイベントが記録されると、まもなく署名されます。",
    "Signing is on. The first events are signed soon after they are recorded.",
  ),
  signingStopped: say("署名が止まっています", "Signing has stopped"),
  signingStoppedText: say(
    "ログが、以前に署名したチェックポイントの続きになっていません。古いバックアップから復元されたか、書き換えられています。運用担当者が原因を確かめるまで、何も署名されません。",
    "The log does not continue an earlier signed checkpoint: it was restored from an older backup, or changed. Nothing is signed until the operators have found out why.",
  ),
  signingPausedText: say(
    "署名を待っています。これより新しいイベントは、まだ署名で守られていません。",
    "Signing waits. Events after this checkpoint are not protected by a signature yet.",
  ),
  noCopiesText: say(
    "チェックポイントの写しは外部に保管されていません。データベースごと差し替えられると、この画面ではわかりません。",
    "No copies of checkpoints are stored outside. If somebody replaced the whole database, this screen could not tell.",
  ),
  copiesWaitText: saying(
    (count: number) => `外部への保管を待っているチェックポイントが ${digits(count)} 件あります。`,
    (count: number) => `${counted(count, "checkpoint")} ${count === 1 ? "waits" : "wait"} for a copy outside.`,
  ),
  copiedText: say(
    "チェックポイントの写しが外部に保管されています。写しと照らし合わせる検証で、署名後のどの変更も見つかります。",
    "Copies of the checkpoints are stored outside. A verification against them finds every change of the events they cover.",
  ),
  signerSays: say("署名の処理からの連絡:", "The signer says:"),
  checkpointSize: say("署名の範囲", "Covers"),
  firstEvents: saying(
    (size: string) => `ログの先頭から ${size} 件`,
    (size: string) => `the first ${size} events of the log`,
  ),
  timeAndAge: saying(
    (time: string, age: string) => `${time}（${age}）`,
    (time: string, age: string) => `${time} (${age})`,
  ),
  signedWhen: say("署名日時", "Signed"),
  copyOfCheckpoint: say("外部の写し", "Copy outside"),
  noCopyYet: say("まだありません", "none yet"),
  witnesses: say("証人の署名", "Cosignatures of witnesses"),
  protectedSince: say("保護の開始", "Protected since"),
  logName: say("ログの名前", "Name of the log"),
  accessIntro: say(
    "他の人のジョブの閲覧、書き出し、検証、アカウントの変更、運用の操作が記録されています。サービスはこの記録を変更も削除もできません。",
    "Who read other people's jobs, exported, verified, changed accounts or operated the service. The service cannot change or remove a record.",
  ),
  action: say("操作", "Action"),
  anyAction: say("すべての操作", "All actions"),
  target: say("対象", "What"),
  address: say("接続元", "From"),
  commandLine: say("コマンドライン", "command line"),
  noAccess: say("記録はまだありません", "Nothing on record yet"),
  noAccessMatches: say("条件に合う記録はありません", "No record matches"),
  olderRecords: say("以前の記録を表示", "Show older records"),
  startOfRecord: say("記録の先頭です", "This is where the record begins"),
  action_read_job: say("ジョブの閲覧", "Read a job"),
  action_read_jobs: say("ジョブ一覧の閲覧", "Read a list of jobs"),
  action_watch_jobs: say("ジョブの変化の受信", "Watched jobs live"),
  action_read_log: say("ログの閲覧", "Read the log"),
  action_read_state: say("過去の時点の全ジョブの閲覧", "Read all jobs as of a past moment"),
  action_export_job: say("ジョブの履歴の書き出し", "Exported a job's history"),
  action_export_log: say("ログの書き出し", "Exported the log"),
  action_verify_log: say("検証", "Verified"),
  action_rebuild_view: say("表示の再構築", "Rebuilt the view"),
  action_pause_type: say("ジョブの種類の一時停止", "Paused a job type"),
  action_resume_type: say("ジョブの種類の再開", "Resumed a job type"),
  action_force_fail_job: say("ジョブの強制失敗", "Forced a job to fail"),
  action_change_jobs: say("ジョブの一括操作", "Changed many jobs"),
  action_add_user: say("アカウントの追加", "Added an account"),
  action_change_user: say("アカウントの変更", "Changed an account"),
  action_sign_user_out: say("他の人のサインアウト", "Signed somebody out"),
  action_invite_user: say("招待", "Invited somebody"),
  action_accept_invitation: say("招待の承諾", "Accepted an invitation"),
  action_change_own_password: say("自分のパスワードの変更", "Changed the own password"),
  action_link_identity: say("外部アカウントの紐づけ", "Linked an identity"),
  action_add_company: say("会社の追加", "Added a company"),
  action_link_room: say("ルームの紐づけ", "Linked a room"),
  action_unlink_room: say("ルームの紐づけの解除", "Unlinked a room"),
  action_switch_room: say("ルームの同期対象の切り替え", "Turned a room on or off"),
  action_confirm_room_error: say("ルームのエラーの確認", "Confirmed a room's error"),
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
  againstNothing: say(
    "署名済みチェックポイントとは照合していません。",
    "The log was not compared with a signed checkpoint.",
  ),
  againstCheckpoint: saying(
    (size: number) =>
      `先頭から ${digits(size)} 件が署名済みチェックポイントと一致しました。外部の写しとは照合していません。`,
    (size: number) =>
      `The first ${digits(size)} events agree with the signed checkpoint. It was not compared with a copy outside.`,
  ),
  againstCopy: saying(
    (size: number, copy: string) =>
      `先頭から ${digits(size)} 件が、外部の写し（${copy}）のチェックポイントと一致しました。`,
    (size: number, copy: string) =>
      `The first ${digits(size)} events agree with the checkpoint in the copy outside (${copy}).`,
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
