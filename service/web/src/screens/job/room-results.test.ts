import { expect, test } from "vitest";
import { roomResults } from "./room-results";

test("rooms in error come first, then those with a gap, then the fullest", () => {
  const results = roomResults({
    rooms: [
      { roomId: "1", fetched: 2 },
      { roomId: "2", fetched: 9 },
      { roomId: "3", fetched: 5 },
    ],
    errors: [{ roomId: "4", message: "Chatwork API error: 403" }],
    gaps: [{ roomId: "1", reason: "over_100" }],
  });

  expect(results.map(({ roomId }) => roomId)).toEqual(["4", "1", "2", "3"]);
  expect(results[0]).toMatchObject({ fetched: null, error: "Chatwork API error: 403" });
  expect(results[1]).toMatchObject({ fetched: 2, gap: true });
});

test("a result of another kind has no rooms", () => {
  for (const result of [null, {}, { rooms: "7" }, { total: 3 }]) expect(roomResults(result)).toEqual([]);
});
