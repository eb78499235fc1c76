import type { Job } from "../../api";
import { Description } from "../../job/description";
import { StatusBadge } from "../../job/status";
import { Times } from "../../job/times";
import { Copy } from "../../parts/copy";
import { Ago } from "../../parts/time";
import { useNames } from "../../people";
import { useWords } from "../../words/words";

export function Summary({ job }: { job: Job }) {
  const words = useWords();
  const names = useNames();
  return (
    <span className="summary">
      <StatusBadge status={job.status} large />
      <Description job={job} />
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
      <Times job={job} />
    </span>
  );
}
