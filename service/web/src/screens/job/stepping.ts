/** Ways through a history: arrow keys, and playing event after event. */

import { type KeyboardEvent, useEffect, useEffectEvent, useState } from "react";
import type { JobEvent } from "../../api";

/** The arrow keys work on the whole screen, except in controls that use them already. */
export function useArrowKeys(seq: number, last: number, step: (to: number) => void) {
  const pressed = useEffectEvent((event: globalThis.KeyboardEvent | KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    const target = event.target as HTMLElement;
    if (target.closest("input, textarea, select, dialog, details[open] .menu-body, [contenteditable]")) return;
    const to = { ArrowLeft: seq - 1, ArrowRight: seq + 1, Home: 1, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    step(to);
  });
  useEffect(() => {
    const listen = (event: globalThis.KeyboardEvent) => pressed(event);
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);
}

const WHOLE_PLAY = 20_000;

/** Plays event after event. A long history is played faster, so that all of it takes at most `WHOLE_PLAY` milliseconds. */
export function usePlaying(events: JobEvent[], seq: number, move: (to: number) => void) {
  const [playing, setPlaying] = useState(false);
  const last = events.length;
  const next = useEffectEvent(() => {
    if (seq >= last) setPlaying(false);
    else move(seq + 1);
  });
  useEffect(() => {
    if (!playing) return;
    const timer = setInterval(() => next(), Math.min(900, Math.max(80, WHOLE_PLAY / last)));
    return () => clearInterval(timer);
  }, [playing, last]);

  function toggle() {
    if (!playing && seq >= last) move(1);
    setPlaying(!playing);
  }
  return { playing, toggle, stop: () => setPlaying(false) };
}
