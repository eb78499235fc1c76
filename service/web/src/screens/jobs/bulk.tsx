/** Cancels or retries many jobs, after showing how many they are. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type BulkAction, type BulkAnswer, bulk, type JobFilter } from "../../api";
import { shortId } from "../../format";
import { useToasts } from "../../frame/toasts";
import { freshen } from "../../live/live";
import { Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icons";
import { Mishap } from "../../parts/states";
import { refusalText } from "../../refusals/refusals";
import { useWords } from "../../words/words";

const MOST_AT_ONCE = 1_000;
const MOST_IDS_SHOWN = 20;

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
  const expected = preview.data?.refused ?? [];
  const matched = preview.data?.matched ?? 0;
  const wanted = matched - expected.length;
  const outside = "ids" in asked ? asked.ids.length - matched : 0;
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
              {wanted === 0
                ? words.bulkNothing
                : (cancels ? words.bulkCancelCount : words.bulkRetryCount)(wanted, preview.data.more)}
            </p>
            {outside > 0 && <p>{(cancels ? words.bulkCancelOutside : words.bulkRetryOutside)(outside)}</p>}
            <Reasons refused={expected} />
            <p className="faint">{cancels ? words.bulkCancelRest : words.bulkRetryRest}</p>
            {(preview.data.more || cut) && <p className="faint">{words.bulkMore}</p>}
          </>
        )}
        {refused.length > 0 && (
          <>
            <p className="dialog-main">{words.bulkRefused(refused.length)}</p>
            <Reasons refused={refused} />
          </>
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
              disabled={wanted === 0 || preview.isFetching || acting.isPending}
            >
              {(cancels ? words.bulkCancelDo : words.bulkRetryDo)(Math.min(wanted, MOST_AT_ONCE))}
            </button>
          </>
        )}
      </form>
    </Dialog>
  );
}

/** Why jobs are refused, each reason once with its jobs. */
function Reasons({ refused }: { refused: BulkAnswer["refused"] }) {
  const words = useWords();
  const byReason = new Map<string, string[]>();
  for (const { jobId, detail } of refused) {
    const reason = refusalText(words, detail);
    byReason.set(reason, [...(byReason.get(reason) ?? []), shortId(jobId)]);
  }
  return (
    <ul className="refused">
      {[...byReason].map(([reason, ids]) => (
        <li key={reason}>
          <Icon name="warn" size={14} /> {words.bulkWhy(ids.length, reason)}{" "}
          <code className="faint">
            {ids.slice(0, MOST_IDS_SHOWN).join(" ")}
            {ids.length > MOST_IDS_SHOWN && " …"}
          </code>
        </li>
      ))}
    </ul>
  );
}
