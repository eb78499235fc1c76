import { expect, test } from "vitest";
import { leftByBudget, leftWhileWaiting, limitWaitOf } from "./budget";

const NOW = Date.UTC(2026, 10, 24, 10, 0, 0);
const inSeconds = (seconds: number) => new Date(NOW + seconds * 1_000).toISOString();
const MINUTES = 60_000;

const wait = { until: inSeconds(300), limit: 300, window: 300 };

test("2,700 rooms need nine windows of five minutes", () => {
  expect(leftWhileWaiting(2_700, wait, NOW)).toBe(45 * MINUTES);
  expect(leftWhileWaiting(300, wait, NOW)).toBe(5 * MINUTES);
  expect(leftWhileWaiting(301, wait, NOW)).toBe(10 * MINUTES);
  expect(leftWhileWaiting(0, wait, NOW)).toBe(0);
});

test("rooms for which the budget has room need no wait", () => {
  const budget = { limit: 300, window: 300, used: 100, nextFreeAt: inSeconds(200), blockedUntil: null };

  expect(leftByBudget(200, budget, NOW)).toBe(0);
  expect(leftByBudget(201, budget, NOW)).toBe(200_000);
  expect(leftByBudget(600, budget, NOW)).toBe(500_000);
});

test("a pause that Chatwork asked for leaves no room", () => {
  const budget = { limit: 300, window: 300, used: 0, nextFreeAt: null, blockedUntil: inSeconds(60) };

  expect(leftByBudget(1, budget, NOW)).toBe(60_000);
});

test("an untouched budget gives the first window at once", () => {
  const budget = { limit: 300, window: 300, used: 0, nextFreeAt: null, blockedUntil: null };

  expect(leftByBudget(300, budget, NOW)).toBe(0);
  expect(leftByBudget(3_000, budget, NOW)).toBe(45 * MINUTES);
});

test("only a result that waits for Chatwork's limit has a wait", () => {
  const waiting = { for: "chatwork_limit", until: wait.until, limit: 300, window: 300 };

  expect(limitWaitOf({ totalRooms: 3, waiting })).toEqual(wait);
  for (const result of [
    null,
    {},
    { waiting: null },
    { waiting: { for: "tea" } },
    { waiting: { ...waiting, until: "x" } },
  ])
    expect(limitWaitOf(result)).toBeNull();
});
