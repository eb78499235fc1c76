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

/** Milliseconds from the creation of a job to its end, or to `now`. */
export const durationOf = (job: Job, now: string) => between(job.createdAt, job.finishedAt ?? now);
