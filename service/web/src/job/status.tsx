/** A status in a word, with a shape and a colour of its own. */

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
