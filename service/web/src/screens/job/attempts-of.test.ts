import { expect, test } from "vitest";
import type { EventType, Job, JobEvent } from "../../api";
import { doneOf, hasEnded, paceOf } from "../../job/facts";
import { attemptsOf, foldHiding, timelineOf } from "./attempts-of";

const at = (second: number) => new Date(Date.UTC(2026, 10, 24, 0, 0, second)).toISOString();

function history(
  ...said: [type: EventType, attempt: number, second: number, data?: Record<string, unknown>][]
): JobEvent[] {
  return said.map(([type, attempt, second, data = {}], index) => ({
    jobId: "j",
    seq: index + 1,
    position: index + 1,
    type,
    attempt,
    actor: "worker:w",
    requestId: null,
    cause: null,
    data,
    at: at(second),
  }));
}

test("an attempt knows how long it waited, how long it ran, and how it ended", () => {
  const events = history(
    ["queued", 1, 0],
    ["started", 1, 2],
    ["progress", 1, 3],
    ["failed", 1, 7, { willRetry: true }],
    ["queued", 2, 7, { reason: "retry" }],
    ["started", 2, 9],
  );

  const [first, second] = attemptsOf(events, at(12));

  expect(first).toMatchObject({ number: 1, waited: 2_000, ran: 5_000, progress: 1, end: { type: "failed" } });
  expect(second).toMatchObject({ number: 2, waited: 2_000, ran: 3_000, end: undefined });
});

test("an attempt that was handed back ended with the event that opened the next", () => {
  const events = history(["queued", 1, 0], ["started", 1, 1], ["queued", 2, 4, { reason: "worker_shutdown" }]);

  expect(attemptsOf(events, at(9))[0]).toMatchObject({ ran: 3_000, end: { seq: 3 } });
});

test("a long run of progress folds between its first and its last, and unfolds", () => {
  const events = history(
    ["queued", 1, 0],
    ["started", 1, 1],
    ...Array.from({ length: 10 }, (_, index): ["progress", 1, number] => ["progress", 1, index + 2]),
    ["completed", 1, 20],
  );

  const folded = timelineOf(events, new Set());

  expect(folded.map((line) => (line.kind === "event" ? line.event.seq : [line.from, line.to]))).toEqual([
    1,
    2,
    3,
    [4, 11],
    12,
    13,
  ]);
  expect(foldHiding(folded, 7)).toBe(4);
  expect(foldHiding(folded, 12)).toBeUndefined();
  expect(timelineOf(events, new Set([4]))).toHaveLength(13);
});

test("every event stands in the timeline once, or in one fold", () => {
  for (let length = 0; length < 14; length += 1) {
    const events = history(
      ["queued", 1, 0],
      ...Array.from({ length }, (): ["progress", 1, number] => ["progress", 1, 1]),
      ["failed", 1, 2],
      ...Array.from({ length: 6 }, (): ["progress", 1, number] => ["progress", 1, 3]),
    );

    const covered = timelineOf(events, new Set()).flatMap((line) =>
      line.kind === "event"
        ? [line.event.seq]
        : Array.from({ length: line.to - line.from + 1 }, (_, index) => line.from + index),
    );

    expect(covered).toEqual(events.map(({ seq }) => seq));
  }
});

test("progress is read from any pair of total and processed", () => {
  expect(doneOf({ totalRooms: 40, processedRooms: 7 })).toEqual({ done: 7, total: 40, unit: "rooms" });
  expect(doneOf({ totalChunks: 3, processedChunks: 0 })).toEqual({ done: 0, total: 3, unit: "chunks" });
  expect(doneOf({ created: 1, updated: 0, total: 1 })).toBeNull();
  expect(doneOf(null)).toBeNull();
});

test("the pace tells how long the rest takes, and nothing before there is anything to tell", () => {
  const job = { startedAt: at(0), updatedAt: at(30) } as Job;

  const then = Date.parse(at(30));

  expect(paceOf(job, { done: 10, total: 40, unit: "rooms" }, then)).toEqual({ perMinute: 20, left: 90_000 });
  expect(paceOf(job, { done: 0, total: 40, unit: "rooms" }, then)).toBeNull();
});

test("the time that is left counts down between two events, and never below nothing", () => {
  const job = { startedAt: at(0), updatedAt: at(30) } as Job;
  const done = { done: 10, total: 40, unit: "rooms" } as const;

  expect(paceOf(job, done, Date.parse(at(50)))?.left).toBe(70_000);
  expect(paceOf(job, done, Date.parse(at(500)))?.left).toBe(0);
});

test("a failure that is being retried is not an end", () => {
  expect(hasEnded({ status: "failed", finishedAt: at(1) } as Job)).toBe(true);
  expect(hasEnded({ status: "queued", finishedAt: null } as Job)).toBe(false);
});
