/** Draws a draft's Markdown. A model wrote it from people's messages, so it is not trusted: only text, lists, tables and outside
 * links come through. */

import DOMPurify from "dompurify";
import { Marked } from "marked";
import { useLayoutEffect, useRef } from "react";

// HTML in the Markdown is shown as text and never parsed.
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

function sanitised(text: string): DocumentFragment {
  const fragment = DOMPurify.sanitize(markdown.parse(text, { async: false }), {
    ...ALLOWED,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  return fragment;
}

export default function Markdown({ text }: { text: string }) {
  const drawn = useRef<HTMLDivElement>(null);
  // The nodes are put into the page as they are, because the page's policy forbids HTML in strings (Trusted Types).
  useLayoutEffect(() => drawn.current?.replaceChildren(sanitised(text)), [text]);
  return <div className="markdown" ref={drawn} />;
}
