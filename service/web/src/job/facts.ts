/** Facts that can be read from one job: progress, pace, and what a person may do with it. */

import type { Job } from "../api";
import { between } from "../format";

export interface Done {
  done: number;
  total: number;
  unit: "rooms" | "chunks" | "items";
}

/** Reads progress from a result: `{"totalRooms": 40, "processedRooms": 7}`, or the same pair of names for another unit. */
export function doneOf(result: unknown): Done | null {
  if (typeof result !== "object" || result === null) return null;
  const values = result as Record<string, unknown>;
  for (const [name, total] of Object.entries(values)) {
    const what = /^total(\w+)$/.exec(name)?.[1];
    const done = what && values[`processed${what}`];
    if (what && typeof total === "number" && typeof done === "number") return { done, total, unit: unitOf(what) };
  }
  return null;
}

function unitOf(what: string): Done["unit"] {
  if (what === "Rooms") return "rooms";
  return what === "Chunks" ? "chunks" : "items";
}

/**
 * The average pace of this attempt per minute, and the milliseconds left at that pace. The time since the last event is subtracted,
 * so the remaining time counts down between two events.
 */
export function paceOf(job: Job, { done, total }: Done, now: number): { perMinute: number; left: number } | null {
  if (!job.startedAt || done === 0) return null;
  const spent = between(job.startedAt, job.updatedAt);
  if (spent < 1_000) return null;
  const passed = Math.max(0, now - Date.parse(job.updatedAt));
  return { perMinute: (done / spent) * 60_000, left: Math.max(0, (spent / done) * (total - done) - passed) };
}

export const isActive = (job: Pick<Job, "status">) => job.status === "queued" || job.status === "processing";

/** Whether the job is over for good. A failure that will be retried has no `finishedAt`. */
export const hasEnded = (job: Job) => !isActive(job) && job.finishedAt !== null;

export const mayCancel = isActive;
export const mayRetry = (job: Job) => job.status === "failed" || job.status === "canceled";

export interface Times {
  /** Milliseconds from the moment at which the attempt could start; the delay before a retry does not count. */
  waited: number;
  /** Milliseconds; null if the attempt has not started. */
  ran: number | null;
}

/** How long the present attempt of a job waited and ran: until its end, or until `now` (milliseconds) if it still does. */
export function timesOf(job: Job, now: number): Times {
  const over = job.finishedAt ?? new Date(Math.max(now, Date.parse(job.updatedAt))).toISOString();
  return {
    waited: Math.max(0, between(job.runAt, job.startedAt ?? over)),
    ran: job.startedAt ? between(job.startedAt, over) : null,
  };
}
