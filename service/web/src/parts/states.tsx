/** Empty, loading, forbidden, not found, failed: shown in place of content. */

import { type ReactNode, useEffect, useEffectEvent, useState } from "react";
import { isReady, Refused } from "../api";
import { isPassing } from "../live/live";
import { errorMeaning, problemText } from "../refusals/refusals";
import { Link } from "../route";
import { useWords } from "../words/words";
import { Icon, type IconName } from "./icons";

interface PlateProps {
  icon: IconName;
  title: string;
  children?: ReactNode;
  tone?: "quiet" | "bad";
  action?: ReactNode;
}

export function Plate({ icon, title, children, tone = "quiet", action }: PlateProps) {
  return (
    <div className={`plate plate-${tone}`} {...(tone === "bad" ? { role: "alert" } : {})}>
      <span className="plate-icon">
        <Icon name={icon} size={24} />
      </span>
      <p className="plate-title">{title}</p>
      {children && <div className="plate-text">{children}</div>}
      {action && <div className="plate-action">{action}</div>}
    </div>
  );
}

export function Forbidden() {
  const words = useWords();
  return (
    <Plate icon="audit" title={words.forbiddenTitle}>
      {words.forbiddenText}
    </Plate>
  );
}

/** "Not found", with a link to the list, or else to the first screen. */
export function NotFound({ list }: { list?: string }) {
  const words = useWords();
  return (
    <Plate
      icon="search"
      title={words.notFoundTitle}
      action={
        <Link className="button" to={list ?? "/"}>
          {list ? words.toList : words.toStart}
        </Link>
      }
    >
      {words.notFoundText}
    </Plate>
  );
}

interface Problem {
  error: unknown;
  again?: () => void;
  /** The address of the list to return to if the thing was not found. */
  list?: string;
}

export function ProblemPlate({ error, again, list }: Problem) {
  const words = useWords();
  const passes = again !== undefined && isPassing(error) && !(error instanceof Refused && error.status === 429);
  useReady(passes, () => again?.());
  if (error instanceof Refused && error.status === 403 && problemText(words, error) === words.onlyAdminsMay) {
    return <Forbidden />;
  }
  if (error instanceof Refused && error.status === 404) return <NotFound {...(list ? { list } : {})} />;
  return (
    <Plate
      icon="warn"
      tone="bad"
      title={words.failedTitle}
      action={
        again && (
          <button type="button" className="button" onClick={again}>
            {words.reload}
          </button>
        )
      }
    >
      <p>
        {problemText(words, error)} {passes && words.tryingAgain}
      </p>
      {error instanceof Refused && error.requestId && !isPassing(error) && (
        <p className="faint">
          {words.requestId}: <code>{error.requestId}</code>
        </p>
      )}
    </Plate>
  );
}

const ASK_EVERY = 3_000;

/** Calls `then` when the service is ready again. The screen keeps its content until then. */
function useReady(wanted: boolean, then: () => void) {
  const ask = useEffectEvent(async () => {
    if (await isReady()) then();
  });
  useEffect(() => {
    if (!wanted) return;
    const timer = setInterval(() => void ask(), ASK_EVERY);
    return () => clearInterval(timer);
  }, [wanted]);
}

/** Grey bars in place of the rows to come, with a message if loading takes long. */
export function Loading({ rows = 4, tall = false }: { rows?: number; tall?: boolean }) {
  const words = useWords();
  return (
    <div className="loading" role="status">
      <span className="unseen">{words.loading}</span>
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the bars differ in nothing but their place.
        <span key={row} className={`bone${tall ? " bone-tall" : ""}`} />
      ))}
      <Slow />
    </div>
  );
}

const SLOW_AFTER = 5_000;

/** Nothing at first; after five seconds a message that the page is still waiting. */
export function Slow() {
  const words = useWords();
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW_AFTER);
    return () => clearTimeout(timer);
  }, []);
  return slow && <p className="faint">{words.slow}</p>;
}

/** An error in one part of a screen that otherwise works. */
export function Mishap({ error }: { error: unknown }) {
  const words = useWords();
  return (
    <p className="mishap" role="alert">
      <Icon name="warn" /> {problemText(words, error)}
    </p>
  );
}

/** The meaning of a job's error, beside its own message. */
export function Meaning({ error }: { error: { name: string; message: string } | null | undefined }) {
  const words = useWords();
  const text = error && errorMeaning(words, error);
  return text ? <span className="meaning">{text}</span> : null;
}
