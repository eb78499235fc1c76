/** Starts a summary draft for a period, and shows its progress. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type Company, draftSummary, linkedRooms } from "../../api";
import { useToasts } from "../../frame/toasts";
import { hasEnded } from "../../job/facts";
import { ProgressCard } from "../../job/progress";
import { useCurrentJobs, useJob } from "../../job/queries";
import { useArrivals } from "../../live/live";
import { Icon } from "../../parts/icons";
import { Mishap } from "../../parts/states";
import { addressWith, go, usePlace } from "../../route";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { type Period, periodText } from "./drafts";
import { linksOf } from "./linked-rooms";
import { type Days, daysOf, instantsOf, PERIODS, type PeriodName } from "./periods";

export const draftsOf = (id: string) => ["drafts", id];

export function DraftForm({ company }: { company: Company }) {
  const words = useWords();
  const place = usePlace();
  const queries = useQueryClient();
  const { watch } = useToasts();
  const { isAdmin } = useSession();
  const [{ days, preset }, setPeriod] = useState<Chosen>(() => chosenPreset("last30d"));
  const setDays = (chosen: Days) => setPeriod({ days: chosen, preset: null });
  const [cached, setCached] = useState(false);
  const current = useCurrentJobs("summary_draft", (job) => companyOf(job.payload) === company.id);
  const period = instantsOf(days);
  const links = useQuery({ queryKey: linksOf(company.id), queryFn: ({ signal }) => linkedRooms(company.id, signal) });
  const drafting = useMutation({
    mutationFn: (asked: NonNullable<typeof period>) => draftSummary(company.id, asked),
    onSuccess: (answer) => {
      setCached("cached" in answer);
      if ("cached" in answer) {
        void queries.invalidateQueries({ queryKey: draftsOf(company.id) });
        go(addressWith(place, { draft: answer.draft.id }), { replace: true });
      } else {
        watch(answer.jobId);
        current.refresh();
      }
    },
  });

  useArrivals((jobs) => {
    const mine = jobs.find(
      (job) => job.type === "summary_draft" && hasEnded(job) && companyOf(job.payload) === company.id,
    );
    if (!mine) return;
    void queries.invalidateQueries({ queryKey: draftsOf(company.id) });
    const made = (mine.result as { id?: string } | null)?.id;
    if (mine.status === "completed" && made) go(addressWith(place, { draft: made }), { replace: true });
  });

  function submit(event: FormEvent) {
    event.preventDefault();
    if (period) drafting.mutate(period);
  }

  return (
    <section className="card" aria-labelledby="draft-heading">
      <h3 id="draft-heading">{words.draftTitle}</h3>
      {links.data?.length === 0 && (
        <p className="note" role="status">
          <Icon name="info" /> {isAdmin ? words.linkFirst : words.linkFirstAdmin}
        </p>
      )}
      <form onSubmit={submit} className="draft-form">
        {/* biome-ignore lint/a11y/useSemanticElements: browsers do not lay a fieldset out as a flex container in every case. */}
        <div className="presets" role="group" aria-label={words.period}>
          {PERIODS.map((name) => (
            <button
              key={name}
              type="button"
              className="chip"
              aria-pressed={name === preset}
              onClick={() => setPeriod(chosenPreset(name))}
            >
              {words[name]}
            </button>
          ))}
        </div>
        <div className="draft-days">
          <label className="field">
            {words.startDay}
            <input
              type="date"
              required
              value={days.from}
              onChange={(event) => setDays({ ...days, from: event.target.value })}
            />
          </label>
          <label className="field">
            {words.endDay}
            <input
              type="date"
              required
              value={days.to}
              onChange={(event) => setDays({ ...days, to: event.target.value })}
            />
          </label>
          <button type="submit" className="button button-main" disabled={!period || drafting.isPending}>
            <Icon name="document" /> {drafting.isPending ? words.syncing : words.draftDo}
          </button>
        </div>
        {!period && days.from && days.to && (
          <p className="mishap">
            <Icon name="warn" /> {words.badPeriod}
          </p>
        )}
        {drafting.error && <Mishap error={drafting.error} />}
        {cached && (
          <p className="note" role="status">
            <Icon name="info" /> {words.cachedDraft}
          </p>
        )}
      </form>
      {current.jobs.map((job) => (
        <DraftJob key={job.id} id={job.id} />
      ))}
    </section>
  );
}

interface Chosen {
  days: Days;
  /** The button that was pressed; two of them may mean the same days. */
  preset: PeriodName | null;
}

const chosenPreset = (preset: PeriodName): Chosen => ({ days: daysOf(preset, new Date()), preset });

function DraftJob({ id }: { id: string }) {
  const words = useWords();
  const { data: job } = useJob(id);
  // A finished draft is shown just below the form, so nothing is shown here.
  if (!job || job.status === "completed") return null;
  return (
    <div className="draft-job">
      <p className="faint">
        {words.period}: {periodText(words, job.payload as Period)}
      </p>
      <ProgressCard job={job} title={words.type_summary_draft} />
    </div>
  );
}

const companyOf = (payload: unknown) => (payload as { companyId?: string } | null)?.companyId;
