/** A company's drafts, and the chosen one. */

import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useMemo } from "react";
import { type Company, type Draft, listDrafts } from "../../api";
import { days, minuteTime } from "../../format";
import { useNow } from "../../live/clock";
import { Copy } from "../../parts/copy";
import { Loading, Plate, ProblemPlate } from "../../parts/states";
import { addressWith, Link, usePlace } from "../../route";
import { useWords, type Words } from "../../words/words";
import { draftsOf } from "./draft-form";

export function Drafts({ company }: { company: Company }) {
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

export type Period = Pick<Draft, "periodStart" | "periodEnd">;

export const periodText = (words: Words, { periodStart, periodEnd }: Period) =>
  days(periodStart, periodEnd, words.language);

// This module is loaded when a draft is opened, because it is large and few visits need it.
const Markdown = lazy(() => import("./markdown"));

/** Every draft has these four headings in English; the copied text keeps them. */
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
    void import("./markdown");
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
          {words.expires("")} <time dateTime={draft.expiresAt}>{minuteTime(draft.expiresAt, words.language)}</time>
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
