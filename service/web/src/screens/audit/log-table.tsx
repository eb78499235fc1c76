/** The rows of the log, newest first. */

import { useState } from "react";
import type { JobEvent, LogFilter } from "../../api";
import { number, shortId } from "../../format";
import { CauseLink } from "../../job/cause";
import { eventWord } from "../../job/naming";
import { summaryOf } from "../../job/results";
import { Icon, type IconName } from "../../parts/icons";
import { Cell, HeadCell, Rows } from "../../parts/rows";
import { Loading, Plate, ProblemPlate } from "../../parts/states";
import { Exact } from "../../parts/time";
import { useScrolled } from "../../parts/use-scrolled";
import { useNames } from "../../people";
import { addressWith, go, Link, usePlace } from "../../route";
import { useWords } from "../../words/words";
import { type Log, useLog } from "./use-log";

export function LogTable({ filter }: { filter: LogFilter }) {
  const words = useWords();
  const log = useLog(filter);
  const scrolled = useScrolled();
  const [shownUpTo, setShownUpTo] = useState(0);
  const events = log.events ?? [];
  const newest = events.at(-1)?.position ?? 0;

  // If the reader has scrolled down, new events wait behind a button, so that the rows do not move.
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
      <Cell className="clip faint">
        {event.cause !== null && (
          <span className="log-cause">
            {words.causedBy} <CauseLink cause={event.cause} jobId={event.jobId} />
          </span>
        )}
        {summaryOf(words, event)}
        {event.requestId !== null && (
          <span className="log-request" title={`${words.requestId}: ${event.requestId}`}>
            {words.requestId} <code>{event.requestId}</code>
          </span>
        )}
      </Cell>
      <Cell className="faint log-time">
        <Exact at={event.at} />
      </Cell>
    </>
  );
}
