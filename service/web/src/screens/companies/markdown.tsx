/** Draws a draft's Markdown. A model wrote it from people's messages, so it is not trusted: only text, lists, tables and outside
 * links come through. */

import DOMPurify from "dompurify";
import { Marked } from "marked";
import { useMemo } from "react";

// HTML in it is shown as text and never parsed.
const markdown = new Marked({
  gfm: true,
  renderer: { html: ({ text }) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;") },
});

const ALLOWED = {
  ALLOWED_TAGS: [
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "p",
    "br",
    "hr",
    "ul",
    "ol",
    "li",
    "strong",
    "em",
    "del",
    "code",
    "pre",
    "blockquote",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "a",
  ],
  ALLOWED_ATTR: ["href", "start", "align"],
  ALLOWED_URI_REGEXP: /^https?:/i,
};

const inOtherWords = (text: string, headings: Record<string, string>) =>
  text.replace(/^## (.+?)\s*$/gm, (line, heading: string) => (headings[heading] ? `## ${headings[heading]}` : line));

export function sanitised(text: string): string {
  const fragment = DOMPurify.sanitize(markdown.parse(text, { async: false }), {
    ...ALLOWED,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  const holder = document.createElement("div");
  holder.append(fragment);
  return holder.innerHTML;
}

/** `headings` maps second-level headings to the words that are shown. */
export default function Markdown({ text, headings = {} }: { text: string; headings?: Record<string, string> }) {
  const html = useMemo(() => sanitised(inOtherWords(text, headings)), [text, headings]);
  // biome-ignore lint/security/noDangerouslySetInnerHtml: `sanitised` has just removed everything dangerous.
  return <div className="markdown" dangerouslySetInnerHTML={{ __html: html }} />;
}
