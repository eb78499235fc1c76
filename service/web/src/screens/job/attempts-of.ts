/** A job's history, arranged by attempts and as a timeline. Only the events themselves are used: the state of a job after an event
 * comes from the service (`?seq=N`), because this page does not know the rules of a job. */

import type { JobEvent } from "../../api";
import { between } from "../../format";

export interface Attempt {
  number: number;
  events: JobEvent[];
  queued: JobEvent | undefined;
  started: JobEvent | undefined;
  /** The event that ended the attempt, if it is over. */
  end: JobEvent | undefined;
  progress: number;
  /** Milliseconds from the moment at which it could start, up to `now` if the attempt still waits. */
  waited: number;
  ran: number | null;
}

/** Groups events by attempt. When a worker stops, it hands the job back: that `queued` ends one attempt and opens the next. */
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
      waited: queued ? Math.max(0, between(couldStart(queued), started?.at ?? over)) : 0,
      ran: started ? between(started.at, over) : null,
    };
  });
}

/** The delay before a retry is planned, so it is no waiting. */
const couldStart = ({ at, data }: JobEvent) =>
  typeof data.runAt === "string" && Date.parse(data.runAt) > Date.parse(at) ? data.runAt : at;

const isEnd = (event: JobEvent) => event.type === "completed" || event.type === "failed" || event.type === "canceled";

export type Line =
  | { kind: "event"; event: JobEvent; before: JobEvent | undefined }
  | { kind: "fold"; from: number; to: number };

const LONGEST_RUN = 4;

/**
 * The timeline, newest last. In a long run of progress events, all but the first and the last are folded into one line. `open` has
 * the seq of the first event of each fold that is shown in full.
 */
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

/** The first seq of the fold that hides this event, if any. */
export function foldHiding(lines: Line[], seq: number): number | undefined {
  for (const line of lines) if (line.kind === "fold" && line.from <= seq && seq <= line.to) return line.from;
}
