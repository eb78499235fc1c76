/** A screen's heading. It also sets the title of the window, and takes the focus when the screen opens. */

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
