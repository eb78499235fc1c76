import { type ReactNode, useEffect, useRef } from "react";
import { useLiveState } from "../live/live";
import { Icon, type IconName } from "../parts/icons";
import { Link, usePlace } from "../route";
import { useSession } from "../session";
import { useWords } from "../words/words";
import { Account } from "./account";
import { Connection, Notices } from "./banners";
import { Mark } from "./mark";
import { useOnline } from "./online";

export function Frame({ children }: { children: ReactNode }) {
  const words = useWords();
  const place = usePlace();
  const main = useRef<HTMLElement>(null);
  const shown = useRef(place.path);

  // The focus goes to the heading, so that a screen reader announces the new screen.
  useEffect(() => {
    if (shown.current === place.path) return;
    shown.current = place.path;
    window.scrollTo(0, 0);
    main.current?.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
  }, [place.path]);

  return (
    <div className="frame">
      {/* biome-ignore lint/a11y/useValidAnchor: a skip link is a link, and it must also move the focus in browsers that only scroll. */}
      <a className="skip" href="#main" onClick={() => main.current?.focus()}>
        {words.skip}
      </a>
      <header className="top">
        <Link className="brand" to="/" aria-label="Rireki 履歴">
          <Mark />
          <span>Rireki</span>
        </Link>
        <Navigation path={place.path} />
        <span className="grow" />
        <LiveDot />
        <Account />
      </header>
      <Connection />
      <Notices />
      <main id="main" ref={main} tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

function Navigation({ path }: { path: string }) {
  const words = useWords();
  const { isAdmin, readsAll, first } = useSession();
  const here = path === "/" ? `/${first}` : path;
  const links: [address: string, word: string, icon: IconName][] = [
    ["/jobs", words.jobs, "jobs"],
    ["/companies", words.companies, "companies"],
  ];
  if (isAdmin) links.unshift(["/chatwork", words.chatwork, "chatwork"]);
  if (readsAll) links.push(["/audit", words.audit, "audit"]);
  return (
    <nav className="links" aria-label={words.navigation}>
      {links.map(([address, word, icon]) => (
        <Link key={address} to={address} {...(here.startsWith(address) ? { "aria-current": "page" as const } : {})}>
          <Icon name={icon} size={18} />
          {word}
        </Link>
      ))}
    </nav>
  );
}

function LiveDot() {
  const words = useWords();
  const live = useLiveState();
  const state = useOnline() ? live : "noNetwork";
  return (
    <span className={`live live-${state}`} role="status" title={words[`${state}Hint`]}>
      <i aria-hidden="true" />
      <span>{words[state]}</span>
    </span>
  );
}
