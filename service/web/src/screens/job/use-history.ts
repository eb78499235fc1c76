/** The history of a job: read once, then extended event by event from the stream. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { type Job, type JobEvent, jobEvents, openStream } from "../../api";
import { isActive } from "../../job/facts";
import { useTick } from "../../live/live";
import { follow } from "../../live/stream";

/** Milliseconds. Events are shown in groups, because they may come faster than anybody can see. */
const GATHER_FOR = 100;

export function useHistory(id: string, job: Job | undefined) {
  const queries = useQueryClient();
  const key = ["events", id];
  const history = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => jobEvents(id, signal),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
  });
  const last = history.data?.at(-1)?.seq ?? 0;
  const behind = history.data !== undefined && job !== undefined && (isActive(job) || job.seq > last);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new event must not open a new stream, so `last` is read once.
  useEffect(() => {
    if (!behind) return;
    let gathered: JobEvent[] = [];
    let gathering: ReturnType<typeof setTimeout> | undefined;
    const show = () => {
      clearTimeout(gathering);
      gathering = undefined;
      const news = gathered;
      gathered = [];
      if (news.length) queries.setQueryData<JobEvent[]>(key, (held) => joined(held ?? [], news));
    };
    const stop = follow({
      after: String(last),
      open: (lastId, signal) => openStream(id, lastId, signal),
      onMessages: (messages) => {
        for (const { data } of messages) gathered.push(JSON.parse(data) as JobEvent);
        gathering ??= setTimeout(show, GATHER_FOR);
      },
    });
    return () => {
      stop();
      show();
    };
  }, [behind, id]);

  useTick(() => {
    if (job && job.seq > last) void history.refetch();
  });
  return history;
}

/** The stream may repeat an event, but keeps the order. */
export function joined(held: JobEvent[], news: JobEvent[]): JobEvent[] {
  const last = held.at(-1)?.seq ?? 0;
  const fresh = news.filter(({ seq }) => seq > last);
  return fresh.length ? [...held, ...fresh] : held;
}
