/** The result of a job in a few words: of an event in its history, and at its end. */

import type { Job, JobEvent } from "../api";
import { between, exactTime, number, soonTime } from "../format";
import type { Words } from "../words/words";
import { limitWaitOf } from "./budget";
import { type Done, doneOf } from "./facts";
import { reasonWord } from "./naming";

export const unitWord = (words: Words, unit: Done["unit"]) =>
  ({ rooms: words.unitRooms, chunks: words.unitChunks, items: words.unitItems })[unit];

interface Said {
  text: string;
  bad?: boolean;
}

/** The result of a job in a few words, for the types that this page knows. */
export function resultWords(words: Words, job: Job): Said[] {
  const result = (job.result ?? {}) as Record<string, unknown>;
  if (job.type === "chatwork_rooms_sync" && typeof result.total === "number") {
    return [{ text: words.roomsResult(result.total, Number(result.created), Number(result.updated)) }];
  }
  if (job.type === "chatwork_messages_sync" && Array.isArray(result.rooms)) {
    const rooms = result.rooms as { fetched?: number }[];
    const errors = Array.isArray(result.errors) ? result.errors.length : 0;
    const gaps = Array.isArray(result.gaps) ? result.gaps.length : 0;
    return [
      { text: words.roomsSynced(rooms.length) },
      { text: words.messagesFetched(rooms.reduce((sum, { fetched }) => sum + (fetched ?? 0), 0)) },
      ...(errors > 0 ? [{ text: words.roomsInError(errors), bad: true }] : []),
      ...(gaps > 0 ? [{ text: words.placesIncomplete(gaps), bad: true }] : []),
    ];
  }
  if (job.type === "summary_draft" && typeof result.sourceMessageCount === "number") {
    const used = typeof result.usedMessageCount === "number" ? result.usedMessageCount : null;
    return [{ text: words.draftResult(result.sourceMessageCount, used) }];
  }
  return [];
}

/** The most useful fact in an event's data, in a few words; may be empty. */
export function summaryOf(
  words: Words,
  { type, data, seq, at }: Pick<JobEvent, "type" | "data" | "seq" | "at">,
): string {
  switch (type) {
    case "queued": {
      const delay = between(at, String(data.runAt));
      const later = delay > 100 ? ` · ${words.runsFrom(exactTime(String(data.runAt), words.language))}` : "";
      return (seq === 1 ? String(data.type) : reasonWord(words, data.reason)) + later;
    }
    case "started":
      return "";
    case "progress":
    case "completed": {
      const done = doneOf(data.result);
      const wait = limitWaitOf(data.result);
      return [
        done &&
          `${number(done.done, words.language)} / ${number(done.total, words.language)} ${unitWord(words, done.unit)}`,
        wait && words.waitsForLimit(soonTime(wait.until, Date.parse(at), words.language)),
      ]
        .filter(Boolean)
        .join(" · ");
    }
    case "failed":
      return String((data.error as { message?: string } | undefined)?.message ?? "");
    default:
      return reasonWord(words, data.reason);
  }
}
