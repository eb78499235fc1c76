import { expect, test } from "vitest";
import { causeOf } from "./cause-of";

const ID = "01939b1e-7c2a-7000-8000-0123456789ab";

test("a cause names an event, a schedule or a webhook", () => {
  expect(causeOf(`${ID}/3`)).toEqual({ kind: "event", jobId: ID, seq: 3 });
  expect(causeOf("schedule:nightly/2026-11-30T09:00:00Z")).toEqual({
    kind: "schedule",
    id: "nightly",
    slot: "2026-11-30T09:00:00Z",
  });
  expect(causeOf("webhook:88213/7")).toEqual({ kind: "webhook", id: "88213/7" });
});

test("a cause that nobody knows is shown as it stands in the log", () => {
  for (const text of ["", `${ID}/0`, `${ID}/x`, `${ID}`, "schedule:nightly", "webhook:", "javascript:alert(1)/1"])
    expect(causeOf(text)).toEqual({ kind: "other", text });
});
