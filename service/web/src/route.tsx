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
  return placeOf(useSyncExternalStore(listen, here));
}

/** The address as it is at this moment, for a callback that may be late. */
export const placeNow = () => placeOf(here());

function placeOf(address: string): Place {
  const mark = address.indexOf("?");
  return mark < 0
    ? { path: address, query: new URLSearchParams() }
    : { path: address.slice(0, mark), query: new URLSearchParams(address.slice(mark)) };
}

interface Way {
  /** Adds no entry to the browser's history, for example while somebody moves a slider. */
  replace?: boolean;
  /** Opens a dialog over this screen, which `back` closes. */
  opens?: boolean;
}

/** Goes to an address. */
export function go(to: string, { replace = false, opens = false }: Way = {}) {
  if (to === here()) return;
  if (replace) window.history.replaceState(window.history.state, "", to);
  else window.history.pushState(opens ? OPENED : null, "", to);
  tell();
}

const OPENED = "opened here";
let goingBack = false;

/** Closes a dialog: goes back to the screen that opened it, or replaces the address by `to` if a link opened it. */
export function back(to: string) {
  if (goingBack) return;
  if (window.history.state !== OPENED) return go(to, { replace: true });
  // The browser goes back later. A second Escape until then would leave the screen.
  goingBack = true;
  window.addEventListener("popstate", () => (goingBack = false), { once: true });
  window.history.back();
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
