/** One job: what is to be done about it, why it waits, and its whole history, at any moment of it. */

import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { downloadHistory, type Job, type JobEvent } from "../api";
import { useNow } from "../clock";
import { span } from "../format";
import { doneOf, durationOf, isActive, mayCancel, mayRetry } from "../history";
import { useCancel, useForceFail, useRetry, useRunAgain } from "../job-actions";
import { useJob } from "../job-queries";
import { useTypeWord } from "../job-types";
import { Attempts } from "../parts/attempts";
import { OPERATIONS } from "../parts/audit-tabs";
import { Copy } from "../parts/copy";
import { Dialog } from "../parts/dialog";
import { Heading } from "../parts/heading";
import { Icon } from "../parts/icons";
import { JobState } from "../parts/job-state";
import { Menu } from "../parts/menu";
import { Bar, Pace } from "../parts/progress";
import { Scrubber } from "../parts/scrubber";
import { Loading, Meaning, NotFound, ProblemPlate } from "../parts/states";
import { StatusBadge } from "../parts/status";
import { Ago } from "../parts/time";
import { Timeline } from "../parts/timeline";
import { useReason } from "../parts/waiting";
import { useNames } from "../people";
import { addressWith, go, Link, usePlace } from "../route";
import { useSession } from "../session";
import { useToasts } from "../toasts";
import { useHistory } from "../use-history";
import { useWords } from "../words";

const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

export function JobScreen({ id }: { id: string }) {
  const words = useWords();
  if (UUID.test(id)) return <KnownJob id={id} />;
  return (
    <>
      <Heading title={words.job} />
      <NotFound list="/jobs" />
    </>
  );
}

function KnownJob({ id }: { id: string }) {
  const words = useWords();
  const typeWord = useTypeWord();
  const { data: job, error, refetch } = useJob(id);
  if (!job) {
    return (
      <>
        <Heading title={words.job} />
        {error ? <ProblemPlate error={error} again={() => void refetch()} list="/jobs" /> : <Loading rows={8} />}
      </>
    );
  }
  return (
    <>
      <Link className="crumb" to="/jobs">
        <Icon name="previous" size={14} /> {words.toList}
      </Link>
      <Heading title={typeWord(job.type)} intro={<Summary job={job} />}>
        <Actions job={job} />
      </Heading>
      {job.status === "queued" && <WhyWaiting job={job} />}
      {job.status === "processing" && <Running job={job} />}
      {job.error && job.status === "failed" && (
        <p className="error-line error-large" role="note">
          <Icon name="failed" />
          <span>
            {job.error.message}
            <Meaning error={job.error} />
          </span>
        </p>
      )}
      <History job={job} />
    </>
  );
}

function Summary({ job }: { job: Job }) {
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
      {/* What has never begun has taken no time: as in the list. */}
      {(job.status !== "queued" || job.attempt > 1) && (
        <span>
          {words.duration} {span(durationOf(job, until), words.language)}
        </span>
      )}
    </span>
  );
}

function Running({ job }: { job: Job }) {
  const words = useWords();
  const done = doneOf(job.result);
  return (
    <section className="card running" aria-label={words.progress}>
      <div className="running-head">
        {done && (
          <span className="progress-count">
            <b>{done.done}</b> / {done.total}
          </span>
        )}
        <Pace job={job} done={done} />
      </div>
      <Bar done={done} label={words.progress} />
    </section>
  );
}

// Why it waits ----------------------------------------------------------------------------------------------------------------

function WhyWaiting({ job }: { job: Job }) {
  const words = useWords();
  const { isAdmin } = useSession();
  const reason = useReason(job);
  if (!reason) return null;
  return (
    <p className={`note${reason.warns ? " note-warn" : ""}`} role="status">
      <Icon name={reason.warns ? "warn" : "info"} />
      <span>
        <b>{words.whyWaiting}</b> {reason.text}{" "}
        {reason.warns && isAdmin && <Link to={OPERATIONS}>{words.toOperations}</Link>}
      </span>
    </p>
  );
}

// What may be done ------------------------------------------------------------------------------------------------------------

function Actions({ job }: { job: Job }) {
  const words = useWords();
  const { isAdmin } = useSession();
  const { complain } = useToasts();
  const [forcing, setForcing] = useState(false);
  const cancel = useCancel();
  const retry = useRetry();
  const again = useRunAgain();
  const download = useMutation({ mutationFn: () => downloadHistory(job.id), onError: complain });
  return (
    <div className="actions">
      {mayCancel(job) && (
        <button type="button" className="button" disabled={cancel.isPending} onClick={() => cancel.mutate(job.id)}>
          {cancel.isPending ? words.canceling : words.cancel}
        </button>
      )}
      {mayRetry(job) && (
        <button
          type="button"
          className="button button-main"
          disabled={retry.isPending}
          onClick={() => retry.mutate(job.id)}
        >
          {words.retry}
        </button>
      )}
      {!isActive(job) && (
        <button type="button" className="button" disabled={again.isPending} onClick={() => again.mutate(job)}>
          {words.runAgain}
        </button>
      )}
      <button
        type="button"
        className="button"
        title={words.downloadHint}
        disabled={download.isPending}
        onClick={() => download.mutate()}
      >
        <Icon name="download" /> {words.download}
      </button>
      {isAdmin && job.status === "processing" && (
        <Menu label={words.moreActions} button={<Icon name="more" />}>
          <button type="button" className="menu-item menu-bad" onClick={() => setForcing(true)}>
            {words.forceFail}
          </button>
        </Menu>
      )}
      {forcing && <ForceFail job={job} onClose={() => setForcing(false)} />}
    </div>
  );
}

function ForceFail({ job, onClose }: { job: Job; onClose: () => void }) {
  const words = useWords();
  const forcing = useForceFail();
  const [reason, setReason] = useState("");

  function submit(event: FormEvent) {
    event.preventDefault();
    forcing.mutate({ id: job.id, reason: reason.trim() }, { onSettled: onClose });
  }

  return (
    <Dialog title={words.forceFailTitle} onClose={onClose}>
      <form onSubmit={submit} className="form">
        <p>{words.forceFailText}</p>
        <label className="field">
          {words.reason}{words.optional}
          <input value={reason} maxLength={1000} onChange={(event) => setReason(event.target.value)} />
        </label>
        <div className="dialog-buttons">
          <button type="button" className="button" onClick={onClose}>
            {words.abort}
          </button>
          <button type="submit" className="button button-bad" disabled={forcing.isPending}>
            {words.forceFailDo}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

// The history -----------------------------------------------------------------------------------------------------------------

function History({ job }: { job: Job }) {
  const words = useWords();
  const place = usePlace();
  const history = useHistory(job.id, job);
  const events = history.data;
  const asked = Number(place.query.get("seq"));
  const pinned = Number.isInteger(asked) && asked >= 1;
  if (!events) {
    return history.error ? (
      <ProblemPlate error={history.error} again={() => void history.refetch()} />
    ) : (
      <Loading rows={6} />
    );
  }
  const last = events.length;
  const seq = pinned ? Math.min(asked, last) : last;
  const event = events[seq - 1];
  if (!event) return null;

  const move = (to: number) => go(addressWith(place, { seq: to === last ? null : to }), { replace: true });
  return (
    <>
      {asked > last && (
        <p className="note" role="status">
          <Icon name="info" /> {words.noSuchMoment(asked)}
        </p>
      )}
      <Scrubber events={events} seq={seq} follows={!pinned} active={isActive(job)} onMove={move} />
      <Moments job={job} events={events} event={event} follows={!pinned && isActive(job)} onMove={move} />
      <Attempts job={job} events={events} seq={seq} onChoose={move} />
    </>
  );
}

function Moments({
  job,
  events,
  event,
  follows,
  onMove,
}: {
  job: Job;
  events: JobEvent[];
  event: JobEvent;
  follows: boolean;
  onMove: (seq: number) => void;
}) {
  const words = useWords();
  return (
    <div className="moments">
      <section className="card timeline-card" aria-labelledby="timeline-heading">
        <h2 id="timeline-heading">{words.timeline}</h2>
        <Timeline events={events} seq={event.seq} onChoose={onMove} />
      </section>
      <div className="card state-card">
        <JobState id={job.id} event={event} last={events.length} follows={follows} />
      </div>
    </div>
  );
}
