import type { Job } from "../../api";
import { duration } from "../../format";
import { durationOf } from "../../job/facts";
import { StatusBadge } from "../../job/status";
import { useNow } from "../../live/clock";
import { Copy } from "../../parts/copy";
import { Ago } from "../../parts/time";
import { useNames } from "../../people";
import { useWords } from "../../words/words";

export function Summary({ job }: { job: Job }) {
  const words = useWords();
  const names = useNames();
  const now = useNow();
  const until = new Date(Math.max(now, Date.parse(job.updatedAt))).toISOString();
  return (
    <span className="summary">
      <StatusBadge status={job.status} large />
      <code>{job.type}</code>
      <span>
        <code className="id">{job.id}</code>
        <Copy label={words.copyWhat(words.jobId)} text={() => job.id} />
      </span>
      <span>{words.by(names.owner(job.userId))}</span>
      <span>
        {words.created} <Ago at={job.createdAt} />
      </span>
      <span>{words.attemptOf(job.attempt, job.maxAttempts)}</span>
      {/* A job that never started has no duration, as in the list. */}
      {(job.status !== "queued" || job.attempt > 1) && (
        <span>
          {words.duration} {duration(durationOf(job, until), words.language)}
        </span>
      )}
    </span>
  );
}
