import { expect, test } from "vitest";
import { daysOf, instantsOf, PERIODS } from "./periods";

const tuesday = new Date(2026, 10, 24);

test("a week begins on Monday", () => {
  expect(daysOf("thisWeek", tuesday)).toEqual({ from: "2026-11-23", to: "2026-11-24" });
  expect(daysOf("lastWeek", tuesday)).toEqual({ from: "2026-11-16", to: "2026-11-22" });
  expect(daysOf("thisWeek", new Date(2026, 10, 22))).toEqual({ from: "2026-11-16", to: "2026-11-22" });
});

test("last month is whole, also across a year's end", () => {
  expect(daysOf("lastMonth", new Date(2026, 0, 15))).toEqual({ from: "2025-12-01", to: "2025-12-31" });
});

test("the past 365 days are 365 days, also across a leap day", () => {
  expect(daysOf("last365d", new Date(2026, 10, 24))).toEqual({ from: "2025-11-25", to: "2026-11-24" });
  expect(daysOf("last365d", new Date(2028, 2, 1))).toEqual({ from: "2027-03-03", to: "2028-03-01" });
});

test("every period that is offered can be asked for", () => {
  for (const name of PERIODS) expect(instantsOf(daysOf(name, tuesday))).not.toBeNull();
});

test("the last day belongs to the period: it ends at the midnight after", () => {
  expect(instantsOf({ from: "2026-11-30", to: "2026-11-30" })).toEqual({
    periodStart: new Date(2026, 10, 30).toISOString(),
    periodEnd: new Date(2026, 11, 1).toISOString(),
  });
});

test("days the wrong way round, or none, are no period", () => {
  expect(instantsOf({ from: "2026-11-24", to: "2026-11-23" })).toBeNull();
  expect(instantsOf({ from: "", to: "2026-11-23" })).toBeNull();
});
