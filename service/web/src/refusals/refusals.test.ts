import { describe, expect, test } from "vitest";
import { Refused, Unreachable } from "../api";
import { wordsIn } from "../words/words";
import { differenceText, errorMeaning, findingMeaning, problemText, refusalText } from "./refusals";

const ja = wordsIn("ja");
const en = wordsIn("en");

/** The refusals in the words of the service. */
const KNOWN: [number, string, { path: string; detail: string }[]][] = [
  [409, "Cannot cancel this job: it is completed.", []],
  [409, "Cannot retry this job: job 01a20b8f-f44d-7cca-8ffe-c7838b25595c does the same and is active.", []],
  [409, "Cannot retry this job: another job does the same and is active.", []],
  [400, "Chatwork is not set up: the variable CHATWORK_API_TOKEN is missing. Set it and restart the service.", []],
  [403, "Only an admin may do this.", []],
  [403, "Only an admin or an auditor may do this.", []],
  [403, "Only an admin or an auditor may choose whose jobs to see.", []],
  [403, "An auditor may read everything and change nothing.", []],
  [403, "The request comes from another site. Send it from a page of this service.", []],
  [409, "A request with this Idempotency-Key is still being answered.", []],
  [422, "There is no such job type any more.", [{ path: "type", detail: "must be a registered job type" }]],
  [422, "The payload does not fit this job type any more.", [{ path: "roomId", detail: "is required" }]],
  [404, "There is no such company.", []],
  [404, "There is no such room.", []],
  [404, "This room is not linked to this company.", []],
  [404, "There is no such job.", []],
  [404, "This job has no event 99 yet: its last is 7.", []],
  [429, "Too many tries to sign in. Try again in 60 seconds.", []],
  [429, "LIMIT_REQUESTS allows one person at most 600 requests in any minute. Try again in 12 seconds.", []],
  [429, "LIMIT_STREAMS allows one person at most 20 open streams. Close one, then try again.", []],
  [
    429,
    "LIMIT_ACTIVE_JOBS allows one person at most 1000 jobs that are queued or processing. Wait until some have ended, or cancel some.",
    [],
  ],
  [429, "LIMIT_PAID_JOBS allows one person to queue at most 200 paid jobs in any day. Try again in 3700 seconds.", []],
  [503, "The database does not answer. Try again in 2 seconds.", []],
  [500, "The service failed. Its log has details under the `X-Request-Id` of this response.", []],
  [
    409,
    "`name` belongs to another company: choose another name.",
    [{ path: "name", detail: "belongs to another company: choose another name" }],
  ],
  [422, "The body is not valid.", [{ path: "name", detail: "must have at most 200 characters" }]],
  [422, "The body is not valid.", [{ path: "periodEnd", detail: "must be later than periodStart" }]],
  [422, "`until` must be a time in the future.", [{ path: "until", detail: "must be a time in the future" }]],
  [422, "The query is not valid.", [{ path: "type", detail: "must be one of chatwork_rooms_sync, summary_draft" }]],
  [400, "The query is not valid.", [{ path: "userId", detail: "must be a UUID" }]],
];

const LATIN = /[A-Za-z]{3,}/g;

describe("a refusal", () => {
  test.each(KNOWN)("%i %s is told in Japanese", (status, detail, errors) => {
    const text = problemText(ja, new Refused(status, detail, errors));

    expect(text).toMatch(/[ぁ-ん]/);
    const names = ["Chatwork", "API", "CHATWORK", "TOKEN"];
    expect((text.match(LATIN) ?? []).filter((word) => !names.includes(word))).toEqual([]);
  });

  test.each(KNOWN)("%i %s is told in English", (status, detail, errors) => {
    expect(problemText(en, new Refused(status, detail, errors))).not.toMatch(/[ぁ-ん]/);
  });

  test("by a limit says which limit and what helps", () => {
    const said = (detail: string) => problemText(en, new Refused(429, detail));

    expect(said(KNOWN.find(([, detail]) => detail.startsWith("LIMIT_REQUESTS"))?.[1] ?? "")).toContain("12 seconds");
    expect(said(KNOWN.find(([, detail]) => detail.startsWith("LIMIT_ACTIVE_JOBS"))?.[1] ?? "")).toContain(
      "cancel some",
    );
    expect(said(KNOWN.find(([, detail]) => detail.startsWith("LIMIT_PAID_JOBS"))?.[1] ?? "")).toContain("62 minutes");
  });

  test("that nobody knows is shown as it was said, under a heading", () => {
    expect(problemText(ja, new Refused(409, "The moon is full."))).toBe("実行できませんでした: The moon is full.");
    expect(refusalText(ja, "The moon is full.")).toBe("実行できませんでした: The moon is full.");
  });

  test("of fields that nobody knows names them all", () => {
    const errors = [
      { path: "name", detail: "is required" },
      { path: "colour", detail: "is not a known field" },
    ];

    expect(problemText(ja, new Refused(422, "The body is not valid.", errors))).toBe(
      "正しくない項目があります（name: is required; colour: is not a known field）。",
    );
  });

  test("that never came is no refusal", () => {
    expect(problemText(ja, new Unreachable())).toBe("サーバーに接続できませんでした。");
  });
});

describe("a job's error", () => {
  test.each([
    ["Refused", "Chatwork API error: 500"],
    ["Unauthorized", "Chatwork API error: 401"],
    ["NoAnswer", "no answer from Chatwork (ReadTimeout)"],
    ["UnknownRoom", "no Chatwork room 99 is known: sync the rooms first"],
    ["WorkerLost", "worker w1 disappeared while it ran attempt 1"],
    ["Timeout", "attempt 1 took longer than 600 s"],
    ["ModelFailed", "the language model cannot be reached"],
    ["AnswerCutOff", "the language model's answer was cut off (length): it reached a limit of tokens"],
    ["AnswerWithheld", "the language model's server held its answer back (content_filter)"],
    ["OnlyReasoning", "the language model answered with nothing but its reasoning"],
    [
      "ModelRefused",
      "the language model's server answered 404 (model_not_found): set OPENAI_MODEL to a model that it has",
    ],
    ["ModelRefused", "the language model's server answered 401 (invalid_api_key): check OPENAI_API_KEY"],
    ["ModelRefused", "the language model's server answered 429 (insufficient_quota)"],
    ["ModelRefused", "the language model refused: no"],
    ["ModelRefused", "the language model's server answered 400"],
  ])("%s: %s has a meaning", (name, message) => {
    expect(errorMeaning(ja, { name, message })).toMatch(/[ぁ-ん]。$/);
  });

  test("of items that cannot be read is not that of a whole answer", () => {
    const message =
      "Chatwork's answer holds what cannot be read: message 42 (`body` is missing). Look at it in Chatwork.";
    expect(errorMeaning(ja, { name: "Refused", message })).toBe(ja.meansUnreadableItems);
    expect(errorMeaning(ja, { name: "Unreadable", message: "Chatwork's answer cannot be read: it is not JSON" })).toBe(
      ja.meansUnreadable,
    );
  });

  test("that nobody knows has none", () => {
    expect(errorMeaning(ja, { name: "KeyError", message: "'room'" })).toBeNull();
  });
});

describe("a difference between view and log", () => {
  const job = "01a20b8f-f44d-7cca-8ffe-c7838b25595c";

  test.each([
    [`${job}: attempt is 2 in the view and 3 by the log`, `${job}: attempt は、表示では 2、ログでは 3`],
    [`${job}: is in the view and not in the log`, `${job}: ログにないジョブが表示されています`],
    [`${job}: is in the log and not in the view`, `${job}: ログにあるジョブが表示されていません`],
    ["the log has a gap at 7", "the log has a gap at 7"],
  ])("%s is told in Japanese where it is known", (difference, text) => {
    expect(differenceText(ja, difference)).toBe(text);
    expect(differenceText(en, difference)).toBe(difference);
  });
});

const FINDINGS = [
  "MODIFIED",
  "MISSING",
  "INSERTED",
  "REORDERED",
  "BACKDATED",
  "TRUNCATED_TAIL",
  "SEQ_GAP",
  "ILLEGAL_TRANSITION",
  "VIEW_DRIFT",
  "GUARD_MISSING",
];

test.each(FINDINGS)("the finding %s is explained in both languages", (name) => {
  for (const words of [ja, en]) {
    expect(findingMeaning(words, name)).not.toBe(words.findingUnknown);
    expect(findingMeaning(words, "ANOTHER")).toBe(words.findingUnknown);
  }
});

test("a broken history is said in words", () => {
  const detail = "This job has a broken history: SEQ_GAP at event 3. `rireki audit verify` says more.";
  expect(refusalText(ja, detail)).toContain("履歴は壊れています");
  expect(refusalText(en, detail)).toContain("leaves an event out");
});
