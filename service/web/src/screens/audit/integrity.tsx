/** The result of the last verification of the log. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type Finding, lastVerification, type Verification, verify } from "../../api";
import { ago } from "../../format";
import { useNow } from "../../live/clock";
import { Icon } from "../../parts/icons";
import { Loading, Mishap } from "../../parts/states";
import { useNames } from "../../people";
import { differenceText, findingMeaning } from "../../refusals/refusals";
import { useWords } from "../../words/words";
import { againstText } from "./protection-words";

const VERIFICATION = ["verification"];

export function Integrity() {
  const words = useWords();
  const queries = useQueryClient();
  const { data, isPending, error } = useQuery({
    queryKey: VERIFICATION,
    queryFn: ({ signal }) => lastVerification(signal),
    refetchInterval: ({ state }) => (state.data && !state.data.finishedAt ? 1_000 : 30_000),
  });
  const starting = useMutation({
    mutationFn: verify,
    onSuccess: (verification) => queries.setQueryData(VERIFICATION, verification),
  });
  const running = data !== null && data !== undefined && data.finishedAt === null;
  if (isPending) return <Loading rows={1} tall />;
  return (
    <section className={`card integrity integrity-${toneOf(data)}`} aria-label={words.integrity}>
      <span className="integrity-seal">
        <Icon name={toneOf(data) === "bad" ? "warn" : "audit"} size={28} />
      </span>
      <div className="integrity-text" aria-live="polite">
        <h2>{words.integrity}</h2>
        <IntegrityText verification={data ?? null} />
        {error && <Mishap error={error} />}
        {starting.error && <Mishap error={starting.error} />}
      </div>
      <button
        type="button"
        className="button"
        disabled={running || starting.isPending}
        onClick={() => starting.mutate()}
      >
        {running ? words.verifying : words.verify}
      </button>
    </section>
  );
}

function toneOf(verification: Verification | null | undefined): "none" | "good" | "bad" | "running" {
  if (!verification) return "none";
  if (verification.error || (verification.differenceCount ?? 0) > 0) return "bad";
  return verification.finishedAt ? "good" : "running";
}

function IntegrityText({ verification }: { verification: Verification | null }) {
  const words = useWords();
  const names = useNames();
  const now = useNow();
  if (!verification) return <p className="integrity-verdict">{words.integrityNever}</p>;
  const { finishedAt, startedAt, actor, events, jobs, error, differenceCount, differences, findings } = verification;
  const verdict = error
    ? words.integrityFailed
    : differenceCount
      ? words.integrityBad(differenceCount)
      : finishedAt
        ? words.integrityGood
        : words.verifying;
  return (
    <>
      <p className="integrity-verdict">{verdict}</p>
      <p className="faint">
        {events !== null && jobs !== null && `${words.covered(events, jobs)} · `}
        {words.verifiedBy(ago(finishedAt ?? startedAt, now, words.language), names.actor(actor))}
      </p>
      {finishedAt && !error && <p>{againstText(words, verification)}</p>}
      {error && <p className="error-line">{error}</p>}
      {differences.length > 0 && (
        <details>
          <summary>{words.differencesShown(differences.length, differenceCount ?? differences.length)}</summary>
          <ul className="differences">
            {differences.map((difference, place) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: two differences may have the same text.
              <li key={`${place} ${difference}`}>
                <FindingHead finding={findings[place]} />
                {differenceText(words, difference)}
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

/** The name, meaning and place of a finding. Old verifications have no findings. */
function FindingHead({ finding }: { finding: Finding | undefined }) {
  const words = useWords();
  if (!finding) return null;
  const places = [
    finding.seq !== null && words.findingAt(finding.seq),
    finding.position !== null && words.findingPosition(finding.position),
  ].filter((place) => place !== false);
  return (
    <>
      <code>{finding.name}</code> <b>{findingMeaning(words, finding.name)}</b>
      {places.length > 0 && ` (${places.join(", ")})`}
      <br />
    </>
  );
}
