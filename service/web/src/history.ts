/** A job's history, ordered for people to look at. Only what each event itself says is used here: what the job *was* after an
 * event, the service tells (`?seq=N`); the rules of a job are not known on this page. */

import type { Job, JobEvent } from "./api";
import { between } from "./format";

export interface Attempt {
  number: number;
  events: JobEvent[];
  queued: JobEvent | undefined;
  started: JobEvent | undefined;
  /** The event after which nothing else came in this attempt, if it says that the attempt is over. */
  end: JobEvent | undefined;
  progress: number;
  /** Milliseconds; until `now` where it still lasts. */
  waited: number;
  ran: number | null;
}

/** A worker that stops hands the job back: that `queued` opens the next attempt, and ends the one before it. */
export function attemptsOf(events: JobEvent[], now: string): Attempt[] {
  const numbers = [...new Set(events.map((event) => event.attempt))];
  return numbers.map((number) => {
    const own = events.filter((event) => event.attempt === number);
    const queued = own.find((event) => event.type === "queued");
    const started = own.find((event) => event.type === "started");
    const following = events.find((event) => event.attempt === number + 1);
    const end =
      own.find((event) => isEnd(event)) ?? (following?.data.reason === "worker_shutdown" ? following : undefined);
    const over = end?.at ?? now;
    return {
      number,
      events: own,
      queued,
      started,
      end,
      progress: own.filter((event) => event.type === "progress").length,
      waited: queued ? between(queued.at, started?.at ?? over) : 0,
      ran: started ? between(started.at, over) : null,
    };
  });
}

const isEnd = (event: JobEvent) => event.type === "completed" || event.type === "failed" || event.type === "canceled";

export type Line =
  | { kind: "event"; event: JobEvent; before: JobEvent | undefined }
  | { kind: "fold"; from: number; to: number };

const LONGEST_RUN = 4;

/** The timeline, newest last, long runs of progress folded between their first and last; what is in `open` (the number of a
 * fold's first event) is not folded. */
export function timelineOf(events: JobEvent[], open: ReadonlySet<number>): Line[] {
  const lines: Line[] = [];
  for (let index = 0; index < events.length; ) {
    const run = runAt(events, index);
    const first = events[index + 1]?.seq;
    if (run > LONGEST_RUN && first !== undefined && !open.has(first)) {
      lines.push(
        line(events, index),
        { kind: "fold", from: first, to: first + run - 3 },
        line(events, index + run - 1),
      );
      index += run;
    } else {
      const shown = run > LONGEST_RUN ? run : 1;
      for (let offset = 0; offset < shown; offset += 1) lines.push(line(events, index + offset));
      index += shown;
    }
  }
  return lines;
}

function line(events: JobEvent[], index: number): Line {
  return { kind: "event", event: events[index] as JobEvent, before: events[index - 1] };
}

function runAt(events: JobEvent[], index: number): number {
  let length = 0;
  while (events[index + length]?.type === "progress") length += 1;
  return length;
}

/** The first number of the fold that hides this event, if one does. */
export function foldHiding(lines: Line[], seq: number): number | undefined {
  for (const line of lines) if (line.kind === "fold" && line.from <= seq && seq <= line.to) return line.from;
}

// Progress --------------------------------------------------------------------------------------------------------------------

export interface Done {
  done: number;
  total: number;
  unit: "rooms" | "chunks" | "items";
}

/** `{"totalRooms": 40, "processedRooms": 7}`, and the same of anything else. */
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

/** What was done a minute, on average over this attempt, and how long the rest takes at that. What has passed since the last
 * event is part of the rest: it counts down between two of them. */
export function paceOf(job: Job, { done, total }: Done, now: number): { perMinute: number; left: number } | null {
  if (!job.startedAt || done === 0) return null;
  const spent = between(job.startedAt, job.updatedAt);
  if (spent < 1_000) return null;
  const passed = Math.max(0, now - Date.parse(job.updatedAt));
  return { perMinute: (done / spent) * 60_000, left: Math.max(0, (spent / done) * (total - done) - passed) };
}

export const isActive = (job: Pick<Job, "status">) => job.status === "queued" || job.status === "processing";

/** `finishedAt` is the end's time: a failure that is being retried has none. */
export const hasEnded = (job: Job) => !isActive(job) && job.finishedAt !== null;

export const mayCancel = isActive;
export const mayRetry = (job: Job) => job.status === "failed" || job.status === "canceled";

/** How long a job took, from its creation to its end; so far, while it has none. */
export const durationOf = (job: Job, now: string) => between(job.createdAt, job.finishedAt ?? now);
