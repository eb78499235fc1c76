/** Reads server-sent events (HTML standard, 9.2) and reconnects after a break. */

import { createParser } from "eventsource-parser";
import { Refused } from "../api";

export interface Message {
  event: string;
  data: string;
}

/** Turns pieces of text into messages, wherever the network has cut the text. A reconnect resumes after `lastId`. */
export class Parser {
  lastId: string;
  #messages: Message[] = [];
  readonly #parser = createParser({
    onId: (id) => {
      this.lastId = id;
    },
    onEvent: ({ event = "message", data }) => this.#messages.push({ event, data }),
  });

  constructor(lastId = "") {
    this.lastId = lastId;
  }

  push(text: string): Message[] {
    this.#messages = [];
    this.#parser.feed(text);
    return this.#messages;
  }

  /** Drops an unfinished message, because the connection broke. */
  broken() {
    this.#parser.reset();
  }
}

export type LiveState = "connecting" | "live" | "reconnecting" | "polling";

export interface Following {
  open: (lastId: string, signal: AbortSignal) => Promise<ReadableStream<Uint8Array<ArrayBuffer>> | null>;
  onMessages: (messages: Message[]) => void;
  onState?: (state: LiveState) => void;
  /** The id of the last message that the caller already has. */
  after?: string;
}

const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 15_000;
const FAILURES_UNTIL_POLLING = 2;
/** The service sends something every 15 seconds, so a connection that is silent for longer is dead. */
const LONGEST_SILENCE = 40_000;
/** A browser allows six connections to a host over all its tabs, so a hidden page gives its connection back. */
const HIDDEN_FOR = 60_000;

/** Follows a stream and reconnects after breaks. Ends when the returned function is called or the service has nothing more to send. */
export function follow({ open, onMessages, onState = () => {}, after = "" }: Following): () => void {
  const stopped = new AbortController();
  const parser = new Parser(after);
  let failures = 0;

  async function read() {
    const connection = new AbortController();
    const signal = AbortSignal.any([stopped.signal, connection.signal]);
    const unwatch = whenUseless(() => connection.abort());
    const decoder = new TextDecoder();
    let silence: ReturnType<typeof setTimeout> | undefined;
    try {
      const body = await open(parser.lastId, signal);
      if (body === null) return false;
      onState("live");
      failures = 0;
      const reader = body.getReader();
      for (;;) {
        silence = setTimeout(() => connection.abort(), LONGEST_SILENCE);
        const { done, value } = await reader.read();
        clearTimeout(silence);
        if (done) return true;
        const messages = parser.push(decoder.decode(value, { stream: true }));
        if (messages.length) onMessages(messages);
      }
    } finally {
      clearTimeout(silence);
      unwatch();
      parser.broken();
    }
  }

  async function run() {
    onState("connecting");
    while (!stopped.signal.aborted) {
      try {
        if (!(await read())) return;
      } catch (error) {
        if (stopped.signal.aborted) return;
        if (error instanceof Refused && error.status >= 400 && error.status < 500 && error.status !== 429) {
          if (error.status === 401) return;
          failures = Math.max(failures, FAILURES_UNTIL_POLLING);
        }
      }
      if (stopped.signal.aborted) return;
      await shown(stopped.signal);
      failures += 1;
      onState(failures > FAILURES_UNTIL_POLLING ? "polling" : "reconnecting");
      await pause(Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1)), stopped.signal);
    }
  }

  void run();
  return () => stopped.abort();
}

/** Waits this long, or until the network is back. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    globalThis.addEventListener?.("online", done);
    signal.addEventListener("abort", done, { once: true });
  });
}

/** Calls `then` when the page has been hidden for a minute, or the network is gone. */
function whenUseless(then: () => void): () => void {
  if (typeof document === "undefined") return () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(then, HIDDEN_FOR);
  };
  look();
  document.addEventListener("visibilitychange", look);
  window.addEventListener("offline", then);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
    window.removeEventListener("offline", then);
  };
}

function shown(signal: AbortSignal): Promise<void> {
  if (typeof document === "undefined" || !document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look, { once: true });
  });
}
