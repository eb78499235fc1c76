/** A company's drafts as a list, the latest period first, and the chosen one. */

import { useQuery } from "@tanstack/react-query";
import { type Company, type Draft, listDrafts } from "../../api";
import { days, minuteTime, number } from "../../format";
import { useNow } from "../../live/clock";
import { Icon } from "../../parts/icons";
import { Loading, Plate, ProblemPlate } from "../../parts/states";
import { useDialog } from "../../parts/use-dialog";
import { addressWith, Link, usePlace } from "../../route";
import { useSession } from "../../session";
import { useWords, type Words } from "../../words/words";
import { DeleteDraft } from "./delete-draft";
import { draftsOf } from "./draft-form";
import { DraftView } from "./draft-view";

export function Drafts({ company }: { company: Company }) {
  const words = useWords();
  const place = usePlace();
  const { mayChange } = useSession();
  const deleting = useDialog("delete-draft");
  const listing = useQuery({ queryKey: draftsOf(company.id), queryFn: ({ signal }) => listDrafts(company.id, signal) });
  const drafts = [...(listing.data ?? [])].sort(latestPeriodFirst);
  const asked = place.query.get("draft");
  const shown = drafts.find(({ id }) => id === asked) ?? drafts[0];
  const goes = mayChange ? drafts.find(({ id }) => id === deleting.of) : undefined;

  if (listing.isPending) return <Loading rows={3} />;
  if (listing.error) return <ProblemPlate error={listing.error} again={() => void listing.refetch()} />;
  return (
    <section className="section" aria-labelledby="drafts-heading">
      <div className="section-head">
        <h3 id="drafts-heading">{words.drafts}</h3>
        <span className="count">{number(drafts.length, words.language)}</span>
        {drafts.length > 1 && <span className="faint small">{words.latestPeriodFirst}</span>}
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
              <Row key={draft.id} draft={draft} here={draft === shown} onDelete={mayChange ? deleting.open : null} />
            ))}
          </ul>
          <DraftView key={shown.id} draft={shown} />
        </div>
      )}
      {goes && <DeleteDraft draft={goes} onClose={deleting.close} />}
    </section>
  );
}

function Row({
  draft,
  here,
  onDelete,
}: {
  draft: Draft;
  here: boolean;
  /** Null for a reader who may change nothing. */
  onDelete: ((id: string) => void) | null;
}) {
  const words = useWords();
  const place = usePlace();
  const now = useNow();
  const period = periodText(words, draft);
  return (
    <li className={here ? "draft-here" : ""}>
      <Link to={addressWith(place, { draft: draft.id })} replace {...(here ? { "aria-current": "true" as const } : {})}>
        <b>{period}</b>
        <span className="faint">{words.draftResult(draft.sourceMessageCount, draft.usedMessageCount)}</span>
        {Date.parse(draft.expiresAt) < now ? (
          <span className="expired">{words.expired}</span>
        ) : (
          <span className="faint">{words.expires(minuteTime(draft.expiresAt, words.language))}</span>
        )}
      </Link>
      {onDelete && (
        <button
          type="button"
          className="icon-button"
          aria-label={words.deleteWhat(period)}
          title={words.deleteDraft}
          onClick={() => onDelete(draft.id)}
        >
          <Icon name="close" />
        </button>
      )}
    </li>
  );
}

const latestPeriodFirst = (one: Draft, other: Draft) =>
  Date.parse(other.periodEnd) - Date.parse(one.periodEnd) ||
  Date.parse(other.periodStart) - Date.parse(one.periodStart);

export type Period = Pick<Draft, "periodStart" | "periodEnd">;

export const periodText = (words: Words, { periodStart, periodEnd }: Period) =>
  days(periodStart, periodEnd, words.language);
