/** The history: slider, timeline, the job after the chosen event, attempts. */

import type { Job, JobEvent } from "../../api";
import { isActive } from "../../job/facts";
import { Icon } from "../../parts/icons";
import { Loading, ProblemPlate } from "../../parts/states";
import { addressWith, go, usePlace } from "../../route";
import { useWords } from "../../words/words";
import { Attempts } from "./attempts";
import { EventFacts } from "./event-facts";
import { JobState } from "./job-state";
import { Scrubber } from "./scrubber";
import { Timeline } from "./timeline";
import { useHistory } from "./use-history";

export function History({ job }: { job: Job }) {
  const words = useWords();
  const place = usePlace();
  const history = useHistory(job.id, job);
  const events = history.data;
  const asked = Number(place.query.get("seq"));
  const pinned = Number.isInteger(asked) && asked >= 1;
  if (!events) {
    return history.error ? (
      <ProblemPlate error={history.error} again={() => void history.refetch()} />
    ) : (
      <Loading rows={6} />
    );
  }
  const last = events.length;
  const seq = pinned ? Math.min(asked, last) : last;
  const event = events[seq - 1];
  if (!event) return null;

  const move = (to: number) => go(addressWith(place, { seq: to === last ? null : to }), { replace: true });
  return (
    <>
      {asked > last && (
        <p className="note" role="status">
          <Icon name="info" /> {words.noSuchMoment(asked)}
        </p>
      )}
      <Scrubber events={events} seq={seq} follows={!pinned} active={isActive(job)} onMove={move} />
      <Moments job={job} events={events} event={event} follows={!pinned && isActive(job)} onMove={move} />
      <Attempts job={job} events={events} seq={seq} onChoose={move} />
    </>
  );
}

function Moments({
  job,
  events,
  event,
  follows,
  onMove,
}: {
  job: Job;
  events: JobEvent[];
  event: JobEvent;
  follows: boolean;
  onMove: (seq: number) => void;
}) {
  const words = useWords();
  return (
    <div className="moments">
      <section className="card timeline-card" aria-labelledby="timeline-heading">
        <h2 id="timeline-heading">{words.timeline}</h2>
        <Timeline events={events} seq={event.seq} onChoose={onMove} />
      </section>
      <div className="card state-card">
        <EventFacts event={event} />
        <JobState id={job.id} event={event} last={events.length} follows={follows} />
      </div>
    </div>
  );
}
