/** The words of the screen "chatwork". */

import { counted, digits, say, saying } from "../../words/say";

export const chatworkWords = {
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
  syncRoomsFirst: say(
    "先に「ルーム同期」を実行して、ルームを取り込んでください。",
    "Run “Sync rooms” first: no room is known to sync.",
  ),
  syncOneRoom: say("このルームを同期", "Sync this room"),
  neverSynced: say("まだ一度も実行されていません", "Has never run"),
  roomsCount: saying(
    (count: number) => `${digits(count)} ルーム`,
    (count: number) => counted(count, "room"),
  ),
  noRoomsText: say(
    "「ルーム同期」を押すと、Chatwork のルームがここに表示されます。",
    "Press “Sync rooms”, and the rooms of Chatwork appear here.",
  ),
  noRoomMatches: say("条件に合うルームがありません", "No room matches"),
  searchRooms: say("ルームを検索", "Search rooms"),
  searchRoomsHint: say("ルーム名・説明・ルームID", "Name, description or room ID"),
  filter: say("絞り込み", "Filter"),
  active: say("有効", "Active"),
  inactive: say("無効", "Inactive"),
  inError: say("エラー", "In error"),
  room: say("ルーム", "Room"),
  messages: say("メッセージ", "Messages"),
  lastSync: say("最終同期", "Last sync"),
  lastError: say("最後のエラー", "Last error"),
  seen: say("確認しました", "Seen"),
  seenWhat: saying(
    (name: string) => `「${name}」のエラーを確認しました`,
    (name: string) => `I have seen the error of “${name}”`,
  ),
  gapChip: say("欠落の可能性", "May be incomplete"),
  gapBetween: saying(
    (after: string, before: string) =>
      `${after} から ${before} までのメッセージに、取得できなかったものがある可能性があります。`,
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
  gapAnywhere: say("取得できなかったメッセージがある可能性があります。", "Messages may be missing."),
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
  turnOn: say("有効にする", "Turn on"),
  turnOff: say("無効にする", "Turn off"),
  roomsChanged: saying(
    (count: number, on: boolean) => `${digits(count)} 件のルームを${on ? "有効" : "無効"}にしました`,
    (count: number, on: boolean) => `${counted(count, "room")} turned ${on ? "on" : "off"}`,
  ),
  roomsNotChanged: saying(
    (count: number) => `${digits(count)} 件のルームは変更できませんでした`,
    (count: number) => `${counted(count, "room")} could not be changed`,
  ),
  readMessages: say("メッセージを見る", "Read messages"),
  noMessages: say("メッセージはまだありません", "No messages yet"),
} as const;
