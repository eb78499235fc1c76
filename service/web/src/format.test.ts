import { expect, test } from "vitest";
import { ago, between, days, duration, roughly, shortId, span } from "./format";

test.each([
  [0.4, "0 ms"],
  [42, "42 ms"],
  [999.4, "999 ms"],
  [999.6, "1.0 s"],
  [1_234, "1.2 s"],
  [59_949, "60 s"],
  [60_000, "1 min"],
  [80_000, "1 min 20 s"],
  [3_600_000, "1 h"],
  [5_430_000, "1 h 31 min"],
  [90_000_000, "1 d 1 h"],
])("%d milliseconds read %s", (milliseconds, text) => {
  expect(span(milliseconds, "en")).toBe(text);
});

test.each([
  [0, "1秒未満", "under 1 s"],
  [82, "1秒未満", "under 1 s"],
  [999.4, "1秒未満", "under 1 s"],
  [999.6, "1.0 秒", "1.0 s"],
  [80_000, "1 分 20 秒", "1 min 20 s"],
])("a duration of %d milliseconds reads %s for office staff", (milliseconds, japanese, english) => {
  expect(duration(milliseconds, "ja")).toBe(japanese);
  expect(duration(milliseconds, "en")).toBe(english);
});

test("spans are said in Japanese too", () => {
  expect(span(80_000, "ja")).toBe("1 分 20 秒");
});

test("what is only guessed is said in whole seconds, and later in whole minutes", () => {
  expect(roughly(2_010, "en")).toBe("3 s");
  expect(roughly(95_000, "ja")).toBe("1 分 35 秒");
  expect(roughly(1_000_000, "en")).toBe("17 min");
});

test("a period ends on the day before its end, and says once what both days share", () => {
  const midnight = (month: number, day: number) => new Date(2026, month - 1, day).toISOString();

  expect(days(midnight(11, 16), midnight(11, 23), "ja")).toBe("2026年11月16日 〜 11月22日");
  expect(days(midnight(10, 1), midnight(12, 1), "ja")).toBe("2026年10月1日 〜 11月30日");
  expect(days(midnight(11, 16), midnight(11, 17), "ja")).toBe("2026年11月16日");
  expect(days(midnight(10, 1), midnight(12, 1), "en").replaceAll("\u2009", " ")).toMatch(/^1 Oct.* 30 Nov 2026$/);
});

test("microseconds count, although a browser's clock has none", () => {
  expect(between("2026-11-24T00:00:00.000100Z", "2026-11-24T00:00:00.001600Z")).toBeCloseTo(1.5);
});

test("what just happened is not in the future, whatever two clocks say", () => {
  const now = Date.parse("2026-11-24T00:00:00Z");

  expect(ago("2026-11-24T00:00:03Z", now, "en")).toBe(ago("2026-11-24T00:00:00Z", now, "en"));
  expect(ago("2026-11-23T23:57:00Z", now, "ja")).toMatch(/3\s*分前/);
});

test("ids made in the same moment are told apart by their ends", () => {
  expect(shortId("01a20b36-a178-70b2-8ad4-07436958fb9d")).toBe("6958fb9d");
});
