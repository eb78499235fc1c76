/** The list of jobs, read page by page and kept up to date. */

import { type InfiniteData, useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { type Job, type JobFilter, type JobsPage, listJobs } from "../../api";
import { freshen, useArrivals, useChanges, useTick } from "../../live/live";
import { matches, merge } from "./merge";

const PAGE = 100;

type Pages = InfiniteData<JobsPage, string | null>;

export function useJobsList(filter: JobFilter, held: boolean) {
  const queries = useQueryClient();
  const key = useMemo(() => ["jobs", filter], [filter]);
  const [waiting, setWaiting] = useState<ReadonlyMap<string, Job>>(new Map());
  const listing = useInfiniteQuery({
    queryKey: key,
    queryFn: ({ pageParam, signal }) => listJobs(filter, { limit: PAGE, cursor: pageParam }, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
    // Rows are updated one by one. Reading a hundred pages again when somebody returns to the window would cost too much.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
    // Comparing thousands of rows after each page would stop the scrolling.
    structuralSharing: false,
  });
  const pages = listing.data?.pages;
  const jobs = useMemo(() => pages?.flatMap((page) => page.jobs) ?? [], [pages]);
  const known = useMemo(() => new Set(jobs.map(({ id }) => id)), [jobs]);

  function take(news: Job[], hold: boolean) {
    let left: Job[] = [];
    queries.setQueryData<Pages>(key, (data) => {
      if (!data) return data;
      const merged = merge(data.pages, news, filter, { held: hold });
      left = merged.waiting;
      return merged.pages === data.pages ? data : { ...data, pages: merged.pages };
    });
    setWaiting((before) => {
      const after = new Map(before);
      for (const job of news) after.delete(job.id);
      for (const job of left) after.set(job.id, job);
      return after.size === 0 && before.size === 0 ? before : after;
    });
  }

  async function readFirstPage() {
    const page = await listJobs(filter, { limit: PAGE }).catch(() => null);
    if (page) take(page.jobs, held);
  }

  useChanges((changes) =>
    freshen(changes.filter((change) => known.has(change.jobId) || matches(change, filter)).map(({ jobId }) => jobId)),
  );
  useArrivals((arrived) => take(arrived, held));
  useTick(() => void readFirstPage());

  // Pages kept from an earlier visit are shown at once and then read again.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs once for each list.
  useEffect(() => {
    setWaiting(new Map());
    if (queries.getQueryData(key)) void readFirstPage();
  }, [key]);

  /** Adds the waiting jobs and removes the rows that no longer match. */
  function letIn() {
    queries.setQueryData<Pages>(
      key,
      (data) =>
        data && {
          ...data,
          pages: data.pages.map((page) => ({ ...page, jobs: page.jobs.filter((job) => matches(job, filter)) })),
        },
    );
    take([...waiting.values()], false);
    setWaiting(new Map());
  }

  return { ...listing, jobs, waiting: waiting.size, letIn };
}
