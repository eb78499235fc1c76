/** The text of a draft in the reader's language: its four headings, and the sentence of an empty draft. */

import type { Words } from "../../words/words";

/** Every draft has these four headings in English, because programs read them. */
const headingsOf = (words: Words): Record<string, string> => ({
  Summary: words.headingSummary,
  "Key Topics": words.headingTopics,
  "Open Items": words.headingOpen,
  "Next Actions": words.headingNext,
});

/** The service writes this sentence in both languages. */
const NO_MESSAGES = "この期間のメッセージはありません。 (No messages in this period.)";

export function draftText(words: Words, content: string): string {
  const headings = headingsOf(words);
  return content
    .replace(/^## (.+?)[ \t]*$/gm, (line, heading: string) =>
      Object.hasOwn(headings, heading) ? `## ${headings[heading]}` : line,
    )
    .replaceAll(NO_MESSAGES, words.noMessagesInPeriod);
}
