import { useCallback, useState } from "react";
import type { Job, JobFilter, Status } from "../../api";
import { isActive, mayCancel, mayRetry } from "../../job/facts";
import { Check } from "../../parts/check";
import { Icon } from "../../parts/icons";
import { HeadCell, Rows } from "../../parts/rows";
import { Loading, Plate, ProblemPlate } from "../../parts/states";
import { useDialog } from "../../parts/use-dialog";
import { useScrolled } from "../../parts/use-scrolled";
import { useNames } from "../../people";
import { Link, type Place, usePlace } from "../../route";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { BulkDialog } from "./bulk";
import { JobRow } from "./job-row";
import { useJobsList } from "./use-jobs-list";

/** The selection: single jobs, or all that match the filter. */
type Choice = { ids: ReadonlySet<string>; matching: boolean };

const NOTHING: Choice = { ids: new Set(), matching: false };

export function List({ filter }: { filter: JobFilter }) {
  const words = useWords();
  const place = usePlace();
  const scrolled = useScrolled();
  const [choice, setChoice] = useState(NOTHING);
  const canceling = useDialog("cancel");
  const retrying = useDialog("retry");
  const chosen = choice.ids.size > 0 || choice.matching;
  // The selection is not in the address, so a link to this dialog alone opens nothing.
  const acting = chosen ? ([canceling, retrying].find(({ isOpen }) => isOpen) ?? null) : null;
  const list = useJobsList(filter, chosen || scrolled || acting !== null);
  const { jobs } = list;
  const names = useNames();
  const { mayChange } = useSession();
  const choose = useCallback((id: string, on: boolean) => {
    setChoice(({ ids }) => {
      const after = new Set(ids);
      on ? after.add(id) : after.delete(id);
      return { ids: after, matching: false };
    });
  }, []);

  const some = possible(choice, jobs, filter.status);

  if (list.isPending) return <Loading rows={8} />;
  if (list.error && jobs.length === 0) return <ProblemPlate error={list.error} again={() => void list.refetch()} />;
  if (jobs.length === 0 && list.waiting === 0 && !list.hasNextPage) return <NoJobs place={place} filter={filter} />;

  return (
    <section aria-label={words.jobs}>
      {mayChange && (
        <div className={`bulk${chosen ? "" : " bulk-idle"}`}>
          <Check
            label={words.selectAll}
            checked={choice.matching || (jobs.length > 0 && choice.ids.size === jobs.length)}
            some={!choice.matching && choice.ids.size > 0 && choice.ids.size < jobs.length}
            onChange={(on) => setChoice(on ? { ids: new Set(jobs.map(({ id }) => id)), matching: false } : NOTHING)}
          />
          {chosen ? (
            <>
              <span aria-live="polite">
                {choice.matching ? words.matchingSelected : words.selected(choice.ids.size)}
              </span>
              {!choice.matching && list.hasNextPage && choice.ids.size === jobs.length && (
                <button type="button" className="link" onClick={() => setChoice({ ids: new Set(), matching: true })}>
                  {words.selectMatching}
                </button>
              )}
              {some.cancelable && (
                <button type="button" className="button button-small" onClick={() => canceling.open()}>
                  {words.bulkCancel}
                </button>
              )}
              {some.retryable && (
                <button type="button" className="button button-small" onClick={() => retrying.open()}>
                  {words.bulkRetry}
                </button>
              )}
              {!some.cancelable && !some.retryable && <span className="faint">{words.bulkNoneToChange}</span>}
              <button type="button" className="link" onClick={() => setChoice(NOTHING)}>
                {words.clearSelection}
              </button>
            </>
          ) : (
            <span className="faint">{words.selectAll}</span>
          )}
        </div>
      )}
      <div className="news" aria-live="polite">
        {list.waiting > 0 && (
          <button
            type="button"
            className="news-button"
            onClick={() => {
              list.letIn();
              window.scrollTo({ top: 0 });
            }}
          >
            <Icon name="up" size={14} /> {words.newJobs(list.waiting)}
          </button>
        )}
      </div>
      <Rows
        label={words.jobs}
        className="jobs"
        count={jobs.length}
        height={64}
        keyOf={(index) => jobs[index]?.id ?? String(index)}
        rowClass={(index) => (choice.matching || choice.ids.has(jobs[index]?.id ?? "") ? "rows-chosen" : "")}
        onNearEnd={() => {
          if (list.hasNextPage && !list.isFetchingNextPage && !list.isFetchNextPageError) void list.fetchNextPage();
        }}
        head={
          <>
            <HeadCell>
              <span className="unseen">{words.selectAll}</span>
            </HeadCell>
            <HeadCell>{words.job}</HeadCell>
            <HeadCell>{words.status}</HeadCell>
            <HeadCell>{words.result}</HeadCell>
            <HeadCell>{words.owner}</HeadCell>
            <HeadCell>{words.attempt}</HeadCell>
            <HeadCell>{words.created}</HeadCell>
            <HeadCell className="right">{words.waitedAndRan}</HeadCell>
          </>
        }
        row={(index) => {
          const job = jobs[index];
          return (
            job && (
              <JobRow
                job={job}
                chosen={choice.matching || choice.ids.has(job.id)}
                owner={names.owner(job.userId)}
                onChoose={mayChange ? choose : null}
              />
            )
          );
        }}
      />
      <p className="list-end faint" role="status">
        {list.isFetchingNextPage && words.loadingMore}
        {!list.hasNextPage && words.endOfList(jobs.length)}
      </p>
      {list.isFetchNextPageError && <ProblemPlate error={list.error} again={() => void list.fetchNextPage()} />}
      {acting && (
        <BulkDialog
          action={acting === canceling ? "cancel" : "retry"}
          chosen={choice.matching ? { filter } : { ids: [...choice.ids] }}
          onClose={acting.close}
          onDone={() => {
            acting.close();
            setChoice(NOTHING);
          }}
        />
      )}
    </section>
  );
}

/** Which actions make sense for the chosen jobs. Of all that match, only the status of the filter is known. */
function possible({ ids, matching }: Choice, jobs: Job[], status: Status | undefined) {
  if (matching) {
    return {
      cancelable: !status || isActive({ status }),
      retryable: !status || status === "failed" || status === "canceled",
    };
  }
  const chosen = jobs.filter(({ id }) => ids.has(id));
  return { cancelable: chosen.some(mayCancel), retryable: chosen.some(mayRetry) };
}

function NoJobs({ place, filter }: { place: Place; filter: JobFilter }) {
  const words = useWords();
  if (Object.values(filter).every((value) => value === undefined)) {
    return (
      <Plate icon="jobs" title={words.noJobs}>
        {words.noJobsText}
      </Plate>
    );
  }
  return (
    <Plate
      icon="search"
      title={words.noJobMatches}
      action={
        <Link className="button" to={place.path}>
          {words.clearFilters}
        </Link>
      }
    />
  );
}
