/** What the verification of a job says about signatures, in words. */

import type { JobVerification, Leaf } from "../../api";
import { exactTime } from "../../format";
import type { Words } from "../../words/words";

/** How far a signed checkpoint covers the job's events, and whether their hashes are those that were signed. */
export function coverageText(words: Words, { covers, events, leaves }: JobVerification): string {
  if (covers === null) return words.notCovered;
  const signed = exactTime(covers.signedAt, words.language);
  const covered =
    covers.events >= events
      ? words.allCovered(events, covers.size, signed)
      : words.partlyCovered(covers.events, events, covers.size, signed);
  const copy = covers.copiedAt ? words.copyOutside(exactTime(covers.copiedAt, words.language)) : words.noCopyOutside;
  const texts = [covered, comparedText(words, leaves, covers.events), copy].filter((text) => text !== "");
  return texts.join(words.language === "ja" ? "" : " ");
}

function comparedText(words: Words, leaves: Leaf[] | undefined, covered: number): string {
  if (!leaves) return "";
  const differ = leaves.filter(({ included }) => included === false).length;
  const agree = leaves.filter(({ included }) => included === true).length;
  if (differ > 0) return words.hashesDiffer(differ);
  if (agree > 0) return words.hashesAgree(agree);
  return covered > 0 ? words.notCompared : "";
}
