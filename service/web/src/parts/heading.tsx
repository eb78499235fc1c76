/** A screen's heading. It names the page in the window's title, and takes the focus when one comes here. */

import { type ReactNode, useEffect } from "react";

export function Heading({ title, intro, children }: { title: string; intro?: ReactNode; children?: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Rireki`;
  }, [title]);
  return (
    <div className="heading">
      <h1 tabIndex={-1}>{title}</h1>
      {intro && <p className="intro">{intro}</p>}
      {children && <div className="heading-side">{children}</div>}
    </div>
  );
}
