/** The words of the screen "jobs". */

import { counted, digits, say, saying } from "../../words/say";

export const jobsWords = {
  jobsIntro: say("自分が実行したジョブの状況です。", "The jobs that you started, and what became of them."),
  jobsIntroAdmin: say("全員のジョブの状況です。", "Everybody's jobs, and what became of them."),
  statusFilter: say("ステータスで絞り込み", "Filter by status"),
  orMore: saying(
    (count: number) => `${digits(count)}+`,
    (count: number) => `${digits(count)}+`,
  ),
  findById: say("ジョブIDで開く", "Open a job by its ID"),
  findByIdHint: say("ジョブID（末尾8桁でも可）", "Job ID, or its last eight digits"),
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
  newJobs: saying(
    (count: number) => `新しいジョブ ${digits(count)} 件を表示`,
    (count: number) => `Show ${counted(count, "new job")}`,
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
    (count: number, more: boolean) => `${digits(count)} 件${more ? "以上" : ""}のジョブをキャンセルします。`,
    (count: number, more: boolean) => `${counted(count, "job")}${more ? " or more" : ""} will be canceled.`,
  ),
  bulkRetryCount: saying(
    (count: number, more: boolean) => `${digits(count)} 件${more ? "以上" : ""}のジョブを再試行します。`,
    (count: number, more: boolean) => `${counted(count, "job")}${more ? " or more" : ""} will be retried.`,
  ),
  bulkCancelRest: say("すでに終了したジョブは変更されません。", "Jobs that have ended already stay as they are."),
  bulkRetryRest: say(
    "失敗またはキャンセル済みのジョブだけが対象です。",
    "Only jobs that failed or were canceled are retried.",
  ),
  bulkMore: say("一度に実行できるのは 1,000 件までです。", "At most 1,000 in one go."),
  bulkNothing: say("対象となるジョブがありません。", "None of these jobs can be changed."),
  bulkCancelDo: saying(
    (count: number) => `${digits(count)} 件をキャンセル`,
    (count: number) => `Cancel ${counted(count, "job")}`,
  ),
  bulkRetryDo: saying(
    (count: number) => `${digits(count)} 件を再試行`,
    (count: number) => `Retry ${counted(count, "job")}`,
  ),
  bulkCanceled: saying(
    (count: number) => `${digits(count)} 件をキャンセルしました`,
    (count: number) => `${counted(count, "job")} canceled`,
  ),
  bulkRetried: saying(
    (count: number) => `${digits(count)} 件を再試行しました`,
    (count: number) => `${counted(count, "job")} queued again`,
  ),
  bulkRefused: saying(
    (count: number) => `${digits(count)} 件は実行できませんでした`,
    (count: number) => `${counted(count, "job")} refused`,
  ),
  bulkCancelOutside: saying(
    (count: number) => `選択した ${digits(count)} 件はすでに終了しているため、対象外です。`,
    (count: number) => `${counted(count, "chosen job")} ended already and ${count === 1 ? "stays" : "stay"} as before.`,
  ),
  bulkRetryOutside: saying(
    (count: number) => `選択した ${digits(count)} 件は失敗もキャンセルもされていないため、対象外です。`,
    (count: number) =>
      `${counted(count, "chosen job")} ${count === 1 ? "has" : "have"} not failed and ${count === 1 ? "was" : "were"} not canceled.`,
  ),
  bulkWhy: saying(
    (count: number, reason: string) => `${digits(count)} 件は再試行されません: ${reason}`,
    (count: number, reason: string) => `${counted(count, "job")} will not be retried: ${reason}`,
  ),
  bulkNoneToChange: say(
    "選択したジョブは完了しているため、まとめて操作できません。",
    "The chosen jobs are completed, so nothing can be done with them here.",
  ),
  bulkLeft: say("対象のジョブがまだ残っています。", "There are more of them."),
  noJobs: say("ジョブはまだありません", "No jobs yet"),
  noJobsText: say(
    "同期や要約の下書きを実行すると、ここに表示されます。",
    "Start a sync or a summary draft, and it appears here.",
  ),
  noJobMatches: say("条件に合うジョブはありません", "No job matches"),
  endOfList: saying(
    (count: number) => `以上 ${digits(count)} 件`,
    (count: number) => `${counted(count, "job")} in all`,
  ),
  pausedBanner: saying(
    (types: string[]) => `${types.join("、")}は一時停止中です。`,
    (types: string[]) => `Paused: ${types.join(", ")}.`,
  ),
  noWorkerBanner: say(
    "稼働中のワーカーがありません。ジョブは待機したままになります。",
    "No worker is alive. Jobs will wait.",
  ),
} as const;
