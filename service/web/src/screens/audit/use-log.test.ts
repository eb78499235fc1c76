import { expect, test } from "vitest";
import type { JobEvent } from "../../api";
import { joined } from "./use-log";

const event = (position: number) => ({ position, seq: position }) as JobEvent;
const stretch = (after: number, until: number, ...positions: number[]) => ({
  events: positions.map(event),
  searched: { after, until },
});
const positionsOf = ({ events }: { events: JobEvent[] }) => events.map(({ position }) => position);

test("newer and older events join at either end, each once", () => {
  const held = stretch(10, 20, 12, 19);

  const grown = joined(joined(held, stretch(18, 30, 19, 25)), stretch(0, 11, 3));

  expect(positionsOf(grown)).toEqual([3, 12, 19, 25]);
  expect(grown.searched).toEqual({ after: 0, until: 30 });
});

test("a search that found nothing still tells how far it went", () => {
  const grown = joined(stretch(10, 20, 12), stretch(20, 500));

  expect(positionsOf(grown)).toEqual([12]);
  expect(grown.searched).toEqual({ after: 10, until: 500 });
});
