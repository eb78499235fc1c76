/** Times: relative in the text, exact on hover. */

import { ago, clock, exactTime, fromNow } from "../format";
import { useNow } from "../live/clock";
import { useWords } from "../words/words";

export function Ago({ at }: { at: string }) {
  const { language } = useWords();
  return (
    <time dateTime={at} title={exactTime(at, language)}>
      {ago(at, useNow(), language)}
    </time>
  );
}

export function Exact({ at }: { at: string }) {
  const { language } = useWords();
  const now = useNow();
  return (
    <time dateTime={at} title={fromNow(at, now, language)}>
      {exactTime(at, language)}
    </time>
  );
}

/** The time of day only, because the events of a timeline nearly always share a day. */
export function Clock({ at }: { at: string }) {
  const { language } = useWords();
  return (
    <time dateTime={at} title={exactTime(at, language)}>
      {clock(at, language)}
    </time>
  );
}
