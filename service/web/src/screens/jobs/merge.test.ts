import { expect, test } from "vitest";
import type { Job, JobsPage } from "../../api";
import { matches, merge } from "./merge";

const job = (id: string, changes: Partial<Job> = {}): Job => ({
  id,
  type: "chatwork_rooms_sync",
  status: "queued",
  payload: {},
  description: [],
  result: null,
  error: null,
  userId: "u1",
  attempt: 1,
  maxAttempts: 5,
  worker: null,
  seq: 1,
  runAt: time(id),
  startedAt: null,
  finishedAt: null,
  createdAt: time(id),
  updatedAt: time(id),
  ...changes,
});

const time = (id: string) => `2026-11-24T00:00:${id.padStart(2, "0")}.000000Z`;
const page = (ids: string[], nextCursor: string | null = null): JobsPage => ({
  jobs: ids.map((id) => job(id)),
  nextCursor,
});
const idsOf = (pages: JobsPage[]) => pages.map(({ jobs }) => jobs.map(({ id }) => id));

test("a row is redrawn where it stands, and never by something older", () => {
  const { pages } = merge([page(["9", "8"])], [job("8", { seq: 3, status: "processing" })], {}, { held: false });

  expect(pages[0]?.jobs[1]?.status).toBe("processing");
  expect(merge(pages, [job("8", { seq: 2 })], {}, { held: false }).pages).toBe(pages);
});

test("a new job comes in at its place in the order of the list", () => {
  const { pages, waiting } = merge(
    [page(["9", "7"], "more"), page(["5", "3"])],
    [job("6"), job("10")],
    {},
    { held: false },
  );

  expect(idsOf(pages)).toEqual([
    ["10", "9", "7"],
    ["6", "5", "3"],
  ]);
  expect(waiting).toEqual([]);
});

test("nothing comes or goes while the list is held", () => {
  const held = merge(
    [page(["9", "8"])],
    [job("10"), job("8", { seq: 2, status: "failed" })],
    { status: "queued" },
    { held: true },
  );

  expect(idsOf(held.pages)).toEqual([["9", "8"]]);
  expect(held.pages[0]?.jobs[1]?.status).toBe("failed");
  expect(held.waiting.map(({ id }) => id)).toEqual(["10"]);
});

test("what no longer matches the filter leaves a list that is not held", () => {
  const { pages } = merge(
    [page(["9", "8"])],
    [job("9", { seq: 2, status: "processing" })],
    { status: "queued" },
    { held: false },
  );

  expect(idsOf(pages)).toEqual([["8"]]);
});

test("a job older than the last row of an unfinished list waits for its page", () => {
  const { pages, waiting } = merge([page(["9", "7"], "more")], [job("2")], {}, { held: false });

  expect(idsOf(pages)).toEqual([["9", "7"]]);
  expect(waiting).toEqual([]);
});

test("the time range includes its beginning and not its end", () => {
  const range = { createdAfter: time("5"), createdBefore: time("7") };

  expect(["4", "5", "6", "7"].map((id) => matches(job(id), range))).toEqual([false, true, true, false]);
});
