/** One of the two syncs: the button that starts it, and the progress of its current jobs. */

import { useMutation, useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { type Job, listRooms, Refused } from "../../api";
import { useToasts } from "../../frame/toasts";
import { ProgressCard } from "../../job/progress";
import { useCurrentJobs, useJob } from "../../job/queries";
import { Icon } from "../../parts/icons";
import { Loading, Mishap } from "../../parts/states";
import { useWords } from "../../words/words";
import { ROOMS } from "./rooms";

export function SyncCard({
  type,
  title,
  text,
  start,
  first,
}: {
  type: string;
  title: string;
  text: string;
  start: () => Promise<{ jobId: string }>;
  /** What to do before, if something is missing. */
  first?: string | undefined;
}) {
  const words = useWords();
  const { watch } = useToasts();
  const { jobs, data, error, isPending, refresh } = useCurrentJobs(type);
  const starting = useMutation({
    mutationFn: start,
    onSuccess: ({ jobId }) => {
      watch(jobId);
      refresh();
    },
  });
  // An error of a start says nothing about a job that was started since.
  const newest = jobs[0]?.id;
  const { reset } = starting;
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when another job is the newest.
  useEffect(reset, [newest]);
  return (
    <section className="card sync" aria-label={title}>
      <div className="sync-head">
        <div>
          <h2>{title}</h2>
          <p className="faint">{text}</p>
        </div>
        <button
          type="button"
          className="button button-main"
          disabled={starting.isPending}
          onClick={() => starting.mutate()}
        >
          <Icon name="sync" /> {starting.isPending ? words.syncing : title}
        </button>
      </div>
      {starting.error && <StartError error={starting.error} />}
      {first && (
        <p className="note" role="status">
          <Icon name="info" /> {first}
        </p>
      )}
      {isPending && <Loading rows={1} tall />}
      {!data && error && <Mishap error={error} />}
      {data && jobs.length === 0 && <p className="sync-never faint">{words.neverSynced}</p>}
      {jobs.map((job) => (
        <CurrentJob key={job.id} job={job} title={title} />
      ))}
    </section>
  );
}

function CurrentJob({ job, title }: { job: Job; title: string }) {
  const words = useWords();
  const { data } = useJob(job.id);
  const { data: rooms } = useQuery({ queryKey: ROOMS, queryFn: ({ signal }) => listRooms(signal) });
  const shown = data ?? job;
  const roomId = (shown.payload as { roomId?: string } | null)?.roomId;
  const name = roomId && (rooms?.find((room) => room.roomId === roomId)?.name ?? roomId);
  return (
    <>
      {name && <p className="sync-of faint">{`${words.room}: ${name}`}</p>}
      <ProgressCard job={shown} title={title} />
    </>
  );
}

function StartError({ error }: { error: Error }) {
  const words = useWords();
  if (error instanceof Refused && error.status === 400) {
    return (
      <p className="mishap" role="alert">
        <Icon name="warn" /> {words.noToken}
      </p>
    );
  }
  return <Mishap error={error} />;
}
