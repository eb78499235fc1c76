import { expect, test } from "vitest";
import type { Job } from "../api";
import { timesOf } from "./facts";

const at = (second: number) => new Date(Date.UTC(2026, 10, 24, 0, 0, second)).toISOString();

const job = (fields: Partial<Job>) => ({ createdAt: at(0), runAt: at(0), updatedAt: at(0), ...fields }) as Job;

test("a retried job ran from the start of its last attempt, and waited from the moment at which that could start", () => {
  const retried = job({ status: "completed", runAt: at(60), startedAt: at(68), finishedAt: at(69), updatedAt: at(69) });

  expect(timesOf(retried, Date.parse(at(500)))).toEqual({ waited: 8_000, ran: 1_000 });
});

test("a job that waits for its time has waited for nothing yet", () => {
  expect(timesOf(job({ status: "queued", runAt: at(600) }), Date.parse(at(10)))).toEqual({ waited: 0, ran: null });
});

test("a running job runs until now, and never less than until its last event", () => {
  const running = job({ status: "processing", startedAt: at(2), updatedAt: at(9) });

  expect(timesOf(running, Date.parse(at(12)))).toEqual({ waited: 2_000, ran: 10_000 });
  expect(timesOf(running, Date.parse(at(5)))).toEqual({ waited: 2_000, ran: 7_000 });
});

test("a job that was canceled before it started has waited until then", () => {
  expect(timesOf(job({ status: "canceled", finishedAt: at(7), updatedAt: at(7) }), Date.parse(at(90)))).toEqual({
    waited: 7_000,
    ran: null,
  });
});
