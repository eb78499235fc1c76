/** Addresses: the path names the screen, the query names its content. So the back button and shared links work everywhere. */

import { type AnchorHTMLAttributes, type MouseEvent, useSyncExternalStore } from "react";

export interface Place {
  path: string;
  query: URLSearchParams;
}

type Query = Record<string, string | number | null | undefined>;

const listeners = new Set<() => void>();

function tell() {
  for (const listener of listeners) listener();
}

function listen(listener: () => void) {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

const here = () => window.location.pathname + window.location.search;

export function usePlace(): Place {
  const address = useSyncExternalStore(listen, here);
  const mark = address.indexOf("?");
  return mark < 0
    ? { path: address, query: new URLSearchParams() }
    : { path: address.slice(0, mark), query: new URLSearchParams(address.slice(mark)) };
}

/** Goes to an address. `replace` adds no entry to the browser's history, for example while somebody moves a slider. */
export function go(to: string, { replace = false }: { replace?: boolean } = {}) {
  if (to === here()) return;
  window.history[replace ? "replaceState" : "pushState"](null, "", to);
  tell();
}

/** The address of `place` with these changes to its query; null, undefined and "" remove a value. */
export function addressWith(place: Place, changes: Query, path = place.path): string {
  const query = new URLSearchParams(place.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

interface LinkProps extends AnchorHTMLAttributes<HTMLAnchorElement> {
  to: string;
  replace?: boolean;
}

export function Link({ to, replace = false, onClick, ...rest }: LinkProps) {
  function follow(event: MouseEvent<HTMLAnchorElement>) {
    onClick?.(event);
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (event.defaultPrevented || !plain) return;
    event.preventDefault();
    go(to, { replace });
  }
  return <a href={to} onClick={follow} {...rest} />;
}
