/** Cancels or retries many jobs, after showing how many they are. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type BulkAction, type BulkAnswer, bulk, type JobFilter } from "../../api";
import { useToasts } from "../../frame/toasts";
import { freshen } from "../../live/live";
import { Dialog } from "../../parts/dialog";
import { Mishap } from "../../parts/states";
import { refusalText } from "../../refusals/refusals";
import { useWords } from "../../words/words";

const MOST_AT_ONCE = 1_000;

interface BulkProps {
  action: BulkAction;
  chosen: { ids: string[] } | { filter: JobFilter };
  onClose: () => void;
  onDone: () => void;
}

export function BulkDialog({ action, chosen, onClose, onDone }: BulkProps) {
  const words = useWords();
  const queries = useQueryClient();
  const { say } = useToasts();
  const [done, setDone] = useState(0);
  const [refused, setRefused] = useState<BulkAnswer["refused"]>([]);
  const cancels = action === "cancel";
  const asked = "ids" in chosen ? { ids: chosen.ids.slice(0, MOST_AT_ONCE) } : chosen;
  const preview = useQuery({
    queryKey: ["bulk", action, asked, done],
    queryFn: () => bulk(action, asked, true),
    staleTime: 0,
    gcTime: 0,
  });
  const acting = useMutation({
    mutationFn: () => bulk(action, asked, false),
    onSuccess: (answer) => {
      say((cancels ? words.bulkCanceled : words.bulkRetried)(answer.done), "good");
      void queries.invalidateQueries({ queryKey: ["counts"] });
      if ("ids" in asked) freshen(asked.ids);
      setRefused(answer.refused);
      if (answer.more) setDone((before) => before + answer.done);
      else if (answer.refused.length === 0) onDone();
    },
  });
  const cut = "ids" in chosen && chosen.ids.length > MOST_AT_ONCE;
  const matched = preview.data?.matched ?? 0;
  const finished = acting.data !== undefined && !acting.data.more;

  function submit(event: FormEvent) {
    event.preventDefault();
    if (finished) onDone();
    else acting.mutate();
  }

  return (
    <Dialog title={cancels ? words.bulkCancelTitle : words.bulkRetryTitle} onClose={finished ? onDone : onClose}>
      <div aria-live="polite">
        {preview.isFetching && <p>{words.counting}</p>}
        {preview.error && <Mishap error={preview.error} />}
        {preview.data && !preview.isFetching && !finished && (
          <>
            <p className="dialog-main">
              {matched === 0
                ? words.bulkNothing
                : (cancels ? words.bulkCancelCount : words.bulkRetryCount)(matched, preview.data.more)}
            </p>
            <p className="faint">{cancels ? words.bulkCancelRest : words.bulkRetryRest}</p>
            {(preview.data.more || cut) && <p className="faint">{words.bulkMore}</p>}
          </>
        )}
        {refused.length > 0 && (
          <details className="refused">
            <summary>{words.bulkRefused(refused.length)}</summary>
            <ul>
              {refused.map(({ jobId, detail }) => (
                <li key={jobId}>
                  <code>{jobId.slice(-8)}</code> {refusalText(words, detail)}
                </li>
              ))}
            </ul>
          </details>
        )}
        {done > 0 && <p>{words.bulkLeft}</p>}
        {acting.error && <Mishap error={acting.error} />}
      </div>
      <form className="dialog-buttons" onSubmit={submit}>
        {finished ? (
          <button type="submit" className="button button-main">
            {words.close}
          </button>
        ) : (
          <>
            <button type="button" className="button" onClick={onClose}>
              {words.abort}
            </button>
            <button
              type="submit"
              className={`button ${cancels ? "button-bad" : "button-main"}`}
              disabled={matched === 0 || preview.isFetching || acting.isPending}
            >
              {(cancels ? words.bulkCancelDo : words.bulkRetryDo)(Math.min(matched, MOST_AT_ONCE))}
            </button>
          </>
        )}
      </form>
    </Dialog>
  );
}
