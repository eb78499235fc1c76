import type { ReactNode } from "react";
import type { Job } from "../../api";
import { number } from "../../format";
import { StatusBadge } from "../../job/status";
import { Exact } from "../../parts/time";
import { useNames } from "../../people";
import { useWords } from "../../words/words";
import type { Differences } from "./diff";

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

export type ValueField = "payload" | "result" | "error";

export const FIELDS: (Field | ValueField)[] = [
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

export const VALUES: ValueField[] = ["result", "error", "payload"];

/** Every event changes these fields, so they are not marked as changed. */
export const ALWAYS: ReadonlySet<string> = new Set(["seq", "updatedAt"]);

export function Fields({ job, previous, changes }: { job: Job; previous: Job | undefined; changes: Differences }) {
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
        return (
          <>
            {names.owner(String(value))} <code className="faint wrap">{value}</code>
          </>
        );
      case "id":
      case "type":
      case "worker":
        return <code className="wrap">{value}</code>;
      default:
        return <span className="numbers">{number(Number(value), words.language)}</span>;
    }
  };
}
