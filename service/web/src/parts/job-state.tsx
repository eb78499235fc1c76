/** A whole job as it was after one of its events, and what that event changed. */

import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { getJobAfter, type Job, type JobEvent } from "../api";
import { type Differences, differences, differsWithin } from "../diff";
import { useNames } from "../people";
import { useWords, type Words } from "../words";
import { Copy } from "./copy";
import { JsonView } from "./json-view";
import { Loading, ProblemPlate } from "./states";
import { StatusBadge } from "./status";
import { Exact } from "./time";

/** What was does not change any more: asked once, kept for good. */
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
  /** Whether it moves on with the job. */
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
    <section className={`job-state${isIt ? "" : " job-state-old"}`} aria-labelledby="state-heading" aria-busy={!isIt || seq !== event.seq}>
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

/** Where one stands; what only moves on by itself moves no oftener than the service is to be asked about it. */
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

type Field =
  | "status"
  | "attempt"
  | "maxAttempts"
  | "worker"
  | "runAt"
  | "startedAt"
  | "finishedAt"
  | "updatedAt"
  | "seq"
  | "userId"
  | "createdAt"
  | "type"
  | "id";
type ValueField = "payload" | "result" | "error";

const FIELDS: (Field | ValueField)[] = [
  "status",
  "attempt",
  "maxAttempts",
  "worker",
  "runAt",
  "startedAt",
  "finishedAt",
  "updatedAt",
  "seq",
  "createdAt",
  "userId",
  "type",
  "id",
];
const VALUES: ValueField[] = ["result", "error", "payload"];
/** They change with every event, which says nothing. */
const ALWAYS: ReadonlySet<string> = new Set(["seq", "updatedAt"]);

function Fields({ job, previous, changes }: { job: Job; previous: Job | undefined; changes: Differences }) {
  const words = useWords();
  const shown = useShown();
  return (
    <dl className="fields">
      {(FIELDS as Field[]).map((field) => {
        const changed = changes.has(`/${field}`);
        return (
          <div
            key={field}
            className={`fields-row${changed ? (ALWAYS.has(field) ? " fields-moved" : " fields-changed") : ""}`}
          >
            <dt>
              {words[`field_${field}`]} <code>{field}</code>
            </dt>
            <dd>
              {shown(field, job)}
              {changed && !ALWAYS.has(field) && previous && (
                <span className="fields-was">
                  <span className="unseen">{words.changed}. </span>
                  {words.was("")}
                  <del>{shown(field, previous)}</del>
                </span>
              )}
            </dd>
          </div>
        );
      })}
    </dl>
  );
}

function useShown(): (field: Field, job: Job) => ReactNode {
  const words = useWords();
  const names = useNames();
  return (field, job) => {
    const value = job[field];
    if (value === null) return field === "userId" ? words.system : <span className="faint">–</span>;
    switch (field) {
      case "status":
        return <StatusBadge status={job.status} />;
      case "runAt":
      case "startedAt":
      case "finishedAt":
      case "updatedAt":
      case "createdAt":
        return <Exact at={String(value)} />;
      case "userId":
        return <span title={String(value)}>{names.owner(String(value))}</span>;
      case "id":
      case "type":
      case "worker":
        return <code className="wrap">{value}</code>;
      default:
        return <span className="numbers">{value}</span>;
    }
  };
}

function Value({ field, job, changes }: { field: ValueField; job: Job; changes: Differences }) {
  const words = useWords();
  const value = job[field];
  const changed = differsWithin(changes, `/${field}`);
  const label = labelOf(words, field);
  return (
    <section className={`value${changed ? " value-changed" : ""}`} aria-label={label}>
      <div className="value-head">
        <h3>{label}</h3>
        {changed && <span className="changed-chip">{words.changed}</span>}
        <span className="grow" />
        {value !== null && <Copy label={words.copyWhat(label)} text={() => JSON.stringify(value, null, 2)} />}
      </div>
      {field === "error" && job.error ? (
        <ErrorValue error={job.error} changes={changes} />
      ) : value === null && !changed ? (
        <p className="faint">{words.none}</p>
      ) : (
        <JsonView value={value} changes={changes} place={`/${field}`} />
      )}
    </section>
  );
}

const labelOf = (words: Words, field: ValueField) => words[`field_${field}`];

function ErrorValue({ error, changes }: { error: NonNullable<Job["error"]>; changes: Differences }) {
  const words = useWords();
  const { stack, ...rest } = error;
  return (
    <>
      <JsonView value={rest} changes={changes} place="/error" />
      {stack && (
        <details className="stack">
          <summary>{words.stack}</summary>
          {/* What scrolls must be reachable by the keyboard. */}
          <pre tabIndex={0}>{stack}</pre>
        </details>
      )}
    </>
  );
}
