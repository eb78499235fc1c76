/** A status as a word, a shape and a colour. */

import type { Status } from "../api";
import { Icon } from "../parts/icons";
import { useWords } from "../words/words";
import { statusWord } from "./naming";

export function StatusBadge({ status, large = false }: { status: Status; large?: boolean }) {
  const words = useWords();
  return (
    <span className={`status status-${status}${large ? " status-large" : ""}`}>
      <Icon name={status} size={large ? 18 : 14} />
      {statusWord(words, status)}
    </span>
  );
}
