/** Statuses, events, job types and reasons, as people call them. */

import type { EventType, Status } from "../api";
import type { Words } from "../words/words";

export const statusWord = (words: Words, status: Status): string => words[status];

const TYPE_WORDS: Record<string, "type_chatwork_rooms_sync" | "type_chatwork_messages_sync" | "type_summary_draft"> = {
  chatwork_rooms_sync: "type_chatwork_rooms_sync",
  chatwork_messages_sync: "type_chatwork_messages_sync",
  summary_draft: "type_summary_draft",
};

/** The name of a job type for people: this page's own word, else the title from the service, else the stored name. */
export function typeWord(words: Words, type: string, title?: string): string {
  const name = Object.hasOwn(TYPE_WORDS, type) ? TYPE_WORDS[type] : undefined;
  return name ? words[name] : title || type;
}

export function eventWord(
  words: Words,
  event: { type: EventType; seq: number; data: Record<string, unknown> },
): string {
  switch (event.type) {
    case "queued":
      return event.seq === 1 ? words.eventQueued : words.eventRequeued;
    case "started":
      return words.eventStarted;
    case "progress":
      return words.eventProgress;
    case "completed":
      return words.eventCompleted;
    case "failed":
      return event.data.willRetry ? words.eventFailedRetry : words.eventFailed;
    case "canceled":
      return words.eventCanceled;
    default:
      return event.type; // an event that this version of the page does not know
  }
}

export function reasonWord(words: Words, reason: unknown): string {
  switch (reason) {
    case "new":
      return words.reason_new;
    case "retry":
      return words.reason_retry;
    case "manual_retry":
      return words.reason_manual_retry;
    case "worker_lost":
      return words.reason_worker_lost;
    case "worker_shutdown":
      return words.reason_worker_shutdown;
    case "canceled by its owner":
      return words.canceledByOwner;
    case "canceled by an admin":
      return words.canceledByAdmin;
    default:
      return typeof reason === "string" ? reason : "";
  }
}
