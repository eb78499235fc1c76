import { expect, test } from "vitest";
import { matching } from "./choose-many";

const ROOMS = ["営業部 東京", "営業部 大阪", "ＡＢＣ商事 見積"].map((name, index) => ({
  id: String(index),
  name,
  more: `70${index}`,
}));
const found = (text: string) => matching(ROOMS, text).map(({ id }) => id);

test("every word must be found, in any order and any width", () => {
  expect(found("")).toEqual(["0", "1", "2"]);
  expect(found("東京 営業")).toEqual(["0"]);
  expect(found("abc")).toEqual(["2"]);
  expect(found("701")).toEqual(["1"]);
  expect(found("名古屋")).toEqual([]);
});
