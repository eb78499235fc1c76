/** Merges changes into the list of jobs without moving its rows while somebody uses them. */

import type { Job, JobFilter, JobsPage } from "../../api";

/** The fields of a job that a filter reads. Changes on the stream have them too, except `createdAt`. */
export type Filtered = Pick<Job, "type" | "status" | "userId"> & { createdAt?: string };

export function matches(job: Filtered, filter: JobFilter): boolean {
  return (
    (!filter.type || job.type === filter.type) &&
    (!filter.status || job.status === filter.status) &&
    (!filter.userId || job.userId === filter.userId) &&
    (!job.createdAt || !filter.createdAfter || Date.parse(job.createdAt) >= Date.parse(filter.createdAfter)) &&
    (!job.createdAt || !filter.createdBefore || Date.parse(job.createdAt) < Date.parse(filter.createdBefore))
  );
}

export interface Merged {
  pages: JobsPage[];
  /** Jobs that match the filter and are not yet in the list. */
  waiting: Job[];
}

/** Merges jobs that were just read into the pages. Existing rows are updated in place. New rows come in, and rows that no longer match
 * leave, only if the list is not held. */
export function merge(pages: JobsPage[], jobs: Job[], filter: JobFilter, { held }: { held: boolean }): Merged {
  const news = new Map(jobs.map((job) => [job.id, job]));
  let changed = false;
  const redrawn = pages.map((page) => {
    const rows = page.jobs.flatMap((row) => {
      const job = news.get(row.id);
      news.delete(row.id);
      if (!job || job.seq <= row.seq) return row;
      changed = true;
      return held || matches(job, filter) ? job : [];
    });
    return { ...page, jobs: rows };
  });
  const last = pages.at(-1);
  const oldest = last?.nextCursor ? last.jobs.at(-1) : undefined;
  const newcomers = [...news.values()].filter(
    (job) => matches(job, filter) && (!oldest || newestFirst(job, oldest) < 0),
  );
  if (held || newcomers.length === 0) return { pages: changed ? redrawn : pages, waiting: newcomers };
  return { pages: inserted(redrawn, newcomers), waiting: [] };
}

/** The order of the API's list. UUIDv7s sort by time. */
function newestFirst(one: Job, other: Job): number {
  if (one.createdAt !== other.createdAt) return one.createdAt > other.createdAt ? -1 : 1;
  return one.id > other.id ? -1 : 1;
}

function inserted(pages: JobsPage[], newcomers: Job[]): JobsPage[] {
  const left = [...newcomers].sort(newestFirst);
  return pages.map((page, index) => {
    const end = page.jobs.at(-1);
    const isLast = index === pages.length - 1;
    const mine: Job[] = [];
    while (left[0] && (isLast || (end && newestFirst(left[0], end) < 0))) mine.push(left.shift() as Job);
    return mine.length ? { ...page, jobs: [...page.jobs, ...mine].sort(newestFirst) } : page;
  });
}
