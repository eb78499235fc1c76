import { Fragment, memo, useId } from "react";
import type { Job } from "../../api";
import { number, shortId } from "../../format";
import { descriptionText } from "../../job/description";
import { doneOf, isActive } from "../../job/facts";
import { Bar } from "../../job/progress";
import { resultWords } from "../../job/results";
import { StatusBadge } from "../../job/status";
import { Times } from "../../job/times";
import { useTypeWord } from "../../job/types";
import { Check } from "../../parts/check";
import { Cell } from "../../parts/rows";
import { Ago } from "../../parts/time";
import { Link } from "../../route";
import { useWords } from "../../words/words";

interface JobRowProps {
  job: Job;
  owner: string;
  chosen: boolean;
  /** Null for a reader who may change no job. */
  onChoose: ((id: string, on: boolean) => void) | null;
}

/** Memoized, so that rows that stay on the screen are not drawn again while scrolling. */
export const JobRow = memo(function JobRow({ job, owner, chosen, onChoose }: JobRowProps) {
  const words = useWords();
  const typeWord = useTypeWord();
  const what = `${job.type} ${shortId(job.id)}`;
  const title = useId();
  return (
    <>
      <Cell className="tick">
        {onChoose && <Check label={words.selectJob(what)} checked={chosen} onChange={(on) => onChoose(job.id, on)} />}
      </Cell>
      <Cell className="job-what">
        <b id={title} className="job-title">
          {[typeWord(job.type), descriptionText(words, job)].filter(Boolean).join(" · ")}
        </b>
        <span className="faint job-type">
          <Link className="row-link row-whole" to={`/jobs/${job.id}`} aria-describedby={title}>
            <Breakable name={job.type} />
          </Link>{" "}
          · <code>{shortId(job.id)}</code>
        </span>
      </Cell>
      <Cell className="job-status">
        <StatusBadge status={job.status} />
      </Cell>
      <Cell className="job-result">
        <Result job={job} />
      </Cell>
      <Cell label={words.owner} className="clip faint">
        {owner}
      </Cell>
      <Cell label={words.attempt} className="numbers faint">
        {job.attempt}/{job.maxAttempts}
      </Cell>
      <Cell label={words.created} className="faint">
        <Ago at={job.createdAt} />
      </Cell>
      <Cell className="job-times right numbers faint">
        <Times job={job} />
      </Cell>
    </>
  );
});

/** Lets a long name break after an underscore, for phones. */
function Breakable({ name }: { name: string }) {
  return name.split(/(?<=_)/).map((part) => (
    <Fragment key={part}>
      {part}
      <wbr />
    </Fragment>
  ));
}

function Result({ job }: { job: Job }) {
  const words = useWords();
  const done = doneOf(job.result);
  if (job.error && job.status !== "completed" && job.status !== "canceled") {
    return (
      <span className="error-text clip" title={job.error.message}>
        {job.error.message}
      </span>
    );
  }
  if (done && (isActive(job) || job.status === "canceled")) {
    return (
      <span className="mini-progress">
        <Bar done={done} label={words.progress} />
        <span className="numbers">
          {number(done.done, words.language)}/{number(done.total, words.language)}
        </span>
      </span>
    );
  }
  // Errors come first, because a row has space for a few words only.
  const said = resultWords(words, job).sort((one, other) => Number(other.bad ?? false) - Number(one.bad ?? false));
  return (
    <span className="clip faint" title={said.map(({ text }) => text).join(" · ")}>
      {said.map(({ text, bad }, index) => (
        <span key={text} className={bad ? "bad-text" : ""}>
          {index > 0 && " · "}
          {text}
        </span>
      ))}
    </span>
  );
}
