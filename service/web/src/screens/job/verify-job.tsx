/** The verification of this job's history, and what its answer means. */

import type { UseMutationResult } from "@tanstack/react-query";
import type { Coverage, Finding, JobVerification } from "../../api";
import { exactTime } from "../../format";
import { Icon } from "../../parts/icons";
import { Mishap, Slow } from "../../parts/states";
import { differenceText, findingExplained, findingMeaning } from "../../refusals/refusals";
import { useWords, type Words } from "../../words/words";

/** Told about the log, but no fault. */
const HARMLESS = new Set(["REDACTED"]);

export const isFault = ({ name }: Finding) => !HARMLESS.has(name);

export function VerificationOfJob({ verifying }: { verifying: UseMutationResult<JobVerification, Error, void> }) {
  const words = useWords();
  const { data, error, isPending, isIdle } = verifying;
  if (isIdle) return null;
  return (
    <section className="card verified" aria-label={words.verificationOfJob} aria-busy={isPending} aria-live="polite">
      {isPending ? (
        <p>
          {words.verifying}
          <Slow />
        </p>
      ) : error ? (
        <Mishap error={error} />
      ) : (
        data && <Result verification={data} />
      )}
    </section>
  );
}

function Result({ verification }: { verification: JobVerification }) {
  const words = useWords();
  const { events, findings, findingCount, verifiedAt, covers } = verification;
  const harmless = findings.filter((finding) => !isFault(finding)).length;
  const faults = findingCount - harmless;
  return (
    <>
      <p className={`verified-verdict ${faults ? "bad-text" : "good-text"}`}>
        <Icon name={faults ? "warn" : "audit"} size={20} />
        <b>{faults ? words.jobHasFaults(faults) : words.jobIsSound}</b>
      </p>
      <p>{faults ? words.whatFaultsMean : words.whatWasVerified(events)}</p>
      {findings.length > 0 && <Findings findings={findings} all={findingCount} />}
      <p>{coverageText(words, covers, events)}</p>
      <p className="faint">{words.verifiedAt(exactTime(verifiedAt, words.language))}</p>
    </>
  );
}

function Findings({ findings, all }: { findings: Finding[]; all: number }) {
  const words = useWords();
  return (
    <>
      <ul className="verified-findings">
        {findings.map((finding, place) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: two findings may have the same text.
          <li key={`${place} ${finding.name}`}>
            <p>
              <code>{finding.name}</code> <b>{findingMeaning(words, finding.name)}</b>
              {finding.seq !== null && ` (${words.findingAt(finding.seq)})`}
            </p>
            <p>{findingExplained(words, finding.name)}</p>
            <p className="faint">{differenceText(words, `${finding.jobId}: ${finding.detail}`)}</p>
          </li>
        ))}
      </ul>
      {all > findings.length && <p className="faint">{words.differencesShown(findings.length, all)}</p>}
    </>
  );
}

/** How far a signed checkpoint covers the job's events. */
export function coverageText(words: Words, covers: Coverage | null, events: number): string {
  if (covers === null) return words.notCovered;
  const signed = exactTime(covers.signedAt, words.language);
  const covered =
    covers.events >= events
      ? words.allCovered(events, covers.size, signed)
      : words.partlyCovered(covers.events, events, covers.size, signed);
  const copy = covers.copiedAt ? words.copyOutside(exactTime(covers.copiedAt, words.language)) : words.noCopyOutside;
  return words.language === "ja" ? `${covered}${copy}` : `${covered} ${copy}`;
}
