/** The slider over a job's history. Every event is a step, every attempt a stretch of it. */

import { type KeyboardEvent, useEffect, useEffectEvent, useState } from "react";
import type { JobEvent } from "../api";
import { useNow } from "../clock";
import { ago, clock, exactTime } from "../format";
import { eventWord, useWords } from "../words";
import { Copy } from "./copy";
import { Icon, type IconName } from "./icons";

interface ScrubberProps {
  events: JobEvent[];
  seq: number;
  /** Whether it stands at the end and moves on with it. */
  follows: boolean;
  active: boolean;
  onMove: (seq: number) => void;
}

export function Scrubber({ events, seq, follows, active, onMove }: ScrubberProps) {
  const words = useWords();
  const last = events.length;
  const event = events[seq - 1];
  const move = (to: number) => onMove(Math.min(last, Math.max(1, to)));
  const { playing, toggle, stop } = usePlaying(events, seq, move);
  const step = (to: number) => {
    stop();
    move(to);
  };
  useArrowKeys(seq, last, step);
  if (!event) return null;

  return (
    <section className="scrubber" aria-label={words.historyTitle}>
      <div className="scrubber-head">
        <Moment event={event} last={last} />
        <div className="scrubber-buttons">
          {follows && active ? (
            <span className="now-chip">
              <i aria-hidden="true" /> {words.now}
            </span>
          ) : (
            !follows && (
              <button type="button" className="button button-small" onClick={() => step(last)}>
                {words.toNow}
              </button>
            )
          )}
          <Step icon="first" label={words.first} onPress={() => step(1)} disabled={seq === 1} />
          <Step icon="previous" label={words.previous} onPress={() => step(seq - 1)} disabled={seq === 1} />
          <Step
            icon={playing ? "stop" : "play"}
            label={playing ? words.stop : words.play}
            onPress={toggle}
            disabled={last < 2}
          />
          <Step icon="next" label={words.next} onPress={() => step(seq + 1)} disabled={seq === last} />
          <Step icon="last" label={words.last} onPress={() => step(last)} disabled={seq === last} />
          <Copy label={words.shareHint} icon="link" text={() => linkTo(seq)} />
        </div>
      </div>
      <div className="track">
        <Stretches events={events} seq={seq} />
        <Ticks events={events} seq={seq} />
        <input
          type="range"
          min={1}
          max={Math.max(2, last)}
          step={1}
          value={seq}
          disabled={last < 2}
          aria-label={words.slider}
          aria-valuetext={`${words.eventOf(seq, last)}: ${eventWord(words, event)}, ${exactTime(event.at, words.language)}`}
          onChange={(change) => step(Number(change.target.value))}
        />
      </div>
      <p className="keys faint">{words.keysHint}</p>
    </section>
  );
}

function linkTo(seq: number): string {
  const address = new URL(window.location.href);
  address.searchParams.set("seq", String(seq));
  return address.href;
}

function Moment({ event, last }: { event: JobEvent; last: number }) {
  const words = useWords();
  return (
    <div className={`moment event-${event.type}`}>
      <Icon name={event.type as IconName} size={20} />
      <div>
        <p className="moment-title">
          <b>{eventWord(words, event)}</b> <span className="faint numbers">{words.eventOf(event.seq, last)}</span>
        </p>
        <p className="faint">
          <time dateTime={event.at}>{exactTime(event.at, words.language)}</time>
          <span className="moment-ago"> · {ago(event.at, useNow(), words.language)}</span>
        </p>
      </div>
    </div>
  );
}

function Step({
  icon,
  label,
  onPress,
  disabled,
}: {
  icon: IconName;
  label: string;
  onPress: () => void;
  disabled: boolean;
}) {
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={label}
      title={label}
      onClick={onPress}
      disabled={disabled}
    >
      <Icon name={icon} />
    </button>
  );
}

const share = (index: number, count: number) => (count > 1 ? (index / (count - 1)) * 100 : 0);

function Stretches({ events, seq }: { events: JobEvent[]; seq: number }) {
  const words = useWords();
  const begins = events.flatMap((event, index) => (event.attempt !== events[index - 1]?.attempt ? index : []));
  if (begins.length < 2) return null;
  return (
    <div className="stretches" aria-hidden="true">
      {begins.map((begin, index) => {
        const next = begins[index + 1] ?? events.length;
        const here = seq > begin && seq <= next;
        // From half-way after the event before to half-way before the event after: so one that has but begun has room too.
        const left = share(Math.max(0, begin - 0.5), events.length);
        const width = share(Math.min(events.length - 1, next - 0.5), events.length) - left;
        return (
          <span
            key={begin}
            className={here ? "here" : ""}
            style={{ left: `${left}%`, width: `${width}%` }}
            title={words.attemptNumber(index + 1)}
          >
            <b className="stretch-whole">{words.attemptNumber(index + 1)}</b>
            <b className="stretch-short">{index + 1}</b>
          </span>
        );
      })}
    </div>
  );
}

const MOST_TICKS = 240;

function Ticks({ events, seq }: { events: JobEvent[]; seq: number }) {
  const crowded = events.length > MOST_TICKS;
  return (
    <div className="ticks" aria-hidden="true">
      <span className="ticks-done" style={{ width: `${share(seq - 1, events.length)}%` }} />
      {events.map((event, index) =>
        crowded && event.type === "progress" ? null : (
          <i
            key={event.seq}
            className={`tick-mark tick-${event.type}${event.seq <= seq ? " tick-past" : ""}`}
            style={{ left: `${share(index, events.length)}%` }}
          />
        ),
      )}
    </div>
  );
}

// Moving ----------------------------------------------------------------------------------------------------------------------

/** The arrow keys work wherever one stands on the screen, but for where they mean something already. */
function useArrowKeys(seq: number, last: number, step: (to: number) => void) {
  const pressed = useEffectEvent((event: globalThis.KeyboardEvent | KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    const target = event.target as HTMLElement;
    if (target.closest("input, textarea, select, dialog, details[open] .menu-body, [contenteditable]")) return;
    const to = { ArrowLeft: seq - 1, ArrowRight: seq + 1, Home: 1, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    step(to);
  });
  useEffect(() => {
    const listen = (event: globalThis.KeyboardEvent) => pressed(event);
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);
}

const WHOLE_PLAY = 20_000;

/** Event after event, by itself: slowly for few, and for many so that all of it takes no longer than `WHOLE_PLAY`. */
function usePlaying(events: JobEvent[], seq: number, move: (to: number) => void) {
  const [playing, setPlaying] = useState(false);
  const last = events.length;
  const next = useEffectEvent(() => {
    if (seq >= last) setPlaying(false);
    else move(seq + 1);
  });
  useEffect(() => {
    if (!playing) return;
    const timer = setInterval(() => next(), Math.min(900, Math.max(80, WHOLE_PLAY / last)));
    return () => clearInterval(timer);
  }, [playing, last]);

  function toggle() {
    if (!playing && seq >= last) move(1);
    setPlaying(!playing);
  }
  return { playing, toggle, stop: () => setPlaying(false) };
}

/** Only the time of day: in a timeline the day is the same nearly always. */
export function Clock({ at }: { at: string }) {
  const { language } = useWords();
  return (
    <time dateTime={at} title={exactTime(at, language)}>
      {clock(at, language)}
    </time>
  );
}
