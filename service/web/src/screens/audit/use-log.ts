/** The log, read from its end: newer events as they come, older ones on request. */

import { useEffect, useReducer, useRef, useState } from "react";
import { type JobEvent, type LogFilter, type LogPage, logAfter, logUntil } from "../../api";
import { useChanges, useTick } from "../../live/live";

const FIRST = 100;
const AT_ONCE = 500;
/** An event gets its position shortly after its commit, so an immediate request would miss it. An older transaction that still runs
 * delays it further, so the log is read once more later. */
const SOON = 700;
const LATER = 3_000;

/** A stretch of the log: all matching events after position `after` up to `until`, oldest first. */
export type Stretch = LogPage;

/** Joins a page to the stretch. The page must touch or overlap the stretch at one end. */
export function joined(held: Stretch, page: LogPage): Stretch {
  const older = page.events.filter((event) => at(event) <= held.searched.after);
  const newer = page.events.filter((event) => at(event) > held.searched.until);
  return {
    events: older.length || newer.length ? [...older, ...held.events, ...newer] : held.events,
    searched: {
      after: Math.min(held.searched.after, page.searched.after),
      until: Math.max(held.searched.until, page.searched.until),
    },
  };
}

const at = (event: JobEvent) => event.position ?? 0;

export interface Log {
  /** Oldest first; null until the first page has arrived. */
  events: JobEvent[] | null;
  error: Error | null;
  /** The beginning of the log is reached. */
  complete: boolean;
  olderLoading: boolean;
  older: () => void;
  again: () => void;
}

export function useLog(filter: LogFilter): Log {
  const [stretch, setStretch] = useState<Stretch | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const [olderLoading, setOlderLoading] = useState(false);
  const [round, again] = useReducer((count: number) => count + 1, 0);
  const held = useRef(stretch);
  held.current = stretch;
  const asking = useRef(false);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const lastLook = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const key = JSON.stringify(filter);
  const asked = useRef(key);
  asked.current = key;

  // biome-ignore lint/correctness/useExhaustiveDependencies: `key` is the filter as text, and `round` asks again.
  useEffect(() => {
    const gone = new AbortController();
    setStretch(null);
    setError(null);
    logUntil(filter, null, FIRST, gone.signal)
      .then(setStretch)
      .catch((failed: Error) => {
        if (!gone.signal.aborted) setError(failed);
      });
    return () => {
      gone.abort();
      clearTimeout(timer.current);
      timer.current = undefined;
      clearTimeout(lastLook.current);
    };
  }, [key, round]);

  /** Drops a page that was requested for an earlier filter. */
  function add(page: LogPage) {
    if (asked.current === key) setStretch((before) => before && joined(before, page));
  }

  async function newer() {
    if (!held.current || asking.current) return;
    asking.current = true;
    try {
      const page = await logAfter(filter, held.current.searched.until, AT_ONCE);
      add(page);
      if (page.events.length === AT_ONCE) soon();
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

  useChanges(() => {
    soon();
    clearTimeout(lastLook.current);
    lastLook.current = setTimeout(() => void newer(), LATER);
  });
  useTick(() => void newer());

  async function older() {
    let until = held.current?.searched.after;
    if (!until || olderLoading) return;
    setOlderLoading(true);
    try {
      for (let found = 0; found === 0 && until > 0 && asked.current === key; ) {
        const page: LogPage = await logUntil(filter, until, AT_ONCE);
        add(page);
        found = page.events.length;
        until = page.searched.after;
      }
    } catch (failed) {
      setError(failed as Error);
    } finally {
      setOlderLoading(false);
    }
  }

  return {
    events: stretch?.events ?? null,
    error,
    complete: stretch?.searched.after === 0,
    olderLoading,
    older: () => void older(),
    again,
  };
}
