/** The cause of an event, as the log names it: an event, a schedule or a webhook. */

import { shortId } from "../format";
import type { Words } from "../words/words";

export type Cause =
  | { kind: "event"; jobId: string; seq: number }
  | { kind: "schedule"; id: string; slot: string }
  | { kind: "webhook"; id: string }
  | { kind: "other"; text: string };

const EVENT = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/([1-9]\d{0,9})$/;

/** Reads `<job id>/<seq>`, `schedule:<id>/<slot>` or `webhook:<event id>`; anything else is shown as it is. */
export function causeOf(text: string): Cause {
  const event = EVENT.exec(text);
  if (event?.[1] && event[2]) return { kind: "event", jobId: event[1], seq: Number(event[2]) };
  const schedule = /^schedule:([^/]+)\/(.+)$/.exec(text);
  if (schedule?.[1] && schedule[2]) return { kind: "schedule", id: schedule[1], slot: schedule[2] };
  if (text.startsWith("webhook:") && text.length > 8) return { kind: "webhook", id: text.slice(8) };
  return { kind: "other", text };
}

/** The cause in words. `jobId` is the job of the event itself: a cause in the same job is named by its number alone. */
export function causeText(words: Words, cause: string, jobId: string): string {
  const found = causeOf(cause);
  switch (found.kind) {
    case "event":
      return found.jobId === jobId ? words.causeEvent(found.seq) : words.causeOtherJob(shortId(found.jobId), found.seq);
    case "schedule":
      return words.causeSchedule(found.id, found.slot);
    case "webhook":
      return words.causeWebhook(found.id);
    default:
      return found.text;
  }
}
