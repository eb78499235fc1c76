/** Actions on a job, with a message when one came too late. */

import { useMutation } from "@tanstack/react-query";
import { cancelJob, forceFail, getJob, type Job, Refused, retryJob, runAgain } from "../api";
import { useToasts } from "../frame/toasts";
import { arrive } from "../live/live";
import { refusalText } from "../refusals/refusals";
import { go } from "../route";
import { useWords } from "../words/words";
import { statusWord } from "./naming";
import { useTypeWord } from "./types";

function useConflict() {
  const words = useWords();
  const { say, complain } = useToasts();
  /** On a conflict, reads the job again and tells its present status. */
  return async (error: Error, id: string, explain: (job: Job) => string) => {
    if (!(error instanceof Refused) || error.status !== 409) return complain(error);
    try {
      const job = await getJob(id);
      arrive([job]);
      say(explain(job), "bad");
    } catch {
      say(refusalText(words, error.detail), "bad");
    }
  };
}

export function useCancel() {
  const words = useWords();
  const { watch } = useToasts();
  const conflict = useConflict();
  return useMutation({
    mutationFn: cancelJob,
    onSuccess: (job) => {
      watch(job.id);
      arrive([job]);
    },
    onError: (error, id) => conflict(error, id, (job) => words.tooLateToCancel(statusWord(words, job.status))),
  });
}

export function useRetry() {
  const words = useWords();
  const { watch } = useToasts();
  const conflict = useConflict();
  return useMutation({
    mutationFn: retryJob,
    onSuccess: (job) => {
      arrive([job]);
      watch(job.id);
    },
    onError: (error, id) =>
      conflict(error, id, (job) =>
        job.status === "failed" || job.status === "canceled"
          ? words.otherJobActive
          : words.notPossibleNow(statusWord(words, job.status)),
      ),
  });
}

export function useRunAgain() {
  const words = useWords();
  const typeWord = useTypeWord();
  const { watch, say, complain } = useToasts();
  return useMutation({
    mutationFn: (job: Job) => runAgain(job.id),
    onSuccess: ({ jobId }, job) => {
      watch(jobId);
      say(words.accepted(typeWord(job.type)), "quiet");
      go(`/jobs/${jobId}`);
    },
    onError: complain,
  });
}

export function useForceFail() {
  const words = useWords();
  const conflict = useConflict();
  return useMutation({
    mutationFn: ({ id, reason }: { id: string; reason: string }) => forceFail(id, reason),
    onSuccess: (job) => arrive([job]),
    onError: (error, { id }) => conflict(error, id, (job) => words.notPossibleNow(statusWord(words, job.status))),
  });
}
