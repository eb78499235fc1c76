/** What the log's signatures cover, and against which copy outside. */

import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { type LogState, logState } from "../../api";
import { ago, exactTime, number } from "../../format";
import { useNow } from "../../live/clock";
import { Copy } from "../../parts/copy";
import { Icon, type IconName } from "../../parts/icons";
import { Loading, Mishap } from "../../parts/states";
import { useWords } from "../../words/words";
import { explanationOf, type Tone, toneOf, verdictOf } from "./protection-words";

const EVERY = 15_000;

export function Protection() {
  const words = useWords();
  const { data, error, isPending } = useQuery({
    queryKey: ["log-state"],
    queryFn: ({ signal }) => logState(signal),
    refetchInterval: EVERY,
  });
  if (isPending) return <Loading rows={1} tall />;
  if (!data) return <Mishap error={error} />;
  const tone = toneOf(data);
  return (
    <section className={`card integrity integrity-${tone}`} aria-label={words.protection}>
      <span className="integrity-seal">
        <Icon name={ICONS[tone]} size={28} />
      </span>
      <div className="integrity-text">
        <h2>{words.protection}</h2>
        <p className="integrity-verdict">{verdictOf(words, data)}</p>
        <p>{explanationOf(words, data)}</p>
        {data.signing.detail && (
          <p className="faint protection-detail">
            {words.signerSays} {data.signing.detail}
          </p>
        )}
        <Facts state={data} />
        {error && <Mishap error={error} />}
      </div>
    </section>
  );
}

const ICONS: Record<Tone, IconName> = { none: "info", good: "audit", warn: "warn", bad: "warn" };

function Facts({ state }: { state: LogState }) {
  const words = useWords();
  const now = useNow();
  const { checkpoint, protectedSince, origin } = state;
  const time = (at: string) => (
    <time dateTime={at}>{words.timeAndAge(exactTime(at, words.language), ago(at, now, words.language))}</time>
  );
  return (
    <dl className="protection-facts">
      {checkpoint && (
        <>
          <Fact name={words.checkpointSize}>{words.firstEvents(number(checkpoint.size, words.language))}</Fact>
          <Fact name={words.signedWhen}>{time(checkpoint.signedAt)}</Fact>
          <Fact name={words.copyOfCheckpoint}>{checkpoint.copiedAt ? time(checkpoint.copiedAt) : words.noCopyYet}</Fact>
          {checkpoint.cosignatures > 0 && (
            <Fact name={words.witnesses}>{number(checkpoint.cosignatures, words.language)}</Fact>
          )}
        </>
      )}
      {protectedSince && <Fact name={words.protectedSince}>{time(protectedSince)}</Fact>}
      <Fact name={words.logName}>
        <code>{origin}</code>
        <Copy label={words.copyWhat(words.logName)} text={() => origin} />
      </Fact>
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
