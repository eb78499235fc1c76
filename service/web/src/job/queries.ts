/** Queries for jobs that stay up to date. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";
import { getJob, type Job, listJobs } from "../api";
import { useChanges, useTick } from "../live/live";
import { isActive } from "./facts";

/** One job, live. */
export function useJob(id: string) {
  return useQuery({ queryKey: ["job", id], queryFn: ({ signal }) => getJob(id, signal), staleTime: 30_000 });
}

const SHOWN = 5;

/** The active jobs of a type, or else its last job. `chosen` selects among them. */
export function useCurrentJobs(type: string, chosen: (job: Job) => boolean = () => true) {
  const queries = useQueryClient();
  const key = ["current", type];
  const listing = useQuery({
    queryKey: key,
    queryFn: async ({ signal }) => {
      const { jobs } = await listJobs({ type }, { limit: 20 }, signal);
      for (const job of jobs) {
        queries.setQueryData<Job>(["job", job.id], (held) => (held && held.seq > job.seq ? held : job));
      }
      return jobs;
    },
  });
  const known = useRef(new Set<string>());
  known.current = new Set(listing.data?.map(({ id }) => id));
  const refresh = () => void queries.invalidateQueries({ queryKey: key });
  useChanges((changes) => {
    if (changes.some((change) => change.type === type && !known.current.has(change.jobId))) refresh();
  });
  useTick(refresh);

  const mine = (listing.data ?? []).map((job) => queries.getQueryData<Job>(["job", job.id]) ?? job).filter(chosen);
  const active = mine.filter(isActive);
  return { ...listing, jobs: active.length ? active.slice(0, SHOWN) : mine.slice(0, 1), refresh };
}
