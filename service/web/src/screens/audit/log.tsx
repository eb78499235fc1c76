/** The log as it grows, with its filters. */

import type { EventType, LogFilter } from "../../api";
import { isShortId, isUuid } from "../../format";
import { eventWord } from "../../job/naming";
import { Icon } from "../../parts/icons";
import { addressWith, go, usePlace } from "../../route";
import { useWords } from "../../words/words";
import { ActorFilter } from "./actor-filter";
import { LogTable } from "./log-table";

const TYPES: EventType[] = ["queued", "started", "progress", "completed", "failed", "canceled"];

export function LogSection() {
  const words = useWords();
  const { query } = usePlace();
  const jobId = query.get("jobId") ?? "";
  const filter: LogFilter = {
    actor: query.get("actor") ?? undefined,
    type: TYPES.find((type) => type === query.get("type")),
    jobId: isUuid(jobId) || isShortId(jobId) ? jobId : undefined,
  };
  return (
    <section className="section" aria-labelledby="log-heading">
      <div className="section-head">
        <h2 id="log-heading">{words.log}</h2>
      </div>
      <LogFilters />
      {jobId && !filter.jobId ? (
        <p className="mishap">
          <Icon name="warn" /> {words.jobIdInvalid}
        </p>
      ) : (
        <LogTable filter={filter} />
      )}
    </section>
  );
}

function LogFilters() {
  const words = useWords();
  const place = usePlace();
  const value = (name: string) => place.query.get(name) ?? "";
  const set = (changes: Record<string, string | null>) => go(addressWith(place, changes), { replace: true });
  const filtered = ["actor", "type", "jobId"].some((name) => place.query.has(name));
  return (
    <div className="tools">
      <ActorFilter />
      <select aria-label={words.event} value={value("type")} onChange={(event) => set({ type: event.target.value })}>
        <option value="">{words.anyEvent}</option>
        {TYPES.map((type) => (
          <option key={type} value={type}>
            {eventWord(words, { type, seq: 1, data: {} })} — {type}
          </option>
        ))}
      </select>
      <label className="search">
        <Icon name="search" />
        <input
          type="search"
          aria-label={words.jobId}
          placeholder={words.jobId}
          spellCheck={false}
          value={value("jobId")}
          onChange={(event) => set({ jobId: event.target.value.trim() })}
        />
      </label>
      {filtered && (
        <button type="button" className="link" onClick={() => set({ actor: null, type: null, jobId: null })}>
          {words.clearFilters}
        </button>
      )}
    </div>
  );
}
