/** The words of the screen "companies". */

import { counted, digits, say, saying } from "../../words/say";

export const companiesWords = {
  messagesCount: saying(
    (count: number) => `${digits(count)} 件`,
    (count: number) => counted(count, "message"),
  ),
  messagesTotal: saying(
    (count: number) => `メッセージ ${digits(count)} 件`,
    (count: number) => counted(count, "message"),
  ),
  companiesIntro: say(
    "会社にルームを紐づけ、期間を選んで要約を下書きします。",
    "Link rooms to a company, choose a period and draft a summary.",
  ),
  newCompany: say("会社を追加", "Add a company"),
  companyName: say("会社名", "Company name"),
  create: say("追加", "Add"),
  noCompanies: say("会社はまだありません", "No companies yet"),
  noCompaniesText: say(
    "会社を追加すると、Chatwork のルームを紐づけて要約を下書きできます。",
    "Add one to link its Chatwork rooms and draft summaries.",
  ),
  searchCompanies: say("会社を検索", "Search companies"),
  noCompanyMatches: say("条件に合う会社がありません", "No company matches"),
  ownDrafts: say("自分の下書き", "Your drafts"),
  noOwnDraftsText: say(
    "会社を選び、期間を決めて要約を下書きすると、ここに表示されます。",
    "Choose a company and draft a summary of a period, and it appears here.",
  ),
  rename: say("名前を変更…", "Rename…"),
  renameTitle: say("会社名を変更", "Rename the company"),
  renameDo: say("変更", "Rename"),
  archive: say("アーカイブ", "Archive"),
  restore: say("アーカイブから戻す", "Restore"),
  archivedNote: say(
    "この会社はアーカイブされています。新しい下書きを作るには、管理者がアーカイブから戻してください。",
    "This company is archived. An admin must restore it before it gets a new draft.",
  ),
  showArchived: saying(
    (count: number) => `アーカイブ済みの会社を表示（${digits(count)}）`,
    (count: number) => `Show archived companies (${digits(count)})`,
  ),
  linkedRooms: say("紐づいているルーム", "Linked rooms"),
  noLinkedRooms: say(
    "紐づいているルームがありません。要約にはルームの紐づけが必要です。",
    "No room is linked. A summary needs linked rooms.",
  ),
  chooseRoom: say("ルームを選択", "Choose a room"),
  link: say("紐づける", "Link"),
  linkMany: saying(
    (count: number) => `${digits(count)} 件を紐づける`,
    (count: number) => `Link ${counted(count, "room")}`,
  ),
  linkFirst: say(
    "先に上の「紐づいているルーム」でルームを紐づけてください。紐づいていないと、下書きは空になります。",
    "Link a room above first. Without a linked room the draft will be empty.",
  ),
  linkFirstAdmin: say(
    "ルームがまだ紐づいていないため、下書きは空になります。管理者にルームの紐づけを依頼してください。",
    "No room is linked yet, so the draft will be empty. Ask an admin to link the company's rooms.",
  ),
  unlink: say("解除", "Unlink"),
  unlinkWhat: saying(
    (name: string) => `「${name}」の紐づけを解除`,
    (name: string) => `Unlink “${name}”`,
  ),
  onlyAdminsLink: say("紐づけの変更は管理者のみ行えます。", "Only admins link and unlink rooms."),
  draftTitle: say("要約を下書きする", "Draft a summary"),
  period: say("期間", "Period"),
  thisWeek: say("今週", "This week"),
  lastWeek: say("先週", "Last week"),
  thisMonth: say("今月", "This month"),
  lastMonth: say("先月", "Last month"),
  last90d: say("過去90日間", "Last 90 days"),
  last365d: say("過去365日間", "Past 365 days"),
  startDay: say("開始日", "First day"),
  endDay: say("終了日", "Last day"),
  draftDo: say("下書きを作成", "Draft the summary"),
  cachedDraft: say(
    "同じ期間・同じ件数のメッセージによる下書きがあるため、それを表示しています。",
    "A draft of the same period and the same number of messages exists already. It is shown below.",
  ),
  drafts: say("下書き", "Drafts"),
  noDrafts: say("下書きはまだありません", "No drafts yet"),
  noDraftsText: say("期間を選んで「下書きを作成」を押してください。", "Choose a period and press “Draft the summary”."),
  expires: saying(
    (when: string) => `有効期限 ${when}`,
    (when: string) => `valid until ${when}`,
  ),
  expired: say("期限切れ", "Expired"),
  sources: saying(
    (count: number) => `出典 ${digits(count)} 件`,
    (count: number) => counted(count, "source"),
  ),
  sourcesGone: saying(
    (count: number) => `ほか ${digits(count)} 件は、この会社のルームに見つかりません。`,
    (count: number) => `${digits(count)} more are not in this company's rooms any more.`,
  ),
  openInChatwork: say("Chatwork で開く", "Open in Chatwork"),
  latestPeriodFirst: say("期間の新しい順", "latest period first"),
  deleteDraft: say("下書きを削除", "Delete the draft"),
  deleteWhat: saying(
    (period: string) => `${period} の下書きを削除`,
    (period: string) => `Delete the draft of ${period}`,
  ),
  deleteDraftText: say(
    "元に戻せません。同じ期間の下書きは、もう一度作成できます。",
    "This can't be undone. The same period can be drafted again.",
  ),
  deleteDo: say("削除", "Delete"),
  noMessagesInPeriod: say("この期間のメッセージはありません。", "No messages in this period."),
  model: say("モデル", "Model"),
  tokens: saying(
    (count: number) => `${digits(count)} トークン`,
    (count: number) => counted(count, "token"),
  ),
  headingSummary: say("要約", "Summary"),
  headingTopics: say("主な話題", "Key Topics"),
  headingOpen: say("未解決の事項", "Open Items"),
  headingNext: say("次のアクション", "Next Actions"),
  copyMarkdown: say("Markdown をコピー", "Copy Markdown"),
} as const;
