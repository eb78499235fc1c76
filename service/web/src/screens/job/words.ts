/** The words of the screen "job". */

import { counted, digits, say, saying } from "../../words/say";

export const jobScreenWords = {
  historyTitle: say("履歴", "History"),
  asItWas: say("このときのジョブ", "The job as it was"),
  asItIs: say("現在のジョブ", "The job as it is"),
  timeline: say("タイムライン", "Timeline"),
  slider: say("イベントを選択", "Choose an event"),
  eventOf: saying(
    (seq: number, last: number) => `イベント ${digits(seq)} / ${digits(last)}`,
    (seq: number, last: number) => `Event ${digits(seq)} of ${digits(last)}`,
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
  was: saying(
    (before: string) => `変更前: ${before}`,
    (before: string) => `was ${before}`,
  ),
  changedFields: saying(
    (count: number) => `このイベントで ${digits(count)} 項目が変更されました`,
    (count: number) => `This event changed ${counted(count, "field")}`,
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
  running: say("実行中", "running"),
  notStarted: say("未開始", "not started"),
  updates: say("進捗報告", "Updates"),
  outcome: say("終わり方", "Outcome"),
  why: say("開始理由", "Started because"),
  handedBack: say("引き継ぎ", "Handed back"),
  moreProgress: saying(
    (count: number) => `ほか ${digits(count)} 件の進捗`,
    (count: number) => `${digits(count)} more progress events`,
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
  sameShortId: saying(
    (shortId: string) => `「${shortId}」で終わるIDのジョブが複数あります`,
    (shortId: string) => `Several jobs have an id that ends in “${shortId}”`,
  ),
  roomResults: saying(
    (count: number) => `ルームごとの結果（${digits(count)} ルーム）`,
    (count: number) => `Results by room (${counted(count, "room")})`,
  ),
  mayLackMessages: say("欠落の可能性", "Messages may be missing"),
  eventFacts: say("このイベントの記録", "This event in the log"),
  positionPending: say("まもなく付きます", "given in a moment"),
  noCause: say("なし", "none"),
  proof: say("証明をダウンロード", "Download the proof"),
  proofHint: say(
    "このイベントが署名済みのログに含まれることを、外部の人が確かめるためのファイル（C2SP tlog-proof 形式）",
    "A file by which anybody can check that the signed log contains this event (C2SP tlog-proof)",
  ),
  verifyJob: say("この履歴を検証", "Verify this job"),
  verificationOfJob: say("検証の結果", "Result of the verification"),
  jobIsSound: say("この履歴に問題は見つかりませんでした", "No fault was found in this job's history"),
  jobHasFaults: saying(
    (count: number) => `この履歴に ${digits(count)} 件の問題が見つかりました`,
    (count: number) => `${counted(count, "fault")} found in this job's history`,
  ),
  whatWasVerified: saying(
    (events: number) =>
      `記録された ${digits(events)} 件のイベントからジョブの状態を計算し直し、番号の抜け、日時の逆転、許されない変化がなく、画面の表示と一致することを確かめました。`,
    (events: number) =>
      `The job was computed again from its ${counted(events, "recorded event")}. No number is missing, no time runs backwards, each change is allowed, and the result is what the screen shows.`,
  ),
  whatFaultsMean: say(
    "記録がそのままではないか、画面の表示が記録と食い違っています。各項目の説明を確認し、運用担当者に伝えてください。",
    "The record is not as it was written, or the screen shows something else than the record. Read each finding, and tell the operators.",
  ),
  verifiedAt: saying(
    (when: string) => `検証日時 ${when}`,
    (when: string) => `Verified at ${when}`,
  ),
  notCovered: say(
    "署名済みチェックポイントはまだありません。データベースを自由に書き換えられる人が記録と表示を同時に変えた場合、この検証ではわかりません。",
    "There is no signed checkpoint yet. If somebody with full access to the database changed record and view together, this verification cannot tell.",
  ),
  allCovered: saying(
    (events: number, size: number, when: string) =>
      `${digits(events)} 件のイベントはすべて、${when} に署名されたチェックポイント（先頭から ${digits(size)} 件）の範囲にあります。`,
    (events: number, size: number, when: string) =>
      `The checkpoint that was signed at ${when} covers the first ${digits(size)} events of the log, and so ${events === 1 ? "the event" : `all ${digits(events)} events`} of this job.`,
  ),
  partlyCovered: saying(
    (covered: number, events: number, size: number, when: string) =>
      `${digits(events)} 件のうち ${digits(covered)} 件が、${when} に署名されたチェックポイント（先頭から ${digits(size)} 件）の範囲にあります。残りは次のチェックポイントに入ります。`,
    (covered: number, events: number, size: number, when: string) =>
      `The checkpoint that was signed at ${when} covers the first ${digits(size)} events of the log, and so ${digits(covered)} of the ${digits(events)} events of this job. The next checkpoint will cover the others.`,
  ),
  hashesAgree: saying(
    (count: number) => `${digits(count)} 件のハッシュは、署名された値と一致しました。`,
    (count: number) =>
      count === 1
        ? "Its hash is the one that was signed."
        : `The hashes of these ${digits(count)} events are those that were signed.`,
  ),
  hashesDiffer: saying(
    (count: number) => `${digits(count)} 件のハッシュが、署名された値と違います。`,
    (count: number) =>
      `${counted(count, "hash", "hashes")} ${count === 1 ? "differs" : "differ"} from what was signed.`,
  ),
  notCompared: say(
    "署名を確かめる鍵が設定されていないため、署名とは照合していません。",
    "They were not compared with the signature, because no key is configured that it could be checked with.",
  ),
  copyOutside: saying(
    (when: string) => `その写しは ${when} に外部へ保管されました。`,
    (when: string) => `A copy of it was stored outside at ${when}.`,
  ),
  noCopyOutside: say("その写しは外部に保管されていません。", "No copy of it is stored outside."),
  whyWaiting: say("なぜ待機中？", "Why is it waiting?"),
} as const;
