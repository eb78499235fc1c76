import { expect, test } from "vitest";
import { wordsIn } from "../../words/words";
import { draftText } from "./draft-text";

const EMPTY =
  "## Summary\n\nこの期間のメッセージはありません。 (No messages in this period.)\n\n## Next Actions\n\n- x\n";

test("headings and the sentence of an empty draft are in the reader's language", () => {
  expect(draftText(wordsIn("ja"), EMPTY)).toBe(
    "## 要約\n\nこの期間のメッセージはありません。\n\n## 次のアクション\n\n- x\n",
  );
  expect(draftText(wordsIn("en"), EMPTY)).toBe("## Summary\n\nNo messages in this period.\n\n## Next Actions\n\n- x\n");
});

test("other headings and quoted text stay as they are", () => {
  const text = "## constructor\n\n> ## Summary\n\nKey Topics\n";

  expect(draftText(wordsIn("ja"), text)).toBe(text);
});
