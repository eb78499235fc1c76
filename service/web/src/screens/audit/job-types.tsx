/** The job types; an admin can pause one. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type JobType, pauseType, resumeType } from "../../api";
import { ago, minuteTime, span } from "../../format";
import { useToasts } from "../../frame/toasts";
import { JOB_TYPES, useJobTypes, useTypeWord } from "../../job/types";
import { useNow } from "../../live/clock";
import { Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icons";
import { Loading, Mishap, ProblemPlate } from "../../parts/states";
import { useDialog } from "../../parts/use-dialog";
import { useNames } from "../../people";
import { useSession } from "../../session";
import { useWords } from "../../words/words";

/** The reason that the service writes if nobody gave one. It is not shown, because it is English and adds nothing. */
const NO_REASON = "paused by an admin";

export function JobTypes() {
  const words = useWords();
  const listing = useJobTypes(10_000);
  return (
    <section className="section" aria-labelledby="types-heading">
      <div className="section-head">
        <h2 id="types-heading">{words.jobTypes}</h2>
      </div>
      {!listing.data &&
        (listing.error ? (
          <ProblemPlate error={listing.error} again={() => void listing.refetch()} />
        ) : (
          <Loading rows={3} tall />
        ))}
      <ul className="type-cards">
        {listing.data?.map((type) => (
          <TypeCard key={type.name} type={type} />
        ))}
      </ul>
    </section>
  );
}

function TypeCard({ type }: { type: JobType }) {
  const words = useWords();
  const typeWord = useTypeWord();
  const names = useNames();
  const now = useNow();
  const queries = useQueryClient();
  const { complain } = useToasts();
  const { isAdmin } = useSession();
  const pausing = useDialog("pause");
  const resuming = useMutation({
    mutationFn: () => resumeType(type.name),
    onSuccess: () => queries.invalidateQueries({ queryKey: JOB_TYPES }),
    onError: complain,
  });
  const { paused } = type;
  return (
    <li className={`card type-card${paused ? " type-paused" : ""}`}>
      <div className="type-head">
        <div>
          <h3>{typeWord(type.name)}</h3>
          <code className="faint">{type.name}</code>
        </div>
        <span className={paused ? "state-chip state-silent" : "state-chip state-alive"}>
          <Icon name={paused ? "pause" : "play"} size={14} /> {paused ? words.paused : words.typeRuns}
        </span>
      </div>
      <p className="faint">
        {words.mostAttempts(type.maxAttempts)} · {words.deadline(span(type.deadline * 1000, words.language))}
      </p>
      {paused && (
        <p>
          {words.pausedSince(ago(paused.since, now, words.language), names.actor(paused.actor))}
          {paused.until && (
            <>
              {" · "}
              <span className="whole">{words.until(minuteTime(paused.until, words.language))}</span>
            </>
          )}
          {paused.reason && paused.reason !== NO_REASON && <span className="pause-reason">{paused.reason}</span>}
        </p>
      )}
      {isAdmin &&
        (paused ? (
          <button
            type="button"
            className="button button-small"
            aria-label={words.resumeWhat(type.name)}
            disabled={resuming.isPending}
            onClick={() => resuming.mutate()}
          >
            {words.resume}
          </button>
        ) : (
          <button
            type="button"
            className="button button-small"
            aria-label={words.pauseWhat(type.name)}
            onClick={() => pausing.open(type.name)}
          >
            {words.pause}
          </button>
        ))}
      {isAdmin && pausing.of === type.name && <PauseDialog type={type} onClose={pausing.close} />}
    </li>
  );
}

function PauseDialog({ type, onClose }: { type: JobType; onClose: () => void }) {
  const words = useWords();
  const queries = useQueryClient();
  const [until, setUntil] = useState("");
  const [reason, setReason] = useState("");
  const pausing = useMutation({
    mutationFn: () =>
      pauseType(type.name, {
        ...(until ? { until: new Date(until).toISOString() } : {}),
        ...(reason.trim() ? { reason: reason.trim() } : {}),
      }),
    onSuccess: () => {
      void queries.invalidateQueries({ queryKey: JOB_TYPES });
      onClose();
    },
  });

  function submit(event: FormEvent) {
    event.preventDefault();
    pausing.mutate();
  }

  return (
    <Dialog title={words.pauseWhat(type.name)} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <p>{words.pauseText}</p>
        <label className="field">
          {words.pauseUntil}
          {words.optional}
          <input type="datetime-local" value={until} onChange={(event) => setUntil(event.target.value)} />
          <span className="faint small">{words.pauseUntilHint}</span>
        </label>
        <label className="field">
          {words.reason}
          {words.optional}
          <input value={reason} maxLength={1000} onChange={(event) => setReason(event.target.value)} />
        </label>
        {pausing.error && <Mishap error={pausing.error} />}
        <div className="dialog-buttons">
          <button type="button" className="button" onClick={onClose}>
            {words.abort}
          </button>
          <button type="submit" className="button button-main" disabled={pausing.isPending}>
            {words.pause}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
