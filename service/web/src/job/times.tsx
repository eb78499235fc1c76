/** How long a job waited and how long it ran, never added up. */

import type { Job } from "../api";
import { duration } from "../format";
import { useNow } from "../live/clock";
import { useWords } from "../words/words";
import { timesOf } from "./facts";

/** Shorter waits are not worth a word. */
const WORTH_A_WORD = 1_000;

export function Times({ job }: { job: Job }) {
  const words = useWords();
  const { waited, ran } = timesOf(job, useNow());
  const waits = job.status === "queued";
  return (
    <>
      {ran !== null && (
        <span>
          {words.ran} {duration(ran, words.language)}
        </span>
      )}
      {(waits || waited >= WORTH_A_WORD) && (
        <span className="times-waited">
          {words.waited} {duration(waited, words.language)}
        </span>
      )}
    </>
  );
}
