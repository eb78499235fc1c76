/** The frame of the screens for people who are not signed in: a card in the middle, the language and the theme below it. */

import { type ReactNode, useEffect } from "react";
import { Choices } from "./choices";
import { Mark } from "./mark";

interface OutsideProps {
  /** The name of the screen in the browser's tab. */
  tab: string;
  heading: ReactNode;
  intro: string;
  children: ReactNode;
}

export function Outside({ tab, heading, intro, children }: OutsideProps) {
  useEffect(() => {
    document.title = `${tab} · Rireki`;
  }, [tab]);

  return (
    <main className="sign-in">
      <div className="sign-in-card">
        <div className="sign-in-brand">
          <Mark />
          <div>
            <h1>{heading}</h1>
            <p className="faint">{intro}</p>
          </div>
        </div>
        {children}
      </div>
      <Choices />
    </main>
  );
}
