/** The differences between two JSON values, by place. */

export type Json = unknown;

export interface Difference {
  kind: "added" | "changed" | "removed";
  before?: Json;
}

/** Differences by place, as a JSON Pointer (RFC 6901): "" is the whole value, "/rooms/3/fetched" a leaf. */
export type Differences = Map<string, Difference>;

export function differences(before: Json, after: Json): Differences {
  const found: Differences = new Map();
  compare(before, after, "", found);
  return found;
}

export const step = (place: string, key: string | number) =>
  `${place}/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`;

function compare(before: Json, after: Json, place: string, found: Differences) {
  if (Object.is(before, after)) return;
  if (isContainer(before) && isContainer(after) && Array.isArray(before) === Array.isArray(after)) {
    compareContainers(before, after, place, found);
    return;
  }
  found.set(place, { kind: "changed", before });
}

function compareContainers(before: Container, after: Container, place: string, found: Differences) {
  for (const key of Object.keys(after)) {
    if (key in before) compare(before[key], after[key], step(place, key), found);
    else found.set(step(place, key), { kind: "added" });
  }
  for (const key of Object.keys(before)) {
    if (!(key in after)) found.set(step(place, key), { kind: "removed", before: before[key] });
  }
}

type Container = Record<string, Json>;

export function isContainer(value: Json): value is Container {
  return typeof value === "object" && value !== null;
}

/** Whether something at `place` or below it differs. */
export function differsWithin(found: Differences, place: string): boolean {
  if (found.has(place)) return true;
  for (const other of found.keys()) if (other.startsWith(`${place}/`)) return true;
  return false;
}
