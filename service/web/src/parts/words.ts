/** The words that more than one screen uses. */

import { digits, say, saying } from "../words/say";

export const partsWords = {
  close: say("閉じる", "Close"),
  toList: say("一覧に戻る", "Back to the list"),
  toStart: say("最初の画面へ", "To the first screen"),
  copied: say("コピーしました", "Copied"),
  copyWhat: saying(
    (what: string) => `${what}をコピー`,
    (what: string) => `Copy ${what}`,
  ),
  more: say("さらに表示", "Show more"),
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
  optional: say("（任意）", " (optional)"),
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
    "The address is wrong, or you may not see this page.",
  ),
  failedTitle: say("表示できませんでした", "This could not be shown"),
  tryingAgain: say("自動的に再試行しています…", "Trying again automatically…"),
  requestId: say("問い合わせ番号", "Request"),
  pageBroke: say("画面の表示中に問題が発生しました", "Something on this page broke"),
  syncing: say("受け付けています…", "Sending…"),
  rooms: say("ルーム", "Rooms"),
  nothingFound: say("見つかりません", "Nothing found"),
  moreFound: saying(
    (count: number) => `ほか ${digits(count)} 件。文字を入力して絞り込んでください`,
    (count: number) => `${digits(count)} more. Type to narrow down`,
  ),
  noRooms: say("まだルームがありません", "No rooms yet"),
  clearFilters: say("条件をクリア", "Clear the filters"),
  selectAll: say("すべて選択", "Select all"),
  selected: saying(
    (count: number) => `${digits(count)} 件を選択中`,
    (count: number) => `${digits(count)} selected`,
  ),
  clearSelection: say("選択を解除", "Clear selection"),
  details: say("詳細", "Details"),
  when: say("日時", "When"),
  loadingMore: say("続きを読み込んでいます…", "Loading more…"),
  toOperations: say("運用を開く", "Open operations"),
  reason: say("理由", "Reason"),
  moreActions: say("その他の操作", "More actions"),
} as const;
