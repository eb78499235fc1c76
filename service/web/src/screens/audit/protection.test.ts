import { expect, test } from "vitest";
import type { LogState, Verification } from "../../api";
import { wordsIn } from "../../words/words";
import { againstText, explanationOf, toneOf, verdictOf } from "./protection-words";

const ja = wordsIn("ja");
const NOW = "2026-11-30T09:00:00.000000Z";

function state(changes: Partial<LogState>): LogState {
  return {
    origin: "rireki/abc",
    sealedSize: 12,
    checkpoint: { size: 12, root: "", signedAt: NOW, copiedAt: NOW, cosignatures: 0 },
    protectedSince: NOW,
    lagSeconds: 0,
    signing: { state: "signing", finding: null, detail: "", since: NOW },
    copies: { enabled: true, waiting: 0 },
    ...changes,
  };
}

const signing = (name: LogState["signing"]["state"]) => ({ signing: { ...state({}).signing, state: name } });

test("a log whose newest checkpoint is signed and copied is well protected", () => {
  expect(toneOf(state({}))).toBe("good");
  expect(verdictOf(ja, state({}))).toBe("12 件すべてが署名済み");
  expect(explanationOf(ja, state({}))).toBe(ja.copiedText);
});

test("events after the newest checkpoint are counted", () => {
  expect(verdictOf(ja, state({ sealedSize: 1_015 }))).toBe("先頭から 12 件が署名済み（未署名 1,003 件）");
});

test("a log without a key or a checkpoint says so, and how to begin", () => {
  const nothing = state({ checkpoint: null, protectedSince: null, ...signing("unknown") });

  expect(toneOf(nothing)).toBe("none");
  expect(verdictOf(ja, nothing)).toBe(ja.nothingSigned);
  expect(explanationOf(ja, nothing)).toContain("AUDIT_SIGNING_KEY");
  expect(explanationOf(ja, { ...nothing, ...signing("signing") })).toBe(ja.firstSignatureSoon);
  expect(explanationOf(ja, { ...nothing, sealedSize: 0 })).toBe(ja.emptyLogText);
});

test("a signer that has stopped or waits is never shown as good", () => {
  expect(toneOf(state(signing("stopped")))).toBe("bad");
  expect(verdictOf(ja, state(signing("stopped")))).toBe(ja.signingStopped);
  expect(toneOf(state(signing("waiting")))).toBe("warn");
  expect(toneOf(state(signing("unknown")))).toBe("warn");
  expect(explanationOf(ja, state(signing("waiting")))).toBe(ja.signingPausedText);
});

test("copies that are missing or late are said", () => {
  expect(explanationOf(ja, state({ copies: { enabled: false, waiting: 0 } }))).toBe(ja.noCopiesText);
  const late = state({ copies: { enabled: true, waiting: 3 } });
  expect([toneOf(late), explanationOf(ja, late)]).toEqual(["warn", ja.copiesWaitText(3)]);
});

test("a verification says which checkpoint and which copy it was compared with", () => {
  const against = (covers: { size: number; root: string; against: string | null } | null) =>
    againstText(ja, { covers } as Verification);

  expect(against(null)).toBe(ja.againstNothing);
  expect(against({ size: 12, root: "", against: null })).toBe(ja.againstCheckpoint(12));
  expect(against({ size: 12, root: "", against: "s3://bucket" })).toContain("s3://bucket");
});
