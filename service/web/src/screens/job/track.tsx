/** The marks on the slider: attempts above it, events on it. */

import type { JobEvent } from "../../api";
import { useWords } from "../../words/words";

const share = (index: number, count: number) => (count > 1 ? (index / (count - 1)) * 100 : 0);

export function Stretches({ events, seq }: { events: JobEvent[]; seq: number }) {
  const words = useWords();
  const begins = events.flatMap((event, index) => (event.attempt !== events[index - 1]?.attempt ? index : []));
  if (begins.length < 2) return null;
  return (
    <div className="stretches" aria-hidden="true">
      {begins.map((begin, index) => {
        const next = begins[index + 1] ?? events.length;
        const here = seq > begin && seq <= next;
        // Each stretch begins and ends half-way between two events, so an attempt with one event also has a width.
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

export function Ticks({ events, seq }: { events: JobEvent[]; seq: number }) {
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
