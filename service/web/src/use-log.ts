/** The whole log, read from its end: newer events as they come, older ones on demand. */

import { useEffect, useRef, useState } from "react";
import { type JobEvent, type LogFilter, latestLog, logAfter } from "./api";
import { useChanges, useTick } from "./live";

const FIRST = 100;
const AT_ONCE = 500;
/** Events get their position shortly after they happened; asking at once would find nothing yet. */
const SOON = 700;
const WIDEST = 100_000;

export interface Log {
  /** Oldest first. */
  events: JobEvent[];
  loading: boolean;
  error: Error | null;
  /** Nothing older is there. */
  complete: boolean;
  olderLoading: boolean;
  older: () => void;
  again: () => void;
}

export function useLog(filter: LogFilter): Log {
  const [events, setEvents] = useState<JobEvent[] | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const [complete, setComplete] = useState(false);
  const [olderLoading, setOlderLoading] = useState(false);
  const [round, setRound] = useState(0);
  const held = useRef(events);
  held.current = events;
  const asking = useRef(false);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const key = JSON.stringify(filter);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the key is the filter
  useEffect(() => {
    const gone = new AbortController();
    setEvents(null);
    setError(null);
    latestLog(filter, FIRST, gone.signal)
      .then((latest) => {
        setEvents(latest);
        setComplete(latest.length < FIRST || latest[0]?.position === 1);
      })
      .catch((failed: Error) => {
        if (!gone.signal.aborted) setError(failed);
      });
    return () => {
      gone.abort();
      clearTimeout(timer.current);
      timer.current = undefined;
    };
  }, [key, round]);

  async function newer() {
    const known = held.current;
    if (!known || asking.current) return;
    asking.current = true;
    try {
      const after = known.at(-1)?.position ?? 0;
      const news = after ? await logAfter(filter, after, AT_ONCE) : await latestLog(filter, FIRST);
      setEvents((before) => (before === null ? before : joinedNewer(before, news)));
      if (news.length === AT_ONCE) soon();
    } catch {
      // The next change, or the next tick, asks again.
    } finally {
      asking.current = false;
    }
  }

  function soon() {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      void newer();
    }, SOON);
  }

  useChanges(soon);
  useTick(() => void newer());

  async function older() {
    const first = held.current?.[0]?.position;
    if (!first || olderLoading) return;
    setOlderLoading(true);
    try {
      const found = await olderThan(filter, first);
      setEvents((before) => before && [...found.events, ...before]);
      setComplete(found.complete);
    } catch (failed) {
      setError(failed as Error);
    } finally {
      setOlderLoading(false);
    }
  }

  return {
    events: events ?? [],
    loading: events === null,
    error,
    complete,
    olderLoading,
    older: () => void older(),
    again: () => setRound(round + 1),
  };
}

export function joinedNewer(held: JobEvent[], news: JobEvent[]): JobEvent[] {
  const last = held.at(-1)?.position ?? 0;
  const fresh = news.filter(({ position }) => (position ?? 0) > last);
  return fresh.length ? [...held, ...fresh] : held;
}

/** The log is read forwards only. Its positions have no gaps, so what stands before one can be asked for all the same: a stretch
 * that ends there, and a longer one where a filter leaves nothing of it. */
async function olderThan(filter: LogFilter, before: number): Promise<{ events: JobEvent[]; complete: boolean }> {
  for (let width = AT_ONCE; ; width = Math.min(WIDEST, width * 4)) {
    const after = Math.max(0, before - 1 - width);
    const events = await allBetween(filter, after, before);
    if (events.length > 0 || after === 0) return { events, complete: after === 0 };
  }
}

async function allBetween(filter: LogFilter, after: number, before: number): Promise<JobEvent[]> {
  const found: JobEvent[] = [];
  for (let from = after; ; ) {
    const page = await logAfter(filter, from, AT_ONCE);
    const mine = page.filter(({ position }) => (position ?? 0) < before);
    found.push(...mine);
    if (mine.length < AT_ONCE) return found;
    from = page.at(-1)?.position ?? before;
  }
}
