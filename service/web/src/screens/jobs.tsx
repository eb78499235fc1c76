/** The jobs: how many in which state, which ones, and what is to become of them. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Fragment, memo, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { type BulkAction, countJobs, type Job, type JobFilter, listWorkers, serverNow, type Status } from "../api";
import { useNow } from "../clock";
import { number, shortId, span } from "../format";
import { doneOf, durationOf, isActive } from "../history";
import { useJobTypes, useTypeWord } from "../job-types";
import { useChanges, useTick } from "../live";
import { OPERATIONS } from "../parts/audit-tabs";
import { BulkDialog } from "../parts/bulk";
import { Check } from "../parts/check";
import { Heading } from "../parts/heading";
import { Icon } from "../parts/icons";
import { Bar, resultWords } from "../parts/progress";
import { Cell, HeadCell, Rows } from "../parts/rows";
import { Loading, Plate, ProblemPlate } from "../parts/states";
import { StatusBadge } from "../parts/status";
import { Ago } from "../parts/time";
import { useNames, useUsers } from "../people";
import { addressWith, go, Link, type Place, usePlace } from "../route";
import { useSession } from "../session";
import { useJobsList } from "../use-jobs-list";
import { useWords } from "../words";

const STATUSES: Status[] = ["queued", "processing", "completed", "failed", "canceled"];
const HOUR = 3_600_000;
const SINCE: Record<string, number> = { "1h": HOUR, "24h": 24 * HOUR, "7d": 168 * HOUR, "30d": 720 * HOUR };

export function JobsScreen() {
  const words = useWords();
  const { isAdmin } = useSession();
  const filter = useFilter();
  return (
    <>
      <Heading title={words.jobs} intro={isAdmin ? words.jobsIntroAdmin : words.jobsIntro} />
      {isAdmin && <Warnings />}
      <Tabs filter={filter} />
      <Filters />
      <List key={JSON.stringify(filter)} filter={filter} />
    </>
  );
}

/** The filter that the address holds. "The last hour" begins an hour before one asked for it. */
function useFilter(): JobFilter {
  const { query } = usePlace();
  const address = query.toString();
  return useMemo(() => {
    const asked = new URLSearchParams(address);
    const since = SINCE[asked.get("since") ?? ""];
    return {
      type: asked.get("type") ?? undefined,
      status: STATUSES.find((status) => status === asked.get("status")),
      userId: asked.get("userId") ?? undefined,
      createdAfter: since ? new Date(serverNow() - since).toISOString() : instant(asked.get("from")),
      createdBefore: since ? undefined : instant(asked.get("to")),
    };
  }, [address]);
}

/** A time as a field of the page writes it, in the zone of who looks. */
function instant(local: string | null): string | undefined {
  const time = local ? Date.parse(local) : Number.NaN;
  return Number.isNaN(time) ? undefined : new Date(time).toISOString();
}

// What an operator must know first --------------------------------------------------------------------------------------------

function Warnings() {
  const words = useWords();
  const typeWord = useTypeWord();
  const types = useJobTypes(30_000);
  const workers = useQuery({
    queryKey: ["workers"],
    queryFn: ({ signal }) => listWorkers(signal),
    refetchInterval: 15_000,
  });
  const paused = types.data?.filter((type) => type.paused).map(({ name }) => typeWord(name)) ?? [];
  const alone = workers.data && !workers.data.some(({ state }) => state === "alive");
  if (paused.length === 0 && !alone) return null;
  return (
    <p className="note note-warn" role="status">
      <Icon name="warn" />
      <span>
        {alone && words.noWorkerBanner} {paused.length > 0 && words.pausedBanner(paused)}{" "}
        <Link to={OPERATIONS}>{words.toOperations}</Link>
      </span>
    </p>
  );
}

// Tabs and filters ------------------------------------------------------------------------------------------------------------

const COUNT_EVERY = 1_500;

function useCounts(filter: JobFilter) {
  const queries = useQueryClient();
  const { status: _, ...rest } = filter;
  const key = ["counts", rest];
  const waiting = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const counting = useQuery({ queryKey: key, queryFn: ({ signal }) => countJobs(rest, signal) });

  function soon() {
    waiting.current ??= setTimeout(() => {
      waiting.current = undefined;
      void queries.invalidateQueries({ queryKey: ["counts"] });
    }, COUNT_EVERY);
  }

  useChanges(soon);
  useTick(() => void queries.invalidateQueries({ queryKey: ["counts"] }));
  useEffect(() => () => clearTimeout(waiting.current), []);
  return counting.data;
}

function Tabs({ filter }: { filter: JobFilter }) {
  const words = useWords();
  const place = usePlace();
  const counts = useCounts(filter);
  const sum = counts && STATUSES.reduce((all, status) => all + counts.counts[status], 0);
  const some = counts && STATUSES.some((status) => counts.counts[status] >= counts.most);
  const nav = useRef<HTMLElement>(null);
  // On a phone the last tabs lie beyond the edge: the one that is open is brought into sight.
  useEffect(() => {
    const tabs = nav.current;
    const here = tabs?.querySelector<HTMLElement>("[aria-current]");
    if (tabs && here) tabs.scrollLeft = here.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - here.offsetWidth) / 2;
  }, [filter.status, counts !== undefined]);

  function count(value: number | undefined, more: boolean | undefined) {
    if (value === undefined) return "";
    return more ? words.orMore(value) : number(value, words.language);
  }

  return (
    <nav ref={nav} className="tabs" aria-label={words.statusFilter}>
      <Tab to={addressWith(place, { status: null })} here={!filter.status} word={words.all} count={count(some ? counts.most : sum, some)} />
      {STATUSES.map((status) => (
        <Tab
          key={status}
          to={addressWith(place, { status })}
          here={filter.status === status}
          word={words[status]}
          icon={status}
          count={count(counts?.counts[status], counts && counts.counts[status] >= counts.most)}
        />
      ))}
    </nav>
  );
}

function Tab({
  to,
  here,
  word,
  count,
  icon,
}: {
  to: string;
  here: boolean;
  word: string;
  count: string;
  icon?: Status;
}) {
  return (
    <Link to={to} className={`tab${icon ? ` tab-${icon}` : ""}`} {...(here ? { "aria-current": "page" as const } : {})}>
      {icon && <Icon name={icon} size={14} />}
      {word} <span className="tab-count">{count}</span>
    </Link>
  );
}

/** What one may choose among, the chosen one included: it stands in the address before the service has said which there are. */
function useTypeNames(chosen: string): string[] {
  const names = useJobTypes().data?.map(({ name }) => name) ?? [];
  return chosen && !names.includes(chosen) ? [...names, chosen] : names;
}

function Filters() {
  const words = useWords();
  const typeWord = useTypeWord();
  const place = usePlace();
  const { isAdmin } = useSession();
  const users = useUsers();
  const value = (name: string) => place.query.get(name) ?? "";
  const set = (changes: Record<string, string | null>) => go(addressWith(place, changes), { replace: true });
  const custom = place.query.has("from") || place.query.has("to");
  const types = useTypeNames(value("type"));
  const filtered = ["type", "userId", "since", "from", "to"].some((name) => place.query.has(name));

  function setSpan(chosen: string) {
    if (chosen === "custom") set({ since: null, from: localDay(-6), to: null });
    else set({ since: chosen || null, from: null, to: null });
  }

  return (
    <div className="tools">
      <select aria-label={words.type} value={value("type")} onChange={(event) => set({ type: event.target.value })}>
        <option value="">{words.anyType}</option>
        {types.map((type) => (
          <option key={type} value={type}>
            {typeWord(type) === type ? type : `${typeWord(type)} — ${type}`}
          </option>
        ))}
      </select>
      {isAdmin && (
        <select
          aria-label={words.owner}
          value={value("userId")}
          onChange={(event) => set({ userId: event.target.value })}
        >
          <option value="">{words.anyOwner}</option>
          {users.map((user) => (
            <option key={user.id} value={user.id}>
              {user.name || user.email}
            </option>
          ))}
        </select>
      )}
      <select
        aria-label={words.time}
        value={custom ? "custom" : value("since")}
        onChange={(event) => setSpan(event.target.value)}
      >
        <option value="">{words.anyTime}</option>
        <option value="1h">{words.last1h}</option>
        <option value="24h">{words.last24h}</option>
        <option value="7d">{words.last7d}</option>
        <option value="30d">{words.last30d}</option>
        <option value="custom">{words.customTime}</option>
      </select>
      {custom && (
        <span className="span-fields">
          <input
            type="datetime-local"
            aria-label={words.from}
            value={value("from")}
            onChange={(event) => set({ from: event.target.value, ...(event.target.value ? {} : { from: null }) })}
          />
          <span aria-hidden="true">–</span>
          <input
            type="datetime-local"
            aria-label={words.to}
            value={value("to")}
            onChange={(event) => set({ to: event.target.value })}
          />
        </span>
      )}
      {filtered && (
        <button
          type="button"
          className="link"
          onClick={() => set({ type: null, userId: null, since: null, from: null, to: null })}
        >
          {words.clearFilters}
        </button>
      )}
    </div>
  );
}

function localDay(days: number): string {
  const day = new Date(Date.now() + days * 24 * HOUR);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}T00:00`;
}

// The list --------------------------------------------------------------------------------------------------------------------

/** What is chosen: single jobs, or everything that matches the filter. */
type Choice = { ids: ReadonlySet<string>; matching: boolean };
const NOTHING: Choice = { ids: new Set(), matching: false };

function List({ filter }: { filter: JobFilter }) {
  const words = useWords();
  const place = usePlace();
  const scrolled = useScrolled();
  const [choice, setChoice] = useState(NOTHING);
  const [acting, setActing] = useState<BulkAction | null>(null);
  const chosen = choice.ids.size > 0 || choice.matching;
  const list = useJobsList(filter, chosen || scrolled || acting !== null);
  const { jobs } = list;
  const names = useNames();
  const choose = useCallback((id: string, on: boolean) => {
    setChoice(({ ids }) => {
      const after = new Set(ids);
      on ? after.add(id) : after.delete(id);
      return { ids: after, matching: false };
    });
  }, []);

  if (list.isPending) return <Loading rows={8} />;
  if (list.error && jobs.length === 0) return <ProblemPlate error={list.error} again={() => void list.refetch()} />;
  if (jobs.length === 0 && list.waiting === 0 && !list.hasNextPage) return <NoJobs place={place} filter={filter} />;

  return (
    <section aria-label={words.jobs}>
      <div className={`bulk${chosen ? "" : " bulk-idle"}`}>
        <Check
          label={words.selectAll}
          checked={choice.matching || (jobs.length > 0 && choice.ids.size === jobs.length)}
          some={!choice.matching && choice.ids.size > 0 && choice.ids.size < jobs.length}
          onChange={(on) => setChoice(on ? { ids: new Set(jobs.map(({ id }) => id)), matching: false } : NOTHING)}
        />
        {chosen ? (
          <>
            <span aria-live="polite">{choice.matching ? words.matchingSelected : words.selected(choice.ids.size)}</span>
            {!choice.matching && list.hasNextPage && choice.ids.size === jobs.length && (
              <button type="button" className="link" onClick={() => setChoice({ ids: new Set(), matching: true })}>
                {words.selectMatching}
              </button>
            )}
            <button type="button" className="button button-small" onClick={() => setActing("cancel")}>
              {words.bulkCancel}
            </button>
            <button type="button" className="button button-small" onClick={() => setActing("retry")}>
              {words.bulkRetry}
            </button>
            <button type="button" className="link" onClick={() => setChoice(NOTHING)}>
              {words.clearSelection}
            </button>
          </>
        ) : (
          <span className="faint">{words.selectAll}</span>
        )}
      </div>
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
            <HeadCell className="right">{words.duration}</HeadCell>
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
                onChoose={choose}
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
          action={acting}
          chosen={choice.matching ? { filter } : { ids: [...choice.ids] }}
          onClose={() => setActing(null)}
          onDone={() => {
            setActing(null);
            setChoice(NOTHING);
          }}
        />
      )}
    </section>
  );
}

const FROM_TOP = 160;

/** Asked for only when one scrolls: whoever asks while drawing has everything laid out once more. */
function useScrolled(): boolean {
  const [scrolled, setScrolled] = useState(() => window.scrollY > FROM_TOP);
  useEffect(() => {
    const look = () => setScrolled(window.scrollY > FROM_TOP);
    look();
    window.addEventListener("scroll", look, { passive: true });
    return () => window.removeEventListener("scroll", look);
  }, []);
  return scrolled;
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

interface JobRowProps {
  job: Job;
  owner: string;
  chosen: boolean;
  onChoose: (id: string, on: boolean) => void;
}

/** Remembered: while one scrolls, the rows that stay are not drawn again. */
const JobRow = memo(function JobRow({ job, owner, chosen, onChoose }: JobRowProps) {
  const words = useWords();
  const typeWord = useTypeWord();
  const what = `${job.type} ${shortId(job.id)}`;
  return (
    <>
      <Cell className="tick">
        <Check label={words.selectJob(what)} checked={chosen} onChange={(on) => onChoose(job.id, on)} />
      </Cell>
      <Cell className="job-what">
        <Link className="row-link row-whole" to={`/jobs/${job.id}`}>
          <Breakable name={job.type} />
        </Link>
        <span className="faint clip">
          {typeWord(job.type)} · <code>{shortId(job.id)}</code>
        </span>
      </Cell>
      <Cell className="job-status">
        <StatusBadge status={job.status} />
      </Cell>
      <Cell className="job-result">
        <Result job={job} />
      </Cell>
      <Cell label={words.owner} className="clip faint">
        {owner}
      </Cell>
      <Cell label={words.attempt} className="numbers faint">
        {job.attempt}/{job.maxAttempts}
      </Cell>
      <Cell label={words.created} className="faint">
        <Ago at={job.createdAt} />
      </Cell>
      <Cell label={words.duration} className="right numbers faint">
        <Duration job={job} />
      </Cell>
    </>
  );
});

/** On a phone a long name goes on in the next line after one of its underscores. */
function Breakable({ name }: { name: string }) {
  return name.split(/(?<=_)/).map((part) => (
    <Fragment key={part}>
      {part}
      <wbr />
    </Fragment>
  ));
}

function Duration({ job }: { job: Job }) {
  const { language } = useWords();
  const now = useNow();
  if (job.status === "queued" && job.attempt === 1) return "–";
  return span(durationOf(job, new Date(Math.max(now, Date.parse(job.updatedAt))).toISOString()), language);
}

function Result({ job }: { job: Job }) {
  const words = useWords();
  const done = doneOf(job.result);
  if (job.error && job.status !== "completed" && job.status !== "canceled") {
    return (
      <span className="error-text clip" title={job.error.message}>
        {job.error.message}
      </span>
    );
  }
  if (done && (isActive(job) || job.status === "canceled")) {
    return (
      <span className="mini-progress">
        <Bar done={done} label={words.progress} />
        <span className="numbers">
          {number(done.done, words.language)}/{number(done.total, words.language)}
        </span>
      </span>
    );
  }
  // A row has room for a few words only: what went wrong comes first.
  const said = resultWords(words, job).sort((one, other) => Number(other.bad ?? false) - Number(one.bad ?? false));
  return (
    <span className="clip faint" title={said.map(({ text }) => text).join(" · ")}>
      {said.map(({ text, bad }, index) => (
        <span key={text} className={bad ? "bad-text" : ""}>
          {index > 0 && " · "}
          {text}
        </span>
      ))}
    </span>
  );
}
