/** Payload, result or error of a job, as JSON. */

import type { Job } from "../../api";
import { Copy } from "../../parts/copy";
import { useWords, type Words } from "../../words/words";
import { type Differences, differsWithin } from "./diff";
import type { ValueField } from "./fields";
import { JsonView } from "./json-view";

export function Value({ field, job, changes }: { field: ValueField; job: Job; changes: Differences }) {
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
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a part that scrolls must be reachable by keyboard. */}
          <pre tabIndex={0}>{stack}</pre>
        </details>
      )}
    </>
  );
}
