import { useMutation } from "@tanstack/react-query";
import { type Job, verifyJob } from "../../api";
import { isShortId, isUuid, number } from "../../format";
import { doneOf } from "../../job/facts";
import { Bar, Pace } from "../../job/progress";
import { useJob } from "../../job/queries";
import { useTypeWord } from "../../job/types";
import { useReason } from "../../job/waiting";
import { Heading } from "../../parts/heading";
import { Icon } from "../../parts/icons";
import { Loading, Meaning, NotFound, ProblemPlate } from "../../parts/states";
import { Link } from "../../route";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { OPERATIONS } from "../audit/tabs";
import { Actions } from "./actions";
import { History } from "./history";
import { RoomResults } from "./room-results";
import { ShortId } from "./short-id";
import { Summary } from "./summary";
import { VerificationOfJob } from "./verify-job";

export function JobScreen({ id }: { id: string }) {
  const words = useWords();
  if (isUuid(id)) return <KnownJob key={id} id={id} />;
  if (isShortId(id)) return <ShortId shortId={id} />;
  return (
    <>
      <Heading title={words.job} />
      <NotFound list="/jobs" />
    </>
  );
}

function KnownJob({ id }: { id: string }) {
  const words = useWords();
  const typeWord = useTypeWord();
  const { data: job, error, refetch } = useJob(id);
  const verifying = useMutation({ mutationFn: () => verifyJob(id) });
  if (!job) {
    return (
      <>
        <Heading title={words.job} />
        {error ? <ProblemPlate error={error} again={() => void refetch()} list="/jobs" /> : <Loading rows={8} />}
      </>
    );
  }
  return (
    <>
      <Link className="crumb" to="/jobs">
        <Icon name="previous" size={14} /> {words.toList}
      </Link>
      <Heading title={typeWord(job.type)} intro={<Summary job={job} />}>
        <Actions job={job} verifying={verifying} />
      </Heading>
      <VerificationOfJob verifying={verifying} />
      {job.status === "queued" && <WhyWaiting job={job} />}
      {job.status === "processing" && <Running job={job} />}
      {job.error && job.status === "failed" && (
        <p className="error-line error-large" role="note">
          <Icon name="failed" />
          <span>
            {job.error.message}
            <Meaning error={job.error} />
          </span>
        </p>
      )}
      <RoomResults job={job} />
      <History job={job} />
    </>
  );
}

function Running({ job }: { job: Job }) {
  const words = useWords();
  const done = doneOf(job.result);
  return (
    <section className="card running" aria-label={words.progress}>
      <div className="running-head">
        {done && (
          <span className="progress-count">
            <b>{number(done.done, words.language)}</b> / {number(done.total, words.language)}
          </span>
        )}
        <Pace job={job} done={done} />
      </div>
      <Bar done={done} label={words.progress} />
    </section>
  );
}

function WhyWaiting({ job }: { job: Job }) {
  const words = useWords();
  const { readsAll } = useSession();
  const reason = useReason(job);
  if (!reason) return null;
  return (
    <p className={`note${reason.warns ? " note-warn" : ""}`} role="status">
      <Icon name={reason.warns ? "warn" : "info"} />
      <span>
        <b>{words.whyWaiting}</b> {reason.text}{" "}
        {reason.warns && readsAll && <Link to={OPERATIONS}>{words.toOperations}</Link>}
      </span>
    </p>
  );
}
