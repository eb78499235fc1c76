import { expect, test } from "vitest";
import { wordsIn } from "../../words/words";
import { ACTIONS, actionWord, jobIn } from "./access-words";

const ID = "01939b1e-7c2a-7000-8000-0123456789ab";

test("every action has a word in both languages", () => {
  for (const language of ["ja", "en"] as const)
    for (const action of ACTIONS) expect(actionWord(wordsIn(language), action), action).not.toBe(action);
});

test("an action that the page does not know is shown as it is stored", () => {
  expect(actionWord(wordsIn("ja"), "erase_user")).toBe("erase_user");
});

test("a record about one job leads to it", () => {
  expect(jobIn(`job:${ID}`)).toBe(ID);
  expect(jobIn(`job:${ID} force`)).toBe(ID);
  expect(jobIn(`jobs?ids=${ID}`)).toBeNull();
  expect(jobIn(`job:${ID}x`)).toBeNull();
});
