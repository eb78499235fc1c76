/** What changes, as it changes. One stream for the whole page tells which jobs moved; what is needed to redraw them is then
 * fetched, many at once. While no stream can be had, everything that is shown is asked for every two seconds. */

import { QueryClient } from "@tanstack/react-query";
import { useEffect, useEffectEvent, useSyncExternalStore } from "react";
import { type Change, type Job, jobsByIds, MOST_IDS, openStream, Refused, Unreachable } from "../api";
import { follow, type LiveState, type Message } from "./stream";

const POLL_EVERY = 2_000;
const GATHER_FOR = 300;
const MOST_REMEMBERED = 5_000;

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (failures, error) => failures < 3 && isPassing(error),
      retryDelay: (failures) => Math.min(8_000, 500 * 2 ** failures),
      networkMode: "always",
    },
    mutations: { networkMode: "always" },
  },
});

/** Worth trying again: it was not the request's fault. */
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
    // What the stream could not tell us while it was away, we ask for once; and what is no job's, it never tells.
    if (wasAway) {
      tick();
      void queries.refetchQueries({ type: "active", stale: true });
    }
  }
}

function hear(messages: Message[]) {
  // We were away for too long to be told everything.
  if (messages.some(({ event }) => event === "reset")) tick();
  const changes = messages.flatMap((message) =>
    message.event === "change" ? (JSON.parse(message.data) as Change) : [],
  );
  const news = changes.filter(isNew);
  if (news.length === 0) return;
  for (const change of news) if (isShown(change.jobId)) freshen([change.jobId]);
  for (const listener of changeListeners) listener(news);
}

/** The stream may tell a thing twice. A lower seq is news too: one that was too high may have been untrue. */
function isNew({ jobId, seq }: Change): boolean {
  if (known.get(jobId) === seq) return false;
  known.delete(jobId);
  known.set(jobId, seq);
  if (known.size > MOST_REMEMBERED) for (const oldest of known.keys()) if (known.delete(oldest)) break;
  return true;
}

function tick() {
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

/** `listener` is called with every change that the stream tells. */
export function useChanges(listener: (changes: Change[]) => void) {
  useListening(changeListeners, listener);
}

/** `listener` is called when it should look for itself: every two seconds without a stream, and once when it is back. */
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

/** Fetches these jobs soon, together with whatever else is wanted by then. */
export function freshen(ids: Iterable<string>) {
  for (const id of ids) wanted.add(id);
  if (wanted.size > 0 && gathering === undefined) gathering = setTimeout(fetchWanted, GATHER_FOR);
}

async function fetchWanted() {
  const ids = [...wanted].slice(0, MOST_IDS);
  for (const id of ids) wanted.delete(id);
  try {
    if (ids.length > 0 && stop) arrive(await jobsByIds(ids));
  } catch (error) {
    if (stop && isPassing(error)) for (const id of ids) wanted.add(id);
  } finally {
    // Only now the next round: under a flood of changes there is one question at a time, each for more jobs.
    gathering = undefined;
    freshen([]);
  }
}

/** Jobs as they were just read: everything that shows them is redrawn. */
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
