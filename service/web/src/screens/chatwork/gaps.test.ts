import { expect, test } from "vitest";
import { wordsIn } from "../../words/words";
import { gapText } from "./gaps";

const AT = "2026-11-24T00:00:00.000000Z";
const gap = (afterAt: string | null, beforeAt: string | null, reason: "over_100" | "plan" = "over_100") => ({
  afterMessageId: afterAt && "1",
  beforeMessageId: beforeAt && "2",
  afterAt,
  beforeAt,
  reason,
});

test("a gap says where it is and why, whatever of it is known", () => {
  expect(gapText(wordsIn("ja"), gap(AT, AT))).toMatch(/から .+までのメッセージに.+最新の100件まで/);
  expect(gapText(wordsIn("ja"), gap(null, AT))).toMatch(/より前のメッセージに/);
  expect(gapText(wordsIn("en"), gap(AT, null, "plan"))).toMatch(
    /^Messages after .+ may be missing\. The Chatwork plan/,
  );
  expect(gapText(wordsIn("en"), gap(null, null))).toMatch(/^Messages may be missing\. Chatwork gives/);
});
