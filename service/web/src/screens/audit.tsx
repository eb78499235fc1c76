/** The log as it grows, and whether it still says what the view says. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, useSyncExternalStore } from "react";
import {
  type EventType,
  type Finding,
  type JobEvent,
  type LogFilter,
  lastVerification,
  type Verification,
  verify,
} from "../api";
import { useNow } from "../clock";
import { ago, number, shortId } from "../format";
import { AuditTabs } from "../parts/audit-tabs";
import { Heading } from "../parts/heading";
import { Icon, type IconName } from "../parts/icons";
import { Cell, HeadCell, Rows } from "../parts/rows";
import { Forbidden, Loading, Mishap, Plate, ProblemPlate } from "../parts/states";
import { Exact } from "../parts/time";
import { summaryOf } from "../parts/timeline";
import { useNames, useUsers } from "../people";
import { differenceText, findingMeaning } from "../refusals";
import { addressWith, go, Link, usePlace } from "../route";
import { useSession } from "../session";
import { type Log, useLog } from "../use-log";
import { eventWord, useWords } from "../words";
import { Operations } from "./operations";

const TYPES: EventType[] = ["queued", "started", "progress", "completed", "failed", "canceled"];
const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

export function AuditScreen() {
  const words = useWords();
  const { isAdmin } = useSession();
  const { query } = usePlace();
  return (
    <>
      <Heading title={words.audit} intro={words.auditIntro} />
      {isAdmin ? (
        <>
          <AuditTabs />
          {query.get("part") === "operations" ? (
            <Operations />
          ) : (
            <>
              <Integrity />
              <LogSection />
            </>
          )}
        </>
      ) : (
        <Forbidden />
      )}
    </>
  );
}

// Integrity -------------------------------------------------------------------------------------------------------------------

const VERIFICATION = ["verification"];

function Integrity() {
  const words = useWords();
  const queries = useQueryClient();
  const { data, isPending, error } = useQuery({
    queryKey: VERIFICATION,
    queryFn: ({ signal }) => lastVerification(signal),
    refetchInterval: ({ state }) => (state.data && !state.data.finishedAt ? 1_000 : 30_000),
  });
  const starting = useMutation({
    mutationFn: verify,
    onSuccess: (verification) => queries.setQueryData(VERIFICATION, verification),
  });
  const running = data !== null && data !== undefined && data.finishedAt === null;
  if (isPending) return <Loading rows={1} tall />;
  return (
    <section className={`card integrity integrity-${toneOf(data)}`} aria-label={words.integrity}>
      <span className="integrity-seal">
        <Icon name={toneOf(data) === "bad" ? "warn" : "audit"} size={28} />
      </span>
      <div className="integrity-text" aria-live="polite">
        <h2>{words.integrity}</h2>
        <IntegrityText verification={data ?? null} />
        {error && <Mishap error={error} />}
        {starting.error && <Mishap error={starting.error} />}
      </div>
      <button
        type="button"
        className="button"
        disabled={running || starting.isPending}
        onClick={() => starting.mutate()}
      >
        {running ? words.verifying : words.verify}
      </button>
    </section>
  );
}

function toneOf(verification: Verification | null | undefined): "none" | "good" | "bad" | "running" {
  if (!verification) return "none";
  if (verification.error || (verification.differenceCount ?? 0) > 0) return "bad";
  return verification.finishedAt ? "good" : "running";
}

function IntegrityText({ verification }: { verification: Verification | null }) {
  const words = useWords();
  const names = useNames();
  const now = useNow();
  if (!verification) return <p className="integrity-verdict">{words.integrityNever}</p>;
  const { finishedAt, startedAt, actor, events, jobs, error, differenceCount, differences, findings } = verification;
  const verdict = error
    ? words.integrityFailed
    : differenceCount
      ? words.integrityBad(differenceCount)
      : finishedAt
        ? words.integrityGood
        : words.verifying;
  return (
    <>
      <p className="integrity-verdict">{verdict}</p>
      <p className="faint">
        {events !== null && jobs !== null && `${words.covered(events, jobs)} · `}
        {words.verifiedBy(ago(finishedAt ?? startedAt, now, words.language), names.actor(actor))}
      </p>
      {error && <p className="error-line">{error}</p>}
      {differences.length > 0 && (
        <details>
          <summary>{words.differencesShown(differences.length, differenceCount ?? differences.length)}</summary>
          <ul className="differences">
            {differences.map((difference, place) => (
              <li key={`${place} ${difference}`}>
                <FindingHead finding={findings[place]} />
                {differenceText(words, difference)}
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

/** Verifications from before findings had names have none. */
function FindingHead({ finding }: { finding: Finding | undefined }) {
  const words = useWords();
  if (!finding) return null;
  const places = [
    finding.seq !== null && words.findingAt(finding.seq),
    finding.position !== null && words.findingPosition(finding.position),
  ].filter((place) => place !== false);
  return (
    <>
      <code>{finding.name}</code> <b>{findingMeaning(words, finding.name)}</b>
      {places.length > 0 && ` (${places.join(", ")})`}
      <br />
    </>
  );
}

// The log ---------------------------------------------------------------------------------------------------------------------

function LogSection() {
  const words = useWords();
  const { query } = usePlace();
  const jobId = query.get("jobId") ?? "";
  const filter: LogFilter = {
    actor: query.get("actor") ?? undefined,
    type: TYPES.find((type) => type === query.get("type")),
    jobId: UUID.test(jobId) ? jobId : undefined,
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
  const users = useUsers();
  const value = (name: string) => place.query.get(name) ?? "";
  const set = (changes: Record<string, string | null>) => go(addressWith(place, changes), { replace: true });
  const actor = value("actor");
  const filtered = ["actor", "type", "jobId"].some((name) => place.query.has(name));
  const known = actor === "" || users.some(({ id }) => actor === `user:${id}`);
  return (
    <div className="tools">
      <select aria-label={words.actor} value={actor} onChange={(event) => set({ actor: event.target.value })}>
        <option value="">{words.anyActor}</option>
        {users.map((user) => (
          <option key={user.id} value={`user:${user.id}`}>
            {user.name || user.email}
          </option>
        ))}
        {!known && <option value={actor}>{actor}</option>}
      </select>
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

const FROM_TOP = 160;
const isScrolled = () => window.scrollY > FROM_TOP;

function listenToScrolling(listener: () => void) {
  window.addEventListener("scroll", listener, { passive: true });
  return () => window.removeEventListener("scroll", listener);
}

function LogTable({ filter }: { filter: LogFilter }) {
  const words = useWords();
  const log = useLog(filter);
  const scrolled = useSyncExternalStore(listenToScrolling, isScrolled);
  const [shownUpTo, setShownUpTo] = useState(0);
  const events = log.events ?? [];
  const newest = events.at(-1)?.position ?? 0;

  // Who reads further down is not moved: what is new waits behind a button.
  if (!scrolled && shownUpTo !== newest) setShownUpTo(newest);
  const rows = events.filter(({ position }) => (position ?? 0) <= shownUpTo).reverse();
  const waiting = events.length - rows.length;

  if (!log.events) return log.error ? <ProblemPlate error={log.error} again={log.again} /> : <Loading rows={8} />;
  if (events.length === 0) {
    const filtered = Object.values(filter).some((value) => value !== undefined);
    return (
      <Plate
        icon="audit"
        title={filtered ? words.noEventMatches : words.noEvents}
        action={!log.complete && <OlderButton log={log} />}
      />
    );
  }
  return (
    <>
      <div className="news" aria-live="polite">
        {waiting > 0 && (
          <button type="button" className="news-button" onClick={() => window.scrollTo({ top: 0 })}>
            <Icon name="up" size={14} /> {words.newEvents(waiting)}
          </button>
        )}
      </div>
      <Rows
        label={words.log}
        className="log"
        count={rows.length}
        height={52}
        keyOf={(index) => String(rows[index]?.position ?? index)}
        head={
          <>
            <HeadCell className="right">{words.position}</HeadCell>
            <HeadCell>{words.event}</HeadCell>
            <HeadCell>{words.job}</HeadCell>
            <HeadCell>{words.actor}</HeadCell>
            <HeadCell>{words.details}</HeadCell>
            <HeadCell>{words.when}</HeadCell>
          </>
        }
        row={(index) => rows[index] && <LogRow event={rows[index]} />}
      />
      <p className="list-end">
        {log.complete ? <span className="faint">{words.startOfLog}</span> : <OlderButton log={log} />}
      </p>
    </>
  );
}

function OlderButton({ log }: { log: Log }) {
  const words = useWords();
  return (
    <button type="button" className="button" disabled={log.olderLoading} onClick={log.older}>
      {log.olderLoading ? words.loadingMore : words.olderEvents}
    </button>
  );
}

function LogRow({ event }: { event: JobEvent }) {
  const words = useWords();
  const names = useNames();
  const place = usePlace();
  return (
    <>
      <Cell className="right numbers faint">
        {event.position === null ? "–" : number(event.position, words.language)}
      </Cell>
      <Cell className={`log-event event-${event.type}`}>
        <Icon name={event.type as IconName} size={14} /> {eventWord(words, event)}
      </Cell>
      <Cell className="log-job">
        <Link to={`/jobs/${event.jobId}?seq=${event.seq}`} title={event.jobId}>
          <code>{shortId(event.jobId)}</code> #{event.seq}
        </Link>
      </Cell>
      <Cell className="clip">
        <button
          type="button"
          className="quiet-button clip"
          title={event.actor}
          onClick={() => go(addressWith(place, { actor: event.actor }))}
        >
          {names.actor(event.actor)}
        </button>
      </Cell>
      <Cell className="clip faint">{summaryOf(words, event)}</Cell>
      <Cell className="faint log-time">
        <Exact at={event.at} />
      </Cell>
    </>
  );
}
