/** The reader's latest drafts, of all companies: shown until a company is opened. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type Company, type Job, listJobs } from "../../api";
import { StatusBadge } from "../../job/status";
import { useChanges, useTick } from "../../live/live";
import { Icon } from "../../parts/icons";
import { Loading, Plate, ProblemPlate } from "../../parts/states";
import { Ago } from "../../parts/time";
import { Link } from "../../route";
import { useSession, useUser } from "../../session";
import { useWords } from "../../words/words";
import { type Period, periodText } from "./drafts";

const SHOWN = 20;
const OWN = ["own-drafts"];

export function OwnDrafts({ companies }: { companies: Company[] }) {
  const words = useWords();
  const { jobs, error, refetch } = useOwnDrafts();
  return (
    <section className="own-drafts" aria-labelledby="own-drafts-heading">
      <h2 id="own-drafts-heading">{words.ownDrafts}</h2>
      {!jobs && (error ? <ProblemPlate error={error} again={() => void refetch()} /> : <Loading rows={3} />)}
      {jobs?.length === 0 && (
        <Plate icon="document" title={words.noDrafts}>
          {words.noOwnDraftsText}
        </Plate>
      )}
      <ul className="own-drafts-list">
        {jobs?.map((job) => (
          <OwnDraft key={job.id} job={job} companies={companies} />
        ))}
      </ul>
    </section>
  );
}

function useOwnDrafts() {
  const user = useUser();
  const { readsAll } = useSession();
  const queries = useQueryClient();
  // Employees get only their own jobs, and may not choose an owner.
  const filter = { type: "summary_draft", ...(readsAll && { userId: user.id }) };
  const listing = useQuery({
    queryKey: OWN,
    queryFn: async ({ signal }) => (await listJobs(filter, { limit: SHOWN }, signal)).jobs,
  });
  const refresh = () => void queries.invalidateQueries({ queryKey: OWN });
  useChanges((changes) => {
    if (changes.some(({ type, userId }) => type === filter.type && userId === user.id)) refresh();
  });
  useTick(refresh);
  return { ...listing, jobs: listing.data };
}

function OwnDraft({ job, companies }: { job: Job; companies: Company[] }) {
  const words = useWords();
  const payload = job.payload as Period & { companyId: string };
  const company = companies.find(({ id }) => id === payload.companyId);
  const made = job.status === "completed" ? (job.result as { id?: string } | null)?.id : undefined;
  return (
    <li>
      <Link className="own-draft" to={company && made ? `/companies/${company.id}?draft=${made}` : `/jobs/${job.id}`}>
        <Icon name="document" size={18} />
        <span className="own-draft-what">
          <b>{company?.name ?? words.unknownCompany}</b>
          <span>{periodText(words, payload)}</span>
        </span>
        <StatusBadge status={job.status} />
        <span className="faint">
          <Ago at={job.createdAt} />
        </span>
      </Link>
    </li>
  );
}
