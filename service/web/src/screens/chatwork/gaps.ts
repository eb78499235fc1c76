/** Describes the places where messages of a room may be missing. */

import type { Gap } from "../../api";
import { minuteTime } from "../../format";
import type { Words } from "../../words/words";

export function gapText(words: Words, gap: Gap): string {
  return `${whereText(words, gap)}${words.language === "en" ? " " : ""}${reasonText(words, gap.reason)}`;
}

function whereText(words: Words, { afterAt, beforeAt }: Gap): string {
  const [after, before] = [afterAt, beforeAt].map((at) => at && minuteTime(at, words.language));
  if (after && before) return words.gapBetween(after, before);
  if (before) return words.gapBefore(before);
  return after ? words.gapAfter(after) : words.gapAnywhere;
}

const reasonText = (words: Words, reason: Gap["reason"]) => (reason === "plan" ? words.gap_plan : words.gap_over_100);
