/** The cause of an event, with a link to the event that it names. */

import { Link } from "../route";
import { useWords } from "../words/words";
import { causeOf, causeText } from "./cause-of";

export function CauseLink({ cause, jobId }: { cause: string; jobId: string }) {
  const words = useWords();
  const found = causeOf(cause);
  const text = causeText(words, cause, jobId);
  if (found.kind !== "event") return <span title={cause}>{text}</span>;
  return (
    <Link to={`/jobs/${found.jobId}?seq=${found.seq}`} title={cause}>
      {text}
    </Link>
  );
}
