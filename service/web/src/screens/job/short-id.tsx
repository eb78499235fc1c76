/** The job that a short id names, at its whole address; or a choice, if several jobs have this short id. */

import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { jobsByShortId } from "../../api";
import { descriptionText } from "../../job/description";
import { StatusBadge } from "../../job/status";
import { useTypeWord } from "../../job/types";
import { Heading } from "../../parts/heading";
import { Loading, NotFound, ProblemPlate } from "../../parts/states";
import { Ago } from "../../parts/time";
import { go, Link } from "../../route";
import { useWords } from "../../words/words";

export function ShortId({ shortId }: { shortId: string }) {
  const words = useWords();
  const typeWord = useTypeWord();
  const { data, error, refetch } = useQuery({
    queryKey: ["short-id", shortId],
    queryFn: ({ signal }) => jobsByShortId(shortId, signal),
  });
  const only = data?.length === 1 ? data[0]?.id : undefined;
  useEffect(() => {
    if (only) go(`/jobs/${only}${window.location.search}`, { replace: true });
  }, [only]);
  return (
    <>
      <Heading title={words.job} />
      {!data && (error ? <ProblemPlate error={error} again={() => void refetch()} list="/jobs" /> : <Loading />)}
      {data?.length === 0 && <NotFound list="/jobs" />}
      {data && data.length > 1 && (
        <section className="card" aria-labelledby="short-id-heading">
          <h2 id="short-id-heading">{words.sameShortId(shortId)}</h2>
          <ul className="same-short-id">
            {data.map((job) => (
              <li key={job.id}>
                <Link to={`/jobs/${job.id}`}>
                  {[typeWord(job.type), descriptionText(words, job)].filter(Boolean).join(" · ")}
                </Link>
                <StatusBadge status={job.status} />
                <Ago at={job.createdAt} />
                <code className="faint">{job.id}</code>
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}
