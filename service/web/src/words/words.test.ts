import { expect, test } from "vitest";
import { typeWord } from "../job/naming";
import { SOURCES, wordsIn } from "./words";

const ja = wordsIn("ja");
const en = wordsIn("en");

test("everything is said in both languages, with the same facts in it", () => {
  for (const name of Object.keys(ja) as (keyof typeof ja)[]) {
    const [one, other] = [ja[name], en[name]];

    expect(typeof one, name).toBe(typeof other);
    expect(typeof one === "string" ? one.trim() : "-", name).not.toBe("");
    expect(typeof other === "string" ? other.trim() : "-", name).not.toBe("");
  }
});

test("the statuses are called what the contract calls them", () => {
  expect([ja.queued, ja.processing, ja.completed, ja.failed, ja.canceled]).toEqual([
    "待機中",
    "処理中",
    "完了",
    "失敗",
    "キャンセル済み",
  ]);
  expect([ja.chatwork, ja.jobs, ja.companies, ja.audit]).toEqual(["Chatwork連携", "ジョブ", "会社", "監査"]);
  expect([ja.syncRooms, ja.syncMessages]).toEqual(["ルーム同期", "メッセージ同期"]);
});

test("a type that this page has no word for is called by its title, or else by its name", () => {
  expect(typeWord(ja, "invoice_export", "請求書の書き出し")).toBe("請求書の書き出し");
  expect(typeWord(ja, "invoice_export")).toBe("invoice_export");
  expect(typeWord(ja, "constructor")).toBe("constructor");
  expect(typeWord(ja, "summary_draft", "Summary draft")).toBe(ja.type_summary_draft);
});

test("no two screens give the same name to different words", () => {
  const names = SOURCES.flatMap((source) => Object.keys(source));

  expect(names.filter((name, place) => names.indexOf(name) !== place)).toEqual([]);
});
