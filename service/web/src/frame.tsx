/** What stands around every screen: where one can go, who one is, whether what one sees is live. */

import { useMutation, useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef, useSyncExternalStore } from "react";
import { modelShutdown } from "./api";
import { useLiveState } from "./live";
import { Icon, type IconName } from "./parts/icons";
import { Menu } from "./parts/menu";
import { type Theme, usePreferences } from "./preferences";
import { Link, usePlace } from "./route";
import { useSession, useUser } from "./session";
import { useToasts } from "./toasts";
import { useWords } from "./words";

export function Frame({ children }: { children: ReactNode }) {
  const words = useWords();
  const place = usePlace();
  const main = useRef<HTMLElement>(null);
  const shown = useRef(place.path);

  // Somebody who hears the page must hear that it is another one now: the focus goes to its heading.
  useEffect(() => {
    if (shown.current === place.path) return;
    shown.current = place.path;
    window.scrollTo(0, 0);
    main.current?.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
  }, [place.path]);

  return (
    <div className="frame">
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

export function Mark() {
  return (
    <svg className="mark" width="26" height="26" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" />
      <path d="M10 7v18M17 9h8M17 16h5M17 23h8" />
      <circle cx="10" cy="9" r="3" />
      <circle className="open" cx="10" cy="16" r="3" />
      <circle cx="10" cy="23" r="3" />
    </svg>
  );
}

function Navigation({ path }: { path: string }) {
  const words = useWords();
  const { isAdmin } = useSession();
  const links: [address: string, word: string, icon: IconName, here: RegExp][] = [
    ["/chatwork", words.chatwork, "chatwork", isAdmin ? /^\/(chatwork)?$/ : /^\/chatwork$/],
    ["/jobs", words.jobs, "jobs", isAdmin ? /^\/jobs/ : /^\/(jobs|$)/],
    ["/companies", words.companies, "companies", /^\/companies/],
  ];
  if (isAdmin) links.push(["/audit", words.audit, "audit", /^\/audit/]);
  return (
    <nav className="links" aria-label={words.navigation}>
      {links.map(([address, word, icon, here]) => (
        <Link key={address} to={address} {...(here.test(path) ? { "aria-current": "page" as const } : {})}>
          <Icon name={icon} size={18} />
          {word}
        </Link>
      ))}
    </nav>
  );
}

function LiveDot() {
  const words = useWords();
  const state = useLiveState();
  return (
    <span className={`live live-${state}`} role="status" title={words[`${state}Hint`]}>
      <i aria-hidden="true" />
      <span>{words[state]}</span>
    </span>
  );
}

const isOnline = () => navigator.onLine;

function listenOnline(listener: () => void) {
  window.addEventListener("online", listener);
  window.addEventListener("offline", listener);
  return () => {
    window.removeEventListener("online", listener);
    window.removeEventListener("offline", listener);
  };
}

function Connection() {
  const words = useWords();
  const online = useSyncExternalStore(listenOnline, isOnline);
  return (
    <div role="status">
      {!online && (
        <p className="banner">
          <Icon name="warn" /> {words.offline}
        </p>
      )}
    </div>
  );
}

const HOURLY = 60 * 60_000;

/** Only somebody who can do something about it is told. */
function Notices() {
  const words = useWords();
  const { isAdmin } = useSession();
  const { data: shutdown } = useQuery({
    queryKey: ["model-shutdown"],
    queryFn: ({ signal }) => modelShutdown(signal),
    enabled: isAdmin,
    staleTime: HOURLY,
    refetchInterval: HOURLY,
  });
  return (
    <div role="status">
      {shutdown && (
        <p className="banner">
          <Icon name="warn" /> {words.modelShutdown(shutdown.model, shutdown.date)}
        </p>
      )}
    </div>
  );
}

function Account() {
  const words = useWords();
  const user = useUser();
  const { leave } = useSession();
  const { say } = useToasts();
  const leaving = useMutation({ mutationFn: leave, onError: () => say(words.notSignedOut, "bad") });
  return (
    <Menu
      className="account"
      label={words.account}
      button={
        <>
          <span className="avatar" aria-hidden="true">
            {(user.name || user.email).slice(0, 1).toUpperCase()}
          </span>
          <Icon name="down" size={14} />
        </>
      }
    >
      <div className="account-who">
        <b>{user.name || user.email}</b>
        {user.name && <span>{user.email}</span>}
        <span className="faint">{words[user.role]}</span>
      </div>
      <Choices />
      <hr />
      <a className="menu-item" href="/api/docs">
        {words.apiDocs}
      </a>
      <button type="button" className="menu-item" disabled={leaving.isPending} onClick={() => leaving.mutate()}>
        {words.signOut}
      </button>
    </Menu>
  );
}

const THEMES: [Theme, "themeAuto" | "themeLight" | "themeDark", IconName][] = [
  ["auto", "themeAuto", "auto"],
  ["light", "themeLight", "light"],
  ["dark", "themeDark", "dark"],
];

export function Choices() {
  const words = useWords();
  const { language, speak, theme, paint } = usePreferences();
  return (
    <div className="choices">
      <fieldset className="segments">
        <legend className="unseen">{words.language}</legend>
        {(["ja", "en"] as const).map((code) => (
          <label key={code} lang={code}>
            <input type="radio" name="language" checked={language === code} onChange={() => speak(code)} />
            <span>{code === "ja" ? "日本語" : "English"}</span>
          </label>
        ))}
      </fieldset>
      <fieldset className="segments">
        <legend className="unseen">{words.theme}</legend>
        {THEMES.map(([code, word, icon]) => (
          <label key={code} title={words[word]}>
            <input
              type="radio"
              name="theme"
              checked={theme === code}
              onChange={() => paint(code)}
              aria-label={words[word]}
            />
            <span>
              <Icon name={icon} />
            </span>
          </label>
        ))}
      </fieldset>
    </div>
  );
}
