/** A job's history, ordered for people to look at. Only what each event itself says is used here: what the job *was* after an
 * event, the service tells (`?seq=N`); the rules of a job are not known on this page. */

import type { JobEvent } from "../../api";
import { between } from "../../format";

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
