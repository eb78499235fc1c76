/** The reason that a queued job has not started. */

import { useQuery } from "@tanstack/react-query";
import { type Job, type Waiting, whyWaiting } from "../api";
import { fromNow, minuteTime } from "../format";
import { useNow } from "../live/clock";
import { useWords, type Words } from "../words/words";

const EVERY = 3_000;

interface Reason {
  text: string;
  /** The job waits until somebody does something. */
  warns: boolean;
}

export function useReason(job: Job): Reason | null {
  const words = useWords();
  const now = useNow();
  const { data } = useQuery({
    queryKey: ["waiting", job.id, job.seq],
    queryFn: ({ signal }) => whyWaiting(job.id, signal),
    refetchInterval: EVERY,
  });
  if (!data) return null;
  return { text: reasonText(words, data, job, now), warns: data.reason === "paused" || data.reason === "no_worker" };
}

function reasonText(words: Words, waiting: Waiting, job: Job, now: number): string {
  switch (waiting.reason) {
    case "retry_at": {
      if (Date.parse(waiting.runAt) - now < 1_000) return words.waitSoon;
      const when = fromNow(waiting.runAt, now, words.language);
      return job.attempt > 1 ? words.waitRetry(when) : words.waitDelayed(when);
    }
    case "paused":
      return waiting.pausedUntil
        ? words.waitPausedUntil(minuteTime(waiting.pausedUntil, words.language))
        : words.waitPaused;
    case "no_worker":
      return words.waitNoWorker;
    default:
      return waiting.ahead === 0 ? words.waitNext(waiting.workers) : words.waitLine(waiting.ahead, waiting.workers);
  }
}
