/** What a job is about: its company, room or period, in the words of its type. */

import { Fragment } from "react";
import type { Job } from "../api";
import { shortDays } from "../format";
import { Link } from "../route";
import { useWords, type Words } from "../words/words";

export type DescriptionPart = Job["description"][number];

export function partText(words: Words, part: DescriptionPart): string {
  switch (part.kind) {
    case "text":
      return part.text;
    case "company":
      return part.name ?? words.unknownCompany;
    case "room":
      return part.name ?? part.roomId;
    case "period":
      return shortDays(part.start, part.end, words.language);
  }
}

/** "あけぼの食品 · 9/1〜11/30"; empty if the type has no words for it. */
export const descriptionText = (words: Words, job: Job): string =>
  job.description.map((part) => partText(words, part)).join(" · ");

/** The description with links: a company opens, and so does the draft that the job has made. */
export function Description({ job }: { job: Job }) {
  const words = useWords();
  const draft = draftOf(job);
  if (job.description.length === 0) return null;
  return (
    <span className="description">
      {job.description.map((part, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a job never change.
        <Fragment key={index}>
          {index > 0 && " · "}
          {part.kind === "company" && part.name !== null ? (
            <Link to={`/companies/${part.id}`}>{part.name}</Link>
          ) : (
            partText(words, part)
          )}
        </Fragment>
      ))}
      {draft && (
        <>
          {" · "}
          <Link to={draft}>{words.openDraft}</Link>
        </>
      )}
    </span>
  );
}

/** The address of the draft that a job has made. */
export function draftOf({ type, status, result }: Pick<Job, "type" | "status" | "result">): string | null {
  if (type !== "summary_draft" || status !== "completed") return null;
  const { id, companyId } = (result ?? {}) as { id?: unknown; companyId?: unknown };
  return typeof id === "string" && typeof companyId === "string" ? `/companies/${companyId}?draft=${id}` : null;
}
