/** The events of a job as a list: name, time, actor, and time since the event before. */

import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import type { JobEvent } from "../../api";
import { between, duration, exactTime, number, span } from "../../format";
import { causeText } from "../../job/cause-of";
import { eventWord } from "../../job/naming";
import { summaryOf } from "../../job/results";
import { Icon, type IconName } from "../../parts/icons";
import { Ago, Clock } from "../../parts/time";
import { useNames } from "../../people";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { foldHiding, timelineOf } from "./attempts-of";

/** Pixels that stay visible above and below the chosen event. */
const MARGIN = 40;

export function Timeline({
  events,
  seq,
  onChoose,
}: {
  events: JobEvent[];
  seq: number;
  onChoose: (seq: number) => void;
}) {
  const words = useWords();
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const list = useRef<HTMLOListElement>(null);
  const lines = useMemo(() => timelineOf(events, open), [events, open]);
  const hidden = foldHiding(lines, seq);

  // Scrolls the list, not the page, so that the chosen event stays in sight.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when another event is chosen or the list grows.
  useEffect(() => {
    const chosen = list.current?.querySelector<HTMLElement>('[aria-current="step"]');
    const frame = list.current;
    if (!chosen || !frame || frame.scrollHeight <= frame.clientHeight) return;
    const { top, bottom } = inSight(frame);
    const above = chosen.getBoundingClientRect().top - top - MARGIN;
    const below = chosen.getBoundingClientRect().bottom - bottom + MARGIN;
    if (above < 0) frame.scrollTop += above;
    else if (below > 0) frame.scrollTop += below;
  }, [seq, lines.length]);

  function upAndDown(event: KeyboardEvent) {
    const to = { ArrowUp: seq - 1, ArrowDown: seq + 1 }[event.key];
    if (to === undefined || to < 1 || to > events.length) return;
    event.preventDefault();
    onChoose(to);
  }

  return (
    // The buttons inside take the focus; the arrow keys go from one to the next.
    <ol className="timeline" ref={list} onKeyDown={upAndDown} aria-label={words.timeline}>
      {lines.map((line) =>
        line.kind === "event" ? (
          <Item
            key={line.event.seq}
            event={line.event}
            before={line.before}
            here={line.event.seq === seq}
            onChoose={onChoose}
          />
        ) : (
          <li key={`fold-${line.from}`} className={`fold${line.from === hidden ? " fold-here" : ""}`}>
            <button
              type="button"
              {...(line.from === hidden ? { "aria-current": "step" as const } : {})}
              onClick={() => setOpen((before) => new Set(before).add(line.from))}
            >
              <Icon name="more" /> {words.moreProgress(line.to - line.from + 1)}
              {line.from === hidden && <span className="numbers"> · #{number(seq, words.language)}</span>}
            </button>
          </li>
        ),
      )}
    </ol>
  );
}

/** The visible part of the list, or the whole list if almost nothing is visible. */
function inSight(frame: HTMLElement): { top: number; bottom: number } {
  const { top, bottom } = frame.getBoundingClientRect();
  const shown = Math.min(bottom, window.innerHeight);
  return { top, bottom: shown - top > 4 * MARGIN ? shown : bottom };
}

interface ItemProps {
  event: JobEvent;
  before: JobEvent | undefined;
  here: boolean;
  onChoose: (seq: number) => void;
}

function Item({ event, before, here, onChoose }: ItemProps) {
  const words = useWords();
  const names = useNames();
  const { isAdmin } = useSession();
  // Milliseconds help to find a fault, so admins see them. Office staff read "under 1 s".
  const gap = isAdmin ? span : duration;
  const opens = before && before.attempt !== event.attempt;
  const summary = summaryOf(words, event);
  return (
    <li className={`event-item event-${event.type}`}>
      {opens && <span className="attempt-line">{words.attemptNumber(event.attempt)}</span>}
      <button
        type="button"
        className="event"
        onClick={() => onChoose(event.seq)}
        {...(here ? { "aria-current": "step" as const } : {})}
      >
        <span className="event-icon">
          <Icon name={event.type as IconName} />
        </span>
        <span className="event-main">
          <span className="event-title">
            <b>{eventWord(words, event)}</b>
            <code>{event.type}</code>
            <span className="faint numbers">#{number(event.seq, words.language)}</span>
          </span>
          {summary && <span className="event-summary">{summary}</span>}
          <span className="event-by faint" title={event.actor}>
            {names.actor(event.actor)} · {words.attemptNumber(event.attempt)}
            {event.cause !== null && ` · ${words.causedBy}: ${causeText(words, event.cause, event.jobId)}`}
          </span>
        </span>
        <span className="event-when">
          <Clock at={event.at} />
          <span className="faint" title={before ? words.sinceBefore : exactTime(event.at, words.language)}>
            {before ? `+${gap(between(before.at, event.at), words.language)}` : <Ago at={event.at} />}
          </span>
        </span>
      </button>
    </li>
  );
}
