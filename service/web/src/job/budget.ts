/** Chatwork's request budget: what a sync waits for, and the time that it still needs.
 *
 * A sync sends about one request for each room, so the budget, not the pace, decides how long thousands of rooms take. */

import { useQuery } from "@tanstack/react-query";
import { type Budget, chatworkBudget, type Job } from "../api";
import { useSession } from "../session";

/** What the progress of a sync says while it waits. At most `limit` requests are allowed in any `window` seconds. */
export interface LimitWait {
  until: string;
  limit: number;
  window: number;
}

/** Reads `{waiting: {for: "chatwork_limit", until, limit, window}}` from a result. */
export function limitWaitOf(result: unknown): LimitWait | null {
  const { waiting } = (result ?? {}) as { waiting?: Record<string, unknown> };
  if (waiting?.for !== "chatwork_limit" || typeof waiting.until !== "string") return null;
  if (Number.isNaN(Date.parse(waiting.until))) return null;
  return { until: waiting.until, limit: Number(waiting.limit) || 300, window: Number(waiting.window) || 300 };
}

/** Milliseconds that `requests` need while the budget is used up: until `until`, and a window more for each further `limit`. */
export function leftWhileWaiting(requests: number, { until, limit, window }: LimitWait, now: number): number {
  if (requests <= 0) return 0;
  return Math.max(0, Date.parse(until) - now) + Math.floor((requests - 1) / limit) * window * 1_000;
}

/** Milliseconds that the budget makes `requests` take; 0 if it has room for all of them. */
export function leftByBudget(requests: number, budget: Budget, now: number): number {
  const { limit, window, used, nextFreeAt, blockedUntil } = budget;
  const until = blockedUntil ?? nextFreeAt ?? new Date(now + window * 1_000).toISOString();
  const free = blockedUntil ? 0 : Math.max(0, limit - used);
  return requests <= free ? 0 : leftWhileWaiting(requests - free, { until, limit, window }, now);
}

const EVERY = 5_000;

/** The budget, while a message sync runs. Employees may not read it, and run no sync. */
export function useBudget(job: Job): Budget | null {
  const { readsAll } = useSession();
  const { data } = useQuery({
    queryKey: ["chatwork-budget"],
    queryFn: ({ signal }) => chatworkBudget(signal),
    enabled: readsAll && job.type === "chatwork_messages_sync" && job.status === "processing",
    refetchInterval: EVERY,
  });
  return data ?? null;
}
