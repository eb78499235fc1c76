/** A long table that draws only the rows on the screen. It scrolls with the page. */

import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useEffect, useLayoutEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { useWords } from "../words/words";

interface RowsProps {
  label: string;
  className: string;
  head: ReactNode;
  count: number;
  height: number;
  keyOf: (index: number) => string;
  row: (index: number) => ReactNode;
  rowClass?: (index: number) => string;
  /** Called when the reader comes near the end. */
  onNearEnd?: () => void;
}

export function Rows({ label, className, head, count, height, keyOf, row, rowClass, onNearEnd }: RowsProps) {
  const body = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);

  // The content above the table changes, so the table's place is measured whenever the page's height changes.
  useLayoutEffect(() => {
    const measure = () => body.current && setTop(body.current.getBoundingClientRect().top + window.scrollY);
    measure();
    const watching = new ResizeObserver(measure);
    watching.observe(document.body);
    return () => watching.disconnect();
  }, []);

  const words = useWords();
  const [all, setAll] = useState(false);
  useEffect(() => {
    // The browser draws the paper right after this event, so the rows must be there at once.
    const before = () => flushSync(() => setAll(true));
    window.addEventListener("beforeprint", before);
    return () => window.removeEventListener("beforeprint", before);
  }, []);

  const rows = useWindowVirtualizer({
    count,
    enabled: !all,
    estimateSize: () => height,
    overscan: 10,
    scrollMargin: top,
    getItemKey: keyOf,
    useFlushSync: false,
  });
  const drawn = all
    ? Array.from({ length: count }, (_, index) => ({ index, key: keyOf(index), start: 0 }))
    : rows.getVirtualItems();
  const lastDrawn = drawn.at(-1)?.index ?? 0;
  const nearEnd = useRef(onNearEnd);
  nearEnd.current = onNearEnd;
  useLayoutEffect(() => {
    if (count > 0 && lastDrawn >= count - 10) nearEnd.current?.();
  }, [lastDrawn, count]);

  return (
    <>
      {/* Roles instead of a real table, because a table cannot place its rows one by one. */}
      <div
        className={`rows ${className}${all ? " rows-whole" : ""}`}
        role="table"
        aria-label={label}
        aria-rowcount={count + 1}
      >
        <div role="rowgroup">
          <div className="rows-head" role="row" aria-rowindex={1}>
            {head}
          </div>
        </div>
        <div ref={body} role="rowgroup" className="rows-body" style={all ? {} : { height: rows.getTotalSize() }}>
          {drawn.map(({ index, key, start }) => (
            <div
              key={key}
              ref={all ? null : rows.measureElement}
              data-index={index}
              role="row"
              aria-rowindex={index + 2}
              className={`rows-row ${rowClass?.(index) ?? ""}`}
              style={all ? {} : { transform: `translateY(${start - top}px)` }}
            >
              {row(index)}
            </div>
          ))}
        </div>
      </div>
      {!all && drawn.length < count && (
        <p className="rows-all">
          <button type="button" className="link" onClick={() => setAll(true)}>
            {words.showAllRows}
          </button>{" "}
          <span className="faint">{words.showAllRowsWhy}</span>
        </p>
      )}
    </>
  );
}

export function Cell({
  children,
  className = "",
  label,
}: {
  children?: ReactNode;
  className?: string;
  label?: string;
}) {
  return (
    <div role="cell" className={`cell ${className}`} {...(label ? { "data-label": label } : {})}>
      {children}
    </div>
  );
}

export function HeadCell({ children, className = "" }: { children?: ReactNode; className?: string }) {
  return (
    <div role="columnheader" className={`cell ${className}`}>
      {children}
    </div>
  );
}
