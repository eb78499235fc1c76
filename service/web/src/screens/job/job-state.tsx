/** A whole job as it was after one of its events, and what that event changed. */

import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { getJobAfter, type JobEvent } from "../../api";
import { StatusBadge } from "../../job/status";
import { Loading, ProblemPlate } from "../../parts/states";
import { useWords } from "../../words/words";
import { differences, differsWithin } from "./diff";
import { ALWAYS, FIELDS, Fields, VALUES } from "./fields";
import { Value } from "./value";

/** A past state never changes, so it is fetched once and kept. */
const asItWas = (id: string, seq: number) => ({
  queryKey: ["job-after", id, seq],
  queryFn: ({ signal }: { signal: AbortSignal }) => getJobAfter(id, seq, signal),
  staleTime: Number.POSITIVE_INFINITY,
  gcTime: 600_000,
});

interface JobStateProps {
  id: string;
  event: JobEvent;
  last: number;
  /** Whether this part follows the job as the job changes. */
  follows: boolean;
}

export function JobState({ id, event, last, follows }: JobStateProps) {
  const words = useWords();
  const queries = useQueryClient();
  const seq = useSteady(event.seq, follows);
  const now = useQuery({ ...asItWas(id, seq), placeholderData: keepPreviousData });
  const before = useQuery({ ...asItWas(id, seq - 1), enabled: seq > 1 });

  useEffect(() => {
    if (follows) return;
    for (const near of [seq + 1, seq - 2, seq + 2])
      if (near >= 1 && near <= last) void queries.prefetchQuery(asItWas(id, near));
  }, [queries, id, seq, last, follows]);

  const job = now.data;
  const previous = seq > 1 ? before.data : undefined;
  const isIt = job?.seq === seq;
  const changes = useMemo(
    () => (isIt && previous && previous.seq === seq - 1 ? differences(previous, job) : new Map()),
    [isIt, previous, job, seq],
  );
  if (!job)
    return now.error ? <ProblemPlate error={now.error} again={() => void now.refetch()} /> : <Loading rows={8} />;

  const count = FIELDS.concat(VALUES).filter(
    (field) => !ALWAYS.has(field) && differsWithin(changes, `/${field}`),
  ).length;
  return (
    <section
      className={`job-state${isIt ? "" : " job-state-old"}`}
      aria-labelledby="state-heading"
      aria-busy={!isIt || seq !== event.seq}
    >
      <div className="job-state-head">
        <h2 id="state-heading">{follows || seq === last ? words.asItIs : words.asItWas}</h2>
        <StatusBadge status={job.status} />
        <span className="grow" />
        <span className="faint" aria-live="polite">
          {seq === 1 ? words.createdHere : isIt && previous ? words.changedFields(count) : ""}
        </span>
      </div>
      <Fields job={job} previous={previous} changes={changes} />
      {VALUES.map((field) => (
        <Value key={field} field={field} job={job} changes={changes} />
      ))}
    </section>
  );
}

const EVERY = 400;

/** The seq to show. While this part follows a running job, the seq changes at most every 400 ms, to limit the requests. */
function useSteady(seq: number, follows: boolean): number {
  const [shown, setShown] = useState(seq);
  const changedAt = useRef(0);
  useEffect(() => {
    if (!follows) return;
    const timer = setTimeout(
      () => {
        changedAt.current = Date.now();
        setShown(seq);
      },
      Math.max(0, changedAt.current + EVERY - Date.now()),
    );
    return () => clearTimeout(timer);
  }, [seq, follows]);
  return follows && shown < seq ? shown : seq;
}
