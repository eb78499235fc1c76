/** The progress of a job: bar, pace, time of the last update, and its result at the end. */

import type { Job } from "../api";
import { ago, between, duration, number, roughly, soonTime } from "../format";
import { useNow } from "../live/clock";
import { Icon } from "../parts/icons";
import { Meaning } from "../parts/states";
import { Ago } from "../parts/time";
import { Link } from "../route";
import { useSession } from "../session";
import { useWords } from "../words/words";
import { useCancel, useRetry } from "./actions";
import { type LimitWait, leftByBudget, leftWhileWaiting, limitWaitOf, useBudget } from "./budget";
import { type Done, doneOf, isActive, mayCancel, mayRetry, paceOf } from "./facts";
import { resultWords, unitWord } from "./results";
import { StatusBadge } from "./status";
import { useReason } from "./waiting";

export function Bar({ done, label }: { done: Done | null; label: string }) {
  const share = done && done.total > 0 ? (done.done / done.total) * 100 : 0;
  return (
    <div
      className={`bar${done ? "" : " bar-unknown"}`}
      role="progressbar"
      aria-label={label}
      {...(done ? { "aria-valuemin": 0, "aria-valuemax": done.total, "aria-valuenow": done.done } : {})}
    >
      <span style={done ? { width: `${share}%` } : {}} />
    </div>
  );
}

export function ProgressCard({ job, title }: { job: Job; title: string }) {
  const words = useWords();
  const done = doneOf(job.result);
  const active = isActive(job);
  return (
    <section className={`progress progress-${job.status}`} aria-label={`${title}: ${words.progress}`}>
      <div className="progress-head">
        <StatusBadge status={job.status} />
        {done && (
          <span className="progress-count">
            <b>{number(done.done, words.language)}</b> / {number(done.total, words.language)}{" "}
            {unitWord(words, done.unit)}
          </span>
        )}
        <span className="grow" />
        <Link className="quiet-link" to={`/jobs/${job.id}`} aria-label={`${title}: ${words.details}`}>
          {words.details}
        </Link>
      </div>
      {(job.status === "processing" || (done && job.status !== "queued" && job.status !== "completed")) && (
        <Bar done={done} label={words.progress} />
      )}
      {job.status === "processing" && <Pace job={job} done={done} />}
      {job.error && (job.status === "failed" || active) && <ErrorLine job={job} />}
      {job.status === "queued" && <Waits job={job} />}
      {!active && <Outcome job={job} />}
      <Buttons job={job} title={title} />
    </section>
  );
}

/** Milliseconds without an update after which the page says so. Chatwork's limits may delay a sync for minutes. */
const QUIET_AFTER = 15_000;

export function Pace({ job, done }: { job: Job; done: Done | null }) {
  const words = useWords();
  const now = useNow();
  const budget = useBudget(job);
  const wait = limitWaitOf(job.result);
  if (wait && Date.parse(wait.until) > now) return <LimitWaits wait={wait} done={done} now={now} />;
  const pace = done && paceOf(job, done, now);
  const byBudget = done && budget ? leftByBudget(done.total - done.done, budget, now) : 0;
  const quiet = now - Date.parse(job.updatedAt) > QUIET_AFTER;
  const left = Math.max(pace?.left ?? 0, byBudget);
  return (
    <p className="pace">
      {pace && done && !quiet && byBudget === 0 && pace.perMinute >= 1 && (
        <span>{words.rate(number(Math.round(pace.perMinute), words.language), unitWord(words, done.unit))}</span>
      )}
      {pace && !quiet && left >= 1_000 && <span>{words.timeLeft(roughly(left, words.language))}</span>}
      <span className={quiet ? "pace-quiet" : ""}>
        {quiet && <Icon name="warn" size={14} />}
        {quiet && `${words.quiet} · `}
        {words.lastUpdate(ago(job.updatedAt, now, words.language))}
      </span>
    </p>
  );
}

/** A sync that waits for Chatwork's budget: it is not stuck, and says when it goes on. */
function LimitWaits({ wait, done, now }: { wait: LimitWait; done: Done | null; now: number }) {
  const words = useWords();
  const left = done ? leftWhileWaiting(done.total - done.done, wait, now) : 0;
  return (
    <p className="pace pace-limit">
      <span>
        <Icon name="pause" size={14} /> {words.limitReached(Math.round(wait.window / 60), wait.limit)}
      </span>
      <span>
        <b>{words.resumesAt(soonTime(wait.until, now, words.language))}</b>
      </span>
      {left >= 1_000 && <span>{words.inAll(roughly(left, words.language))}</span>}
    </p>
  );
}

function Waits({ job }: { job: Job }) {
  const reason = useReason(job);
  return (
    <p className="pace">
      {reason && (
        <span className={reason.warns ? "pace-quiet" : ""}>
          {reason.warns && <Icon name="warn" size={14} />}
          {reason.text}
        </span>
      )}
    </p>
  );
}

function ErrorLine({ job }: { job: Job }) {
  return (
    <p className="error-line">
      <Icon name="warn" />
      <span>
        {job.error?.message}
        <Meaning error={job.error} />
      </span>
    </p>
  );
}

function Outcome({ job }: { job: Job }) {
  const words = useWords();
  const results = resultWords(words, job);
  return (
    <p className="outcome">
      {results.map(({ text, bad }) => (
        <span key={text} className={bad ? "outcome-bad" : ""}>
          {text}
        </span>
      ))}
      {job.finishedAt && (
        <span className="faint">
          <Ago at={job.finishedAt} />
          {job.startedAt && ` · ${words.ran} ${duration(between(job.startedAt, job.finishedAt), words.language)}`}
        </span>
      )}
    </p>
  );
}

function Buttons({ job, title }: { job: Job; title: string }) {
  const words = useWords();
  const { mayChange } = useSession();
  const cancel = useCancel();
  const retry = useRetry();
  if (!mayChange) return null;
  if (mayCancel(job)) {
    return (
      <div className="progress-buttons">
        <button
          type="button"
          className="button button-small"
          disabled={cancel.isPending}
          onClick={() => cancel.mutate(job.id)}
          aria-label={`${title}: ${words.cancel}`}
        >
          {cancel.isPending ? words.canceling : words.cancel}
        </button>
      </div>
    );
  }
  if (!mayRetry(job)) return null;
  return (
    <div className="progress-buttons">
      <button
        type="button"
        className="button button-small"
        disabled={retry.isPending}
        onClick={() => retry.mutate(job.id)}
        aria-label={`${title}: ${words.retry}`}
      >
        {words.retry}
      </button>
    </div>
  );
}
