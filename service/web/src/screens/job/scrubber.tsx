/** The slider over a history. Each event is a step, each attempt a stretch. */

import type { JobEvent } from "../../api";
import { ago, exactTime } from "../../format";
import { eventWord } from "../../job/naming";
import { useNow } from "../../live/clock";
import { Copy } from "../../parts/copy";
import { Icon, type IconName } from "../../parts/icons";
import { useWords } from "../../words/words";
import { useArrowKeys, usePlaying } from "./stepping";
import { Stretches, Ticks } from "./track";

interface ScrubberProps {
  events: JobEvent[];
  seq: number;
  /** Whether the slider stays at the newest event. */
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
