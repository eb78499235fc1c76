/** One clock for the whole page: every "3 s ago" is redrawn at the same moment, once a second. */

import { useSyncExternalStore } from "react";
import { serverNow } from "../api";

let now = serverNow();
let ticking: ReturnType<typeof setInterval> | undefined;
const listeners = new Set<() => void>();

function listen(listener: () => void) {
  listeners.add(listener);
  if (!ticking) {
    now = serverNow();
    ticking = setInterval(tick, 1_000);
  }
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(ticking);
    ticking = undefined;
  };
}

function tick() {
  if (document.hidden) return;
  now = serverNow();
  for (const listener of listeners) listener();
}

/** The service's time in milliseconds, updated once a second. */
export const useNow = () => useSyncExternalStore(listen, () => now);
