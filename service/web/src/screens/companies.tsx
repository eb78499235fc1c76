/** Companies: the rooms that belong to them, and summaries of what was said there. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, lazy, Suspense, useEffect, useMemo, useState } from "react";
import {
  type Company,
  createCompany,
  type Draft,
  draftSummary,
  type LinkedRoom,
  linkedRooms,
  linkRoom,
  listCompanies,
  listDrafts,
  listRooms,
  Refused,
  unlinkRoom,
} from "../api";
import { useNow } from "../clock";
import { days, minuteTime } from "../format";
import { hasEnded } from "../history";
import { useCurrentJobs, useJob } from "../job-queries";
import { useArrivals } from "../live";
import { Copy } from "../parts/copy";
import { Dialog } from "../parts/dialog";
import { Heading } from "../parts/heading";
import { Icon } from "../parts/icons";
import { ProgressCard } from "../parts/progress";
import { Loading, Mishap, NotFound, Plate, ProblemPlate } from "../parts/states";
import { daysOf, instantsOf, PERIODS } from "../periods";
import { addressWith, go, Link, usePlace } from "../route";
import { useSession } from "../session";
import { useToasts } from "../toasts";
import { useWords, type Words } from "../words";

const COMPANIES = ["companies"];

export function CompaniesScreen({ id }: { id: string | null }) {
  const words = useWords();
  const [adding, setAdding] = useState(false);
  const {
    data: companies,
    error,
    refetch,
  } = useQuery({ queryKey: COMPANIES, queryFn: ({ signal }) => listCompanies(signal) });
  const company = companies?.find((one) => one.id === id);
  return (
    <>
      <Heading title={words.companies} intro={words.companiesIntro}>
        <button type="button" className="button" onClick={() => setAdding(true)}>
          <Icon name="plus" /> {words.newCompany}
        </button>
      </Heading>
      {!companies && (error ? <ProblemPlate error={error} again={() => void refetch()} /> : <Loading rows={5} />)}
      {companies?.length === 0 && (
        <Plate icon="companies" title={words.noCompanies}>
          {words.noCompaniesText}
        </Plate>
      )}
      {companies && companies.length > 0 && (
        <div className={`companies${id ? " companies-open" : ""}`}>
          <CompanyList companies={companies} id={id} />
          {company ? <CompanyPanel key={company.id} company={company} /> : id ? <NotFound list="/companies" /> : <ChooseOne />}
        </div>
      )}
      {adding && <NewCompany onClose={() => setAdding(false)} />}
    </>
  );
}

function ChooseOne() {
  const words = useWords();
  return (
    <div className="choose-one">
      <Plate icon="companies" title={words.chooseCompany} />
    </div>
  );
}

const SEARCH_FROM = 8;

function CompanyList({ companies, id }: { companies: Company[]; id: string | null }) {
  const words = useWords();
  const [search, setSearch] = useState("");
  const found = companies.filter(({ name }) => name.toLowerCase().includes(search.trim().toLowerCase()));
  return (
    <nav className="company-list" aria-label={words.companies}>
      {companies.length >= SEARCH_FROM && (
        <label className="search">
          <Icon name="search" />
          <input
            type="search"
            aria-label={words.searchCompanies}
            placeholder={words.searchCompanies}
            value={search}
            onChange={(event) => setSearch(event.target.value)}
          />
        </label>
      )}
      <ul>
        {found.map((company) => (
          <li key={company.id}>
            <Link to={`/companies/${company.id}`} {...(company.id === id ? { "aria-current": "page" as const } : {})}>
              {company.name}
            </Link>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p className="faint">{words.noCompanyMatches}</p>}
    </nav>
  );
}

function NewCompany({ onClose }: { onClose: () => void }) {
  const words = useWords();
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const creating = useMutation({
    mutationFn: () => createCompany(name),
    onSuccess: (company) => {
      void queries.invalidateQueries({ queryKey: COMPANIES });
      queries.setQueryData<Company[]>(COMPANIES, (held) => held && [...held, company].sort(byName));
      onClose();
      go(`/companies/${company.id}`);
    },
  });

  function submit(event: FormEvent) {
    event.preventDefault();
    creating.mutate();
  }

  return (
    <Dialog title={words.newCompany} onClose={onClose}>
      <form onSubmit={submit} className="form">
        <label className="field">
          {words.companyName}
          <input required maxLength={200} value={name} onChange={(event) => setName(event.target.value)} />
        </label>
        {creating.error &&
          (creating.error instanceof Refused && creating.error.status === 409 ? (
            <p className="mishap" role="alert">
              <Icon name="warn" /> {words.nameTaken}
            </p>
          ) : (
            <Mishap error={creating.error} />
          ))}
        <div className="dialog-buttons">
          <button type="button" className="button" onClick={onClose}>
            {words.abort}
          </button>
          <button type="submit" className="button button-main" disabled={creating.isPending || name.trim() === ""}>
            {words.create}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

const byName = (one: Company, other: Company) => one.name.localeCompare(other.name);

// One company -----------------------------------------------------------------------------------------------------------------

function CompanyPanel({ company }: { company: Company }) {
  const words = useWords();
  return (
    <article className="company" aria-labelledby="company-name">
      <Link className="crumb company-back" to="/companies">
        <Icon name="previous" size={14} /> {words.toList}
      </Link>
      <h2 id="company-name" className="company-name">
        {company.name}
      </h2>
      <LinkedRooms company={company} />
      <DraftForm company={company} />
      <Drafts company={company} />
    </article>
  );
}

const linksOf = (id: string) => ["linked-rooms", id];

function LinkedRooms({ company }: { company: Company }) {
  const words = useWords();
  const queries = useQueryClient();
  const { isAdmin } = useSession();
  const { complain } = useToasts();
  const links = useQuery({ queryKey: linksOf(company.id), queryFn: ({ signal }) => linkedRooms(company.id, signal) });
  const changed = () => {
    void queries.invalidateQueries({ queryKey: linksOf(company.id) });
    void queries.invalidateQueries({ queryKey: ["rooms"] });
  };
  const linking = useMutation({
    mutationFn: (roomId: string) => linkRoom(company.id, roomId),
    onSuccess: changed,
    onError: complain,
  });
  const unlinking = useMutation({
    mutationFn: (roomId: string) => unlinkRoom(company.id, roomId),
    onSuccess: changed,
    onError: complain,
  });
  const rooms = links.data ?? [];
  const total = rooms.reduce((sum, { messageCount }) => sum + messageCount, 0);

  return (
    <section className="card" aria-labelledby="links-heading">
      <div className="section-head">
        <h3 id="links-heading">{words.linkedRooms}</h3>
        {links.data && <span className="count">{rooms.length}</span>}
        <span className="grow" />
        {rooms.length > 0 && <span className="faint">{words.messagesTotal(total)}</span>}
      </div>
      {links.isPending && <Loading rows={2} />}
      {links.error && <ProblemPlate error={links.error} again={() => void links.refetch()} />}
      {links.data && rooms.length === 0 && <p className="faint">{words.noLinkedRooms}</p>}
      <ul className="links-list">
        {rooms.map((room) => (
          <li key={room.roomId}>
            <span className="clip">{room.name}</span>
            <span className="faint numbers">{words.messagesCount(room.messageCount)}</span>
            {isAdmin && (
              <button
                type="button"
                className="icon-button"
                aria-label={words.unlinkWhat(room.name)}
                title={words.unlink}
                disabled={unlinking.isPending}
                onClick={() => unlinking.mutate(room.roomId)}
              >
                <Icon name="close" />
              </button>
            )}
          </li>
        ))}
      </ul>
      {isAdmin ? (
        <LinkForm linked={rooms} onLink={(roomId) => linking.mutate(roomId)} busy={linking.isPending} />
      ) : (
        <p className="faint small">{words.onlyAdminsLink}</p>
      )}
    </section>
  );
}

function LinkForm({ linked, onLink, busy }: { linked: LinkedRoom[]; onLink: (roomId: string) => void; busy: boolean }) {
  const words = useWords();
  const [chosen, setChosen] = useState("");
  const { data: rooms } = useQuery({ queryKey: ["rooms"], queryFn: ({ signal }) => listRooms(signal) });
  const taken = new Set(linked.map(({ roomId }) => roomId));
  const free = (rooms ?? []).filter(({ roomId }) => !taken.has(roomId));

  function submit(event: FormEvent) {
    event.preventDefault();
    if (!chosen) return;
    onLink(chosen);
    setChosen("");
  }

  if (rooms && rooms.length === 0) {
    return (
      <p className="faint small">
        {words.noRooms}. <Link to="/chatwork">{words.chatwork}</Link>
      </p>
    );
  }
  return (
    <form className="tools" onSubmit={submit}>
      <select aria-label={words.chooseRoom} value={chosen} onChange={(event) => setChosen(event.target.value)}>
        <option value="">{words.chooseRoom}</option>
        {free.map((room) => (
          <option key={room.roomId} value={room.roomId}>
            {room.name}
          </option>
        ))}
      </select>
      <button type="submit" className="button" disabled={!chosen || busy}>
        {words.link}
      </button>
    </form>
  );
}

// Drafts ----------------------------------------------------------------------------------------------------------------------

const draftsOf = (id: string) => ["drafts", id];

function DraftForm({ company }: { company: Company }) {
  const words = useWords();
  const place = usePlace();
  const queries = useQueryClient();
  const { watch } = useToasts();
  const [days, setDays] = useState(() => daysOf("last30d", new Date()));
  const [cached, setCached] = useState(false);
  const current = useCurrentJobs("summary_draft", (job) => companyOf(job.payload) === company.id);
  const period = instantsOf(days);
  const drafting = useMutation({
    mutationFn: (asked: NonNullable<typeof period>) => draftSummary(company.id, asked),
    onSuccess: (answer) => {
      setCached("cached" in answer);
      if ("cached" in answer) {
        void queries.invalidateQueries({ queryKey: draftsOf(company.id) });
        go(addressWith(place, { draft: answer.draft.id }), { replace: true });
      } else {
        watch(answer.jobId);
        current.refresh();
      }
    },
  });

  useArrivals((jobs) => {
    const mine = jobs.find(
      (job) => job.type === "summary_draft" && hasEnded(job) && companyOf(job.payload) === company.id,
    );
    if (!mine) return;
    void queries.invalidateQueries({ queryKey: draftsOf(company.id) });
    const made = (mine.result as { id?: string } | null)?.id;
    if (mine.status === "completed" && made) go(addressWith(place, { draft: made }), { replace: true });
  });

  function submit(event: FormEvent) {
    event.preventDefault();
    if (period) drafting.mutate(period);
  }

  return (
    <section className="card" aria-labelledby="draft-heading">
      <h3 id="draft-heading">{words.draftTitle}</h3>
      <form onSubmit={submit} className="draft-form">
        <div className="presets" role="group" aria-label={words.period}>
          {PERIODS.map((name) => {
            const preset = daysOf(name, new Date());
            const here = preset.from === days.from && preset.to === days.to;
            return (
              <button key={name} type="button" className="chip" aria-pressed={here} onClick={() => setDays(preset)}>
                {words[name]}
              </button>
            );
          })}
        </div>
        <div className="draft-days">
          <label className="field">
            {words.startDay}
            <input
              type="date"
              required
              value={days.from}
              onChange={(event) => setDays({ ...days, from: event.target.value })}
            />
          </label>
          <label className="field">
            {words.endDay}
            <input
              type="date"
              required
              value={days.to}
              onChange={(event) => setDays({ ...days, to: event.target.value })}
            />
          </label>
          <button type="submit" className="button button-main" disabled={!period || drafting.isPending}>
            <Icon name="document" /> {drafting.isPending ? words.syncing : words.draftDo}
          </button>
        </div>
        {!period && days.from && days.to && (
          <p className="mishap">
            <Icon name="warn" /> {words.badPeriod}
          </p>
        )}
        {drafting.error && <Mishap error={drafting.error} />}
        {cached && (
          <p className="note" role="status">
            <Icon name="info" /> {words.cachedDraft}
          </p>
        )}
      </form>
      {current.jobs.map((job) => (
        <DraftJob key={job.id} id={job.id} />
      ))}
    </section>
  );
}

function DraftJob({ id }: { id: string }) {
  const words = useWords();
  const { data: job } = useJob(id);
  // A draft that is made speaks for itself, just below.
  if (!job || job.status === "completed") return null;
  return (
    <div className="draft-job">
      <p className="faint">
        {words.period}: {periodText(words, job.payload as Period)}
      </p>
      <ProgressCard job={job} title={words.type_summary_draft} />
    </div>
  );
}

const companyOf = (payload: unknown) => (payload as { companyId?: string } | null)?.companyId;

function Drafts({ company }: { company: Company }) {
  const words = useWords();
  const place = usePlace();
  const now = useNow();
  const listing = useQuery({ queryKey: draftsOf(company.id), queryFn: ({ signal }) => listDrafts(company.id, signal) });
  const drafts = listing.data ?? [];
  const asked = place.query.get("draft");
  const shown = drafts.find(({ id }) => id === asked) ?? drafts[0];

  if (listing.isPending) return <Loading rows={3} />;
  if (listing.error) return <ProblemPlate error={listing.error} again={() => void listing.refetch()} />;
  return (
    <section className="section" aria-labelledby="drafts-heading">
      <div className="section-head">
        <h3 id="drafts-heading">{words.drafts}</h3>
        <span className="count">{drafts.length}</span>
      </div>
      {drafts.length === 0 && (
        <Plate icon="document" title={words.noDrafts}>
          {words.noDraftsText}
        </Plate>
      )}
      {shown && (
        <div className="drafts">
          <ul className="draft-list">
            {drafts.map((draft) => (
              <li key={draft.id}>
                <Link
                  to={addressWith(place, { draft: draft.id })}
                  replace
                  {...(draft === shown ? { "aria-current": "true" as const } : {})}
                >
                  <b>{periodText(words, draft)}</b>
                  <span className="faint">
                    {words.messagesCount(draft.sourceMessageCount)}
                    {Date.parse(draft.expiresAt) < now && <span className="expired"> · {words.expired}</span>}
                  </span>
                </Link>
              </li>
            ))}
          </ul>
          <DraftView key={shown.id} draft={shown} />
        </div>
      )}
    </section>
  );
}

type Period = Pick<Draft, "periodStart" | "periodEnd">;

const periodText = (words: Words, { periodStart, periodEnd }: Period) => days(periodStart, periodEnd, words.language);

// Whoever never reads a draft does not fetch what draws it.
const Markdown = lazy(() => import("../parts/markdown"));

/** Every draft has these four, in English; what is copied keeps them. */
const headingsOf = (words: Words): Record<string, string> => ({
  Summary: words.headingSummary,
  "Key Topics": words.headingTopics,
  "Open Items": words.headingOpen,
  "Next Actions": words.headingNext,
});

function DraftView({ draft }: { draft: Draft }) {
  const words = useWords();
  const tokens = tokensOf(draft);
  const headings = useMemo(() => headingsOf(words), [words]);
  useEffect(() => {
    void import("../parts/markdown");
  }, []);
  return (
    <article className="card draft" aria-label={periodText(words, draft)}>
      <header className="draft-head">
        <p className="faint">
          {words.draftResult(draft.sourceMessageCount)} · {words.model} <code>{draft.model}</code>
          {tokens > 0 && ` · ${words.tokens(tokens)}`}
        </p>
        <span className="grow" />
        <Copy label={words.copyMarkdown} shown={words.copyMarkdown} text={() => draft.content} />
      </header>
      <Suspense fallback={<Loading rows={4} />}>
        <Markdown text={draft.content} headings={headings} />
      </Suspense>
      <footer className="draft-foot faint">
        <details>
          <summary>{words.sources(draft.sourceLinks.length)}</summary>
          <p>{words.sourceIds}:</p>
          <ul className="source-list">
            {draft.sourceLinks.map((source) => (
              <li key={source}>
                <code>{source}</code>
              </li>
            ))}
          </ul>
        </details>
        <span>
          {words.expires("")}{" "}
          <time dateTime={draft.expiresAt}>{minuteTime(draft.expiresAt, words.language)}</time>
        </span>
      </footer>
    </article>
  );
}

function tokensOf({ tokenUsage }: Draft): number {
  return Object.entries(tokenUsage ?? {})
    .filter(([name, value]) => /total/i.test(name) && typeof value === "number")
    .reduce((sum, [, value]) => sum + Number(value), 0);
}
