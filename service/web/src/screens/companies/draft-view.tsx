/** One draft: its text, what it was made from, and the messages that it rests on. */

import { lazy, Suspense, useEffect, useMemo } from "react";
import type { Draft } from "../../api";
import { minuteTime } from "../../format";
import { Copy } from "../../parts/copy";
import { Loading } from "../../parts/states";
import { useWords } from "../../words/words";
import { draftText } from "./draft-text";
import { periodText } from "./drafts";
import { Sources } from "./sources";

// Loaded when a draft is opened, because it is large and few visits need it.
const Markdown = lazy(() => import("./markdown"));

export function DraftView({ draft }: { draft: Draft }) {
  const words = useWords();
  const tokens = tokensOf(draft);
  const text = useMemo(() => draftText(words, draft.content), [words, draft.content]);
  useEffect(() => {
    void import("./markdown");
  }, []);
  return (
    <article className="card draft" aria-label={periodText(words, draft)}>
      <header className="draft-head">
        <p className="faint">
          {words.draftResult(draft.sourceMessageCount, draft.usedMessageCount)} · {words.model}{" "}
          <code>{draft.model}</code>
          {tokens > 0 && ` · ${words.tokens(tokens)}`}
        </p>
        <span className="grow" />
        <Copy label={words.copyMarkdown} shown={words.copyMarkdown} text={() => text} />
      </header>
      <Suspense fallback={<Loading rows={4} />}>
        <Markdown text={text} />
      </Suspense>
      <footer className="draft-foot faint">
        <Sources draft={draft} />
        <span>
          {words.expires("")} <time dateTime={draft.expiresAt}>{minuteTime(draft.expiresAt, words.language)}</time>
        </span>
      </footer>
    </article>
  );
}

function tokensOf({ tokenUsage }: Draft): number {
  return Object.entries(tokenUsage ?? {})
    .filter(([name, value]) => /total/i.test(name) && typeof value === "number")
    .reduce((sum, [, value]) => sum + Number(value), 0);
}
