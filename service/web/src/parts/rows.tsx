/** A long table that draws only the rows on the screen. It scrolls with the page. */

import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useLayoutEffect, useRef, useState } from "react";

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

  const rows = useWindowVirtualizer({
    count,
    estimateSize: () => height,
    overscan: 10,
    scrollMargin: top,
    getItemKey: keyOf,
    useFlushSync: false,
  });
  const drawn = rows.getVirtualItems();
  const lastDrawn = drawn.at(-1)?.index ?? 0;
  const nearEnd = useRef(onNearEnd);
  nearEnd.current = onNearEnd;
  useLayoutEffect(() => {
    if (count > 0 && lastDrawn >= count - 10) nearEnd.current?.();
  }, [lastDrawn, count]);

  return (
    // ARIA roles replace a real table, because a table cannot place its rows one by one.
    <div className={`rows ${className}`} role="table" aria-label={label} aria-rowcount={count + 1}>
      <div role="rowgroup">
        <div className="rows-head" role="row" aria-rowindex={1}>
          {head}
        </div>
      </div>
      <div ref={body} role="rowgroup" className="rows-body" style={{ height: rows.getTotalSize() }}>
        {drawn.map(({ index, key, start }) => (
          <div
            key={key}
            ref={rows.measureElement}
            data-index={index}
            role="row"
            aria-rowindex={index + 2}
            className={`rows-row ${rowClass?.(index) ?? ""}`}
            style={{ transform: `translateY(${start - top}px)` }}
          >
            {row(index)}
          </div>
        ))}
      </div>
    </div>
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
