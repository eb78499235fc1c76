/** Live changes. One stream for the whole page names the jobs that changed; the page then fetches those that it shows, many in one
 * request. Without a stream it polls everything that it shows every two seconds. */

import { QueryClient } from "@tanstack/react-query";
import { useEffect, useEffectEvent, useSyncExternalStore } from "react";
import { type Change, type Job, jobsByIds, MOST_IDS, openStream, Refused, refusedFor, Unreachable } from "../api";
import { follow, type LiveState, type Message } from "./stream";

const POLL_EVERY = 2_000;
const GATHER_FOR = 300;
const LONGEST_RETRY = 8_000;
const MOST_REMEMBERED = 5_000;

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // If the service refuses requests for longer than this, the reader is told at once.
      retry: (failures, error) => failures < 3 && isPassing(error) && refusedFor() <= LONGEST_RETRY,
      retryDelay: (failures) => Math.max(refusedFor(), Math.min(LONGEST_RETRY, 500 * 2 ** failures)),
      networkMode: "always",
    },
    mutations: { networkMode: "always" },
  },
});

/** Whether another try may succeed: no answer, 503 or 429. */
export function isPassing(error: unknown): boolean {
  return error instanceof Unreachable || (error instanceof Refused && (error.status === 503 || error.status === 429));
}

// The stream ------------------------------------------------------------------------------------------------------------------

let state: LiveState = "connecting";
let stop: (() => void) | null = null;
let poll: ReturnType<typeof setInterval> | undefined;
const stateListeners = new Set<() => void>();
const changeListeners = new Set<(changes: Change[]) => void>();
const tickListeners = new Set<() => void>();
const known = new Map<string, number>();

export function startLive() {
  stop ??= follow({ open: (lastId, signal) => openStream(null, lastId, signal), onMessages: hear, onState: become });
}

export function stopLive() {
  stop?.();
  stop = null;
  known.clear();
  wanted.clear();
  clearInterval(poll);
  poll = undefined;
}

function become(next: LiveState) {
  const wasAway = state === "polling" || state === "reconnecting";
  state = next;
  for (const listener of stateListeners) listener();
  if (next === "polling") poll ??= setInterval(tick, POLL_EVERY);
  if (next === "live") {
    clearInterval(poll);
    poll = undefined;
    // Changes may have been missed while the stream was down, and the stream tells only of jobs. So ask for everything once.
    if (wasAway) {
      tick();
      void queries.refetchQueries({ type: "active", stale: true });
    }
  }
}

function hear(messages: Message[]) {
  // The service no longer has all changes since the last one that we saw.
  if (messages.some(({ event }) => event === "reset")) tick();
  const changes = messages.flatMap((message) =>
    message.event === "change" ? (JSON.parse(message.data) as Change) : [],
  );
  const news = changes.filter(isNew);
  if (news.length === 0) return;
  for (const change of news) if (isShown(change.jobId)) freshen([change.jobId]);
  for (const listener of changeListeners) listener(news);
}

/** The stream may repeat a change. A lower seq also counts as new, because a higher one may have been false. */
function isNew({ jobId, seq }: Change): boolean {
  if (known.get(jobId) === seq) return false;
  known.delete(jobId);
  known.set(jobId, seq);
  if (known.size > MOST_REMEMBERED) for (const oldest of known.keys()) if (known.delete(oldest)) break;
  return true;
}

function tick() {
  if (refusedFor() > 0) return;
  freshen(shownJobs());
  for (const listener of tickListeners) listener();
}

export function useLiveState(): LiveState {
  return useSyncExternalStore(
    (listener) => {
      stateListeners.add(listener);
      return () => stateListeners.delete(listener);
    },
    () => state,
  );
}

/** Calls `listener` with the changes that the stream brings. */
export function useChanges(listener: (changes: Change[]) => void) {
  useListening(changeListeners, listener);
}

/** Calls `listener` when it should ask the service: every two seconds without a stream, and once when the stream is back. */
export function useTick(listener: () => void) {
  useListening(tickListeners, listener);
}

function useListening<Heard extends unknown[]>(
  listeners: Set<(...heard: Heard) => void>,
  listener: (...heard: Heard) => void,
) {
  const latest = useEffectEvent(listener);
  useEffect(() => {
    const heard = (...what: Heard) => latest(...what);
    listeners.add(heard);
    return () => {
      listeners.delete(heard);
    };
  }, [listeners]);
}

// The jobs that moved ---------------------------------------------------------------------------------------------------------

const jobKey = (id: string) => ["job", id] as const;
const wanted = new Set<string>();
const jobListeners = new Set<(jobs: Job[]) => void>();
let gathering: ReturnType<typeof setTimeout> | undefined;

/** Fetches these jobs within 300 ms, in one request with all others that are wanted by then. */
export function freshen(ids: Iterable<string>) {
  for (const id of ids) wanted.add(id);
  if (wanted.size > 0 && gathering === undefined) {
    gathering = setTimeout(fetchWanted, Math.max(GATHER_FOR, refusedFor()));
  }
}

async function fetchWanted() {
  const ids = [...wanted].slice(0, MOST_IDS);
  for (const id of ids) wanted.delete(id);
  try {
    if (ids.length > 0 && stop) arrive(await jobsByIds(ids));
  } catch (error) {
    if (stop && isPassing(error)) for (const id of ids) wanted.add(id);
  } finally {
    // The next request waits for this one, so many changes make larger requests, not more of them.
    gathering = undefined;
    freshen([]);
  }
}

/** Stores jobs that were just read, and redraws everything that shows them. */
export function arrive(jobs: Job[]) {
  for (const job of jobs) {
    queries.setQueryData<Job>(jobKey(job.id), (held) => (held && held.seq > job.seq ? held : job));
  }
  for (const listener of jobListeners) listener(jobs);
}

export function useArrivals(listener: (jobs: Job[]) => void) {
  useListening(jobListeners, listener);
}

function isShown(id: string): boolean {
  return (
    (queries
      .getQueryCache()
      .find({ queryKey: jobKey(id), exact: true })
      ?.getObserversCount() ?? 0) > 0
  );
}

function shownJobs(): string[] {
  const shown = queries.getQueryCache().findAll({ queryKey: ["job"], type: "active" });
  return shown.flatMap(({ queryKey: [, id] }) => (typeof id === "string" ? id : []));
}
