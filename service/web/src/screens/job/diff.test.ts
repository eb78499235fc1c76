import { expect, test } from "vitest";
import { differences, differsWithin } from "./diff";

test("what was added, changed and removed is told by its place", () => {
  const before = { status: "queued", result: { rooms: [{ fetched: 1 }], gone: 2 } };
  const after = { status: "processing", result: { rooms: [{ fetched: 3 }, { fetched: 4 }] } };

  expect(differences(before, after)).toEqual(
    new Map([
      ["/status", { kind: "changed", before: "queued" }],
      ["/result/rooms/0/fetched", { kind: "changed", before: 1 }],
      ["/result/rooms/1", { kind: "added" }],
      ["/result/gone", { kind: "removed", before: 2 }],
    ]),
  );
});

test("a list that became an object changed as a whole", () => {
  expect(differences({ a: [] }, { a: {} })).toEqual(new Map([["/a", { kind: "changed", before: [] }]]));
});

test("a name with a slash or a tilde stays one step", () => {
  expect([...differences({}, { "a/b~c": 1 }).keys()]).toEqual(["/a~1b~0c"]);
});

test("a place differs where something below it does, and not where only its name begins alike", () => {
  const found = differences({ result: { a: 1 }, results: 1 }, { result: { a: 2 }, results: 1 });

  expect(differsWithin(found, "/result")).toBe(true);
  expect(differsWithin(found, "/results")).toBe(false);
});

test("nothing differs between equal values", () => {
  expect(differences({ a: [1, { b: null }] }, { a: [1, { b: null }] }).size).toBe(0);
});
