/** How well the log is protected by signatures and copies, in words. */

import type { LogState, Verification } from "../../api";
import type { Words } from "../../words/words";

export type Tone = "none" | "good" | "warn" | "bad";

/** How the log is protected. `none`: nothing is signed here; `warn`: less than it should; `bad`: the log contradicts itself. */
export function toneOf({ checkpoint, signing, copies }: LogState): Tone {
  if (signing.state === "stopped") return "bad";
  if (signing.state === "waiting") return "warn";
  if (!checkpoint) return "none";
  if (signing.state === "unknown") return "warn";
  return copies.enabled && copies.waiting > 1 ? "warn" : "good";
}

export function verdictOf(words: Words, state: LogState): string {
  const { checkpoint, signing } = state;
  if (signing.state === "stopped") return words.signingStopped;
  if (!checkpoint) return words.nothingSigned;
  const left = state.sealedSize - checkpoint.size;
  return left > 0 ? words.signedUpTo(checkpoint.size, left) : words.allSigned(checkpoint.size);
}

export function explanationOf(words: Words, { checkpoint, signing, copies, sealedSize }: LogState): string {
  if (signing.state === "stopped") return words.signingStoppedText;
  if (!checkpoint && sealedSize === 0) return words.emptyLogText;
  if (!checkpoint) return signing.state === "signing" ? words.firstSignatureSoon : words.nothingSignedText;
  if (signing.state !== "signing") return words.signingPausedText;
  if (!copies.enabled) return words.noCopiesText;
  return copies.waiting > 0 ? words.copiesWaitText(copies.waiting) : words.copiedText;
}

/** Which checkpoint the log was compared with, and which copy outside. */
export function againstText(words: Words, { covers }: Verification): string {
  if (!covers) return words.againstNothing;
  return covers.against ? words.againstCopy(covers.size, covers.against) : words.againstCheckpoint(covers.size);
}
