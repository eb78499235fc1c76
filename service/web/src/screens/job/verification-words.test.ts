import { expect, test } from "vitest";
import type { JobVerification } from "../../api";
import { wordsIn } from "../../words/words";
import { coverageText } from "./verification-words";

const ja = wordsIn("ja");
const NOW = "2026-11-30T09:00:00.000000Z";

function verification(included: (boolean | null)[], changes: Partial<JobVerification> = {}): JobVerification {
  const covered = included.filter((value) => value !== null).length;
  return {
    jobId: "j",
    verifiedAt: NOW,
    events: included.length,
    findings: [],
    findingCount: 0,
    leaves: included.map((value, place) => ({ seq: place + 1, position: place + 1, leaf: "", included: value })),
    covers: { origin: "rireki/x", size: 9, signedAt: NOW, copiedAt: NOW, events: covered },
    ...changes,
  };
}

test("events whose hashes were signed are told as such", () => {
  expect(coverageText(ja, verification([true, true, null]))).toContain("3 件のうち 2 件が");
  expect(coverageText(ja, verification([true, true, null]))).toContain(ja.hashesAgree(2));
});

test("a hash that differs is never told as one that agrees", () => {
  const text = coverageText(ja, verification([true, false]));

  expect(text).toContain(ja.hashesDiffer(1));
  expect(text).not.toContain(ja.hashesAgree(1));
});

test("without a trusted key the page says that nothing was compared with the signature", () => {
  const covers = { origin: "rireki/x", size: 9, signedAt: NOW, copiedAt: null, events: 2 };

  expect(coverageText(ja, verification([null, null], { covers }))).toContain(ja.notCompared);
});

test("without a checkpoint the page says what the verification cannot tell", () => {
  expect(coverageText(ja, verification([null], { covers: null }))).toBe(ja.notCovered);
});
