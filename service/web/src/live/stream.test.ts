import { afterEach, describe, expect, test, vi } from "vitest";
import { Refused } from "../api";
import { follow, type LiveState, type Message, Parser } from "./stream";

describe("reading server-sent events", () => {
  test("a message is told however its text was cut on the way", () => {
    const text = 'id: 7\nevent: change\ndata: {"seq":1}\n\n: alive\n\nid: 8\r\ndata: a\r\ndata: b\r\n\r\n';
    const whole = new Parser().push(text);

    for (let cut = 1; cut < text.length; cut += 1) {
      const parser = new Parser();
      const messages = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];

      expect(messages).toEqual(whole);
      expect(parser.lastId).toBe("8");
    }
    expect(whole).toEqual([
      { event: "change", data: '{"seq":1}' },
      { event: "message", data: "a\nb" },
    ]);
  });

  test("a position moves the id on, with data or without", () => {
    const parser = new Parser("3");

    expect(parser.push("event: position\nid: 12\ndata: {}\n\n")).toEqual([{ event: "position", data: "{}" }]);
    expect(parser.lastId).toBe("12");
    expect(parser.push("id: 13\n\n")).toEqual([]);
    expect(parser.lastId).toBe("13");
  });

  test("what was half said when the connection broke is neither told nor counted", () => {
    const parser = new Parser();
    parser.push("id: 1\ndata: one\n\nid: 2\ndata: tw");

    parser.broken();

    expect(parser.lastId).toBe("1");
    expect(parser.push("id: 2\ndata: two\n\n")).toEqual([{ event: "message", data: "two" }]);
  });
});

describe("staying connected", () => {
  test("after a break it goes on from the last message, and says that it was away", async () => {
    const asked: string[] = [];
    const states: LiveState[] = [];
    const heard: Message[] = [];
    const answers = [said("id: 1\ndata: one\n\n"), said("id: 2\ndata: two\n\n"), null];

    await ended((done) =>
      follow({
        open: async (lastId) => {
          asked.push(lastId);
          const answer = answers.shift() ?? null;
          if (answer === null) done();
          return answer;
        },
        onMessages: (messages) => heard.push(...messages),
        onState: (state) => states.push(state),
      }),
    );

    expect(heard.map(({ data }) => data)).toEqual(["one", "two"]);
    expect(asked).toEqual(["", "1", "2"]);
    expect(states).toEqual(["connecting", "live", "reconnecting", "live", "reconnecting"]);
  });

  test("where streams are refused it says so, for the page to poll", async () => {
    const states: LiveState[] = [];

    await ended((done) =>
      follow({
        open: () => Promise.reject(new Refused(404, "no streams here")),
        onMessages: () => {},
        onState: (state) => {
          states.push(state);
          if (state === "polling") done();
        },
      }),
    );

    expect(states).toEqual(["connecting", "polling"]);
  });
});

describe("knowing when to stop, and when to begin anew", () => {
  afterEach(() => void vi.useRealTimers());

  /** The last id that each request of `follow` names during this time. `open` answers the requests. */
  async function askedFor(milliseconds: number, open: (signal: AbortSignal) => ReturnType<typeof said> | null) {
    vi.useFakeTimers();
    const asked: string[] = [];
    const stop = follow({
      after: "41",
      open: async (lastId, signal) => {
        asked.push(lastId);
        return open(signal);
      },
      onMessages: () => {},
    });
    await vi.advanceTimersByTimeAsync(milliseconds);
    stop();
    return asked;
  }

  test("nothing is asked any more where nothing is left to come", async () => {
    expect(await askedFor(90_000, () => null)).toEqual(["41"]);
  });

  test("nothing is asked any more once the session is over", async () => {
    const over = () => {
      throw new Refused(401, "Sign in first.");
    };

    expect(await askedFor(90_000, over)).toEqual(["41"]);
  });

  test("a line that is silent for too long is dead", async () => {
    const silent = (signal: AbortSignal) =>
      new ReadableStream<Uint8Array<ArrayBuffer>>({
        start: (controller) => signal.addEventListener("abort", () => controller.error(signal.reason)),
      });

    expect(await askedFor(39_000, silent)).toEqual(["41"]);
    expect(await askedFor(45_000, silent)).toEqual(["41", "41"]);
  });
});

function said(text: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });
}

/** Begins, waits until `done` is called, and stops what was begun. */
async function ended(begin: (done: () => void) => () => void) {
  let stop = () => {};
  await new Promise<void>((resolve) => {
    stop = begin(resolve);
  });
  stop();
}
