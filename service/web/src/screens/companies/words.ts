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
  linkedRooms: say("紐づいているルーム", "Linked rooms"),
  noLinkedRooms: say(
    "紐づいているルームがありません。要約にはルームの紐づけが必要です。",
    "No room is linked. A summary needs linked rooms.",
  ),
  chooseRoom: say("ルームを選択", "Choose a room"),
  link: say("紐づける", "Link"),
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
  sourceIds: say("出典のメッセージID", "IDs of the source messages"),
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
