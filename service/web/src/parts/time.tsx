/** Times: relative to read, exact on hover. */

import { useNow } from "../clock";
import { ago, exactTime, fromNow } from "../format";
import { useWords } from "../words";

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
