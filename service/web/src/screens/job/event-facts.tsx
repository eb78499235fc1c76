/** What the log holds about the chosen event beside its data: position, request and cause. And its proof as a file. */

import { useMutation } from "@tanstack/react-query";
import { downloadProof, type JobEvent } from "../../api";
import { number } from "../../format";
import { CauseLink } from "../../job/cause";
import { Copy } from "../../parts/copy";
import { Icon } from "../../parts/icons";
import { Mishap } from "../../parts/states";
import { useWords } from "../../words/words";

export function EventFacts({ event }: { event: JobEvent }) {
  const words = useWords();
  return (
    <section className="event-facts" aria-label={words.eventFacts}>
      <dl>
        <div>
          <dt>{words.position}</dt>
          <dd>{event.position === null ? words.positionPending : number(event.position, words.language)}</dd>
        </div>
        <div>
          <dt>{words.causedBy}</dt>
          <dd>{event.cause === null ? words.noCause : <CauseLink cause={event.cause} jobId={event.jobId} />}</dd>
        </div>
        {event.requestId !== null && (
          <div>
            <dt>{words.requestId}</dt>
            <dd>
              <code>{event.requestId}</code>
              <Copy label={words.copyWhat(words.requestId)} text={() => event.requestId ?? ""} />
            </dd>
          </div>
        )}
      </dl>
      <Proof event={event} />
    </section>
  );
}

function Proof({ event }: { event: JobEvent }) {
  const words = useWords();
  const proof = useMutation({ mutationFn: () => downloadProof(event.jobId, event.seq) });
  return (
    <div className="event-proof">
      <button
        type="button"
        className="button button-small"
        title={words.proofHint}
        disabled={proof.isPending}
        onClick={() => proof.mutate()}
      >
        <Icon name="download" /> {words.proof}
      </button>
      {proof.error && <Mishap error={proof.error} />}
    </div>
  );
}
