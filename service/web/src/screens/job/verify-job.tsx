/** The verification of this job's history, and what its answer means. */

import type { UseMutationResult } from "@tanstack/react-query";
import type { Finding, JobVerification } from "../../api";
import { exactTime } from "../../format";
import { Icon } from "../../parts/icons";
import { Mishap, Slow } from "../../parts/states";
import { differenceText, findingExplained, findingMeaning } from "../../refusals/refusals";
import { useWords } from "../../words/words";
import { coverageText } from "./verification-words";

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
  // Findings that are no fault, such as an erasure that is on record, are listed and do not count.
  const { events, findings, findingCount: faults, verifiedAt } = verification;
  return (
    <>
      <p className={`verified-verdict ${faults ? "bad-text" : "good-text"}`}>
        <Icon name={faults ? "warn" : "audit"} size={20} />
        <b>{faults ? words.jobHasFaults(faults) : words.jobIsSound}</b>
      </p>
      <p>{faults ? words.whatFaultsMean : words.whatWasVerified(events)}</p>
      {findings.length > 0 && <Findings findings={findings} all={faults} />}
      <p>{coverageText(words, verification)}</p>
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
