/** The workers: which are alive, and the jobs that they run. */

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { listWorkers, type Worker } from "../../api";
import { ago, shortId } from "../../format";
import { useNow } from "../../live/clock";
import { Icon } from "../../parts/icons";
import { Loading, Plate, ProblemPlate } from "../../parts/states";
import { Ago } from "../../parts/time";
import { Link } from "../../route";
import { useWords } from "../../words/words";

export function Workers() {
  const words = useWords();
  const [all, setAll] = useState(false);
  const listing = useQuery({
    queryKey: ["workers"],
    queryFn: ({ signal }) => listWorkers(signal),
    refetchInterval: 3_000,
  });
  const workers = listing.data ?? [];
  const present = workers.filter(({ state }) => state !== "gone");
  const gone = workers.length - present.length;
  return (
    <section className="section" aria-labelledby="workers-heading">
      <div className="section-head">
        <h2 id="workers-heading">{words.workers}</h2>
        {listing.data && <span className="count">{present.length}</span>}
      </div>
      {!listing.data &&
        (listing.error ? (
          <ProblemPlate error={listing.error} again={() => void listing.refetch()} />
        ) : (
          <Loading rows={2} tall />
        ))}
      {listing.data && present.length === 0 && (
        <Plate icon="worker" title={words.noWorkers}>
          {words.noWorkersText}
        </Plate>
      )}
      <ul className="workers">
        {(all ? workers : present).map((worker) => (
          <WorkerCard key={worker.id} worker={worker} />
        ))}
      </ul>
      {gone > 0 && !all && (
        <button type="button" className="link" onClick={() => setAll(true)}>
          {words.showGone(gone)}
        </button>
      )}
    </section>
  );
}

function WorkerCard({ worker }: { worker: Worker }) {
  const words = useWords();
  const now = useNow();
  return (
    <li className="card worker">
      <div className="type-head">
        <div>
          <h3>
            {worker.host} <span className="faint">#{worker.pid}</span>
          </h3>
          <code className="faint">{worker.id}</code>
        </div>
        <span className={`state-chip state-${worker.state}`}>
          <i aria-hidden="true" /> {words[worker.state]}
        </span>
      </div>
      <p className="faint">
        {words.startedWhen(ago(worker.startedAt, now, words.language))} ·{" "}
        {words.lastSeen(ago(worker.lastSeen, now, words.language))} · {words.slots(worker.jobs.length, worker.slots)}
      </p>
      {worker.stuck.length > 0 && (
        <p className="error-line">
          <Icon name="warn" />
          <span>
            {words.stuck}:{" "}
            {worker.stuck.map((stuck) => (
              <Link key={`${stuck.jobId}:${stuck.attempt}`} to={`/jobs/${stuck.jobId}`}>
                {stuck.type} <code>{shortId(stuck.jobId)}</code>{" "}
              </Link>
            ))}
          </span>
        </p>
      )}
      {worker.jobs.length === 0 && worker.state === "alive" && <p className="faint">{words.idle}</p>}
      <ul className="worker-jobs">
        {worker.jobs.map((job) => (
          <li key={job.id}>
            <Icon name="processing" size={14} />
            <Link to={`/jobs/${job.id}`}>
              {job.type} <code>{shortId(job.id)}</code>
            </Link>
            <span className="faint">
              {words.attemptNumber(job.attempt)} · <Ago at={job.startedAt} />
            </span>
          </li>
        ))}
      </ul>
    </li>
  );
}
