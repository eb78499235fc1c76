/** The attempts of a job side by side: why each started, its waiting and running time, and its outcome. */

import { useEffect, useRef } from "react";
import type { Job, JobEvent } from "../../api";
import { duration, number } from "../../format";
import { eventWord, reasonWord } from "../../job/naming";
import { useNow } from "../../live/clock";
import { Icon, type IconName } from "../../parts/icons";
import { Clock } from "../../parts/time";
import { useNames } from "../../people";
import { useWords } from "../../words/words";
import { type Attempt, attemptsOf } from "./attempts-of";

export function Attempts({
  job,
  events,
  seq,
  onChoose,
}: {
  job: Job;
  events: JobEvent[];
  seq: number;
  onChoose: (seq: number) => void;
}) {
  const words = useWords();
  const now = useNow();
  const attempts = attemptsOf(events, new Date(Math.max(now, Date.parse(job.updatedAt))).toISOString());
  const longest = Math.max(1, ...attempts.map(({ waited, ran }) => waited + (ran ?? 0)));
  const chosen = events[seq - 1]?.attempt;
  const list = useRef<HTMLUListElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: scrolls only when another attempt is chosen.
  useEffect(() => {
    const here = list.current?.querySelector<HTMLElement>(".attempt-here");
    if (list.current && here) list.current.scrollLeft = middleOf(here) - list.current.clientWidth / 2;
  }, [chosen]);
  return (
    <section className="section" aria-labelledby="attempts-heading">
      <div className="section-head">
        <h2 id="attempts-heading">{words.attempts}</h2>
        <span className="count">
          {job.attempt}/{job.maxAttempts}
        </span>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a part that scrolls must be reachable by keyboard. */}
      <ul className="attempts" ref={list} tabIndex={0} aria-labelledby="attempts-heading">
        {attempts.map((attempt) => (
          <AttemptCard
            key={attempt.number}
            attempt={attempt}
            longest={longest}
            here={attempt.number === chosen}
            onChoose={onChoose}
          />
        ))}
      </ul>
    </section>
  );
}

/** The middle of a card, in pixels from the left edge of the list. */
function middleOf(card: HTMLElement): number {
  const start = card.parentElement?.offsetLeft ?? 0;
  return card.offsetLeft - start + card.offsetWidth / 2;
}

function AttemptCard({
  attempt,
  longest,
  here,
  onChoose,
}: {
  attempt: Attempt;
  longest: number;
  here: boolean;
  onChoose: (seq: number) => void;
}) {
  const words = useWords();
  const names = useNames();
  const { queued, started, end, waited, ran, progress } = attempt;
  const handedBack = end?.type === "queued";
  const error = end?.type === "failed" ? (end.data.error as { message?: string }) : undefined;
  const stop = (handedBack ? attempt.events.at(-1) : end) ?? attempt.events.at(-1);
  return (
    <li className={`attempt${here ? " attempt-here" : ""}`}>
      <button type="button" className="row-link" onClick={() => stop && onChoose(stop.seq)}>
        {words.attemptNumber(attempt.number)}
      </button>
      <div className="attempt-bar" aria-hidden="true">
        <span className="attempt-waited" style={{ width: `${(waited / longest) * 100}%` }} />
        <span
          className={`attempt-ran attempt-${handedBack ? "queued" : (end?.type ?? "processing")}`}
          style={{ width: `${((ran ?? 0) / longest) * 100}%` }}
        />
      </div>
      <dl>
        <dt>{words.why}</dt>
        <dd>{reasonWord(words, queued?.data.reason)}</dd>
        <dt>{words.waited}</dt>
        <dd className="numbers">{duration(waited, words.language)}</dd>
        <dt>{words.ran}</dt>
        <dd className="numbers">{ran === null ? words.notStarted : duration(ran, words.language)}</dd>
        <dt>{words.worker}</dt>
        <dd title={started?.actor}>{started ? names.actor(started.actor) : "–"}</dd>
        <dt>{words.updates}</dt>
        <dd className="numbers">{number(progress, words.language)}</dd>
        <dt>{words.outcome}</dt>
        <dd className={`event-${handedBack ? "queued" : (end?.type ?? "started")}`}>
          {end ? (
            <>
              <Icon name={end.type as IconName} size={14} /> {handedBack ? words.handedBack : eventWord(words, end)}{" "}
              <span className="faint">
                <Clock at={end.at} />
              </span>
            </>
          ) : started ? (
            words.running
          ) : (
            words.queued
          )}
        </dd>
      </dl>
      {error?.message && <p className="error-line">{error.message}</p>}
    </li>
  );
}
