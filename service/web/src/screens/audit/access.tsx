/** The record of access: who read other people's jobs, exported, verified, operated or changed what. */

import { useInfiniteQuery } from "@tanstack/react-query";
import { type AccessFilter, type AccessRecord, listAccess } from "../../api";
import { shortId } from "../../format";
import { Cell, HeadCell, Rows } from "../../parts/rows";
import { Loading, Plate, ProblemPlate } from "../../parts/states";
import { Exact } from "../../parts/time";
import { useNames } from "../../people";
import { addressWith, go, Link, usePlace } from "../../route";
import { useWords } from "../../words/words";
import { ACTIONS, actionWord, jobIn } from "./access-words";
import { ActorFilter } from "./actor-filter";

export function AccessSection() {
  const words = useWords();
  const { query } = usePlace();
  const filter: AccessFilter = {
    actor: query.get("actor") ?? undefined,
    action: ACTIONS.find((action) => action === query.get("action")),
  };
  return (
    <section className="section" aria-labelledby="access-heading">
      <div className="section-head">
        <h2 id="access-heading">{words.access}</h2>
      </div>
      <p className="faint access-intro">{words.accessIntro}</p>
      <AccessFilters />
      <AccessTable filter={filter} />
    </section>
  );
}

function AccessFilters() {
  const words = useWords();
  const place = usePlace();
  const value = (name: string) => place.query.get(name) ?? "";
  const set = (changes: Record<string, string | null>) => go(addressWith(place, changes), { replace: true });
  return (
    <div className="tools">
      <ActorFilter />
      <select
        aria-label={words.action}
        value={value("action")}
        onChange={(event) => set({ action: event.target.value })}
      >
        <option value="">{words.anyAction}</option>
        {ACTIONS.map((action) => (
          <option key={action} value={action}>
            {actionWord(words, action)}
          </option>
        ))}
      </select>
      {(value("actor") || value("action")) && (
        <button type="button" className="link" onClick={() => set({ actor: null, action: null })}>
          {words.clearFilters}
        </button>
      )}
    </div>
  );
}

function AccessTable({ filter }: { filter: AccessFilter }) {
  const words = useWords();
  const listing = useInfiniteQuery({
    queryKey: ["access", filter],
    queryFn: ({ pageParam, signal }) => listAccess(filter, pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  });
  const records = listing.data?.pages.flatMap((page) => page.records) ?? [];
  if (listing.isPending) return <Loading rows={6} />;
  if (listing.error && records.length === 0)
    return <ProblemPlate error={listing.error} again={() => void listing.refetch()} />;
  if (records.length === 0) {
    const filtered = Object.values(filter).some((value) => value !== undefined);
    return <Plate icon="audit" title={filtered ? words.noAccessMatches : words.noAccess} />;
  }
  return (
    <>
      <Rows
        label={words.access}
        className="access"
        count={records.length}
        height={52}
        keyOf={(index) => String(records[index]?.id ?? index)}
        onNearEnd={() => listing.hasNextPage && !listing.isFetchingNextPage && void listing.fetchNextPage()}
        head={
          <>
            <HeadCell>{words.when}</HeadCell>
            <HeadCell>{words.actor}</HeadCell>
            <HeadCell>{words.action}</HeadCell>
            <HeadCell>{words.target}</HeadCell>
            <HeadCell>{words.address}</HeadCell>
          </>
        }
        row={(index) => records[index] && <AccessRow record={records[index]} />}
      />
      <p className="list-end faint">
        {listing.hasNextPage ? (
          <button type="button" className="button" onClick={() => void listing.fetchNextPage()}>
            {words.olderRecords}
          </button>
        ) : (
          words.startOfRecord
        )}
      </p>
    </>
  );
}

function AccessRow({ record }: { record: AccessRecord }) {
  const words = useWords();
  const names = useNames();
  const place = usePlace();
  return (
    <>
      <Cell className="faint access-time">
        <Exact at={record.at} />
      </Cell>
      <Cell className="clip">
        <button
          type="button"
          className="quiet-button clip"
          title={record.actor}
          onClick={() => go(addressWith(place, { actor: record.actor }))}
        >
          {names.actor(record.actor)}
        </button>
      </Cell>
      <Cell className="access-action" label={record.action}>
        {actionWord(words, record.action)}
      </Cell>
      <Cell className="clip">
        <Target target={record.target} />
      </Cell>
      <Cell className="clip faint">
        <span title={record.requestId === null ? "" : `${words.requestId}: ${record.requestId}`}>
          {record.address ?? words.commandLine}
        </span>
      </Cell>
    </>
  );
}

/** A job as a link, everything else as it was recorded. */
function Target({ target }: { target: string | null }) {
  const words = useWords();
  if (target === null) return <span className="faint">–</span>;
  const job = jobIn(target);
  if (job === null) return <code title={target}>{target}</code>;
  return (
    <Link to={`/jobs/${job}`} title={target}>
      {words.job} <code>{shortId(job)}</code>
    </Link>
  );
}
