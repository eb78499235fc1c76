/** JSON for people to read, with its changes marked. */

import { type ReactNode, useState } from "react";
import { useWords } from "../../words/words";
import { type Differences, differsWithin, isContainer, type Json, step } from "./diff";

export function JsonView({ value, changes, place = "" }: { value: Json; changes?: Differences; place?: string }) {
  return (
    <div className="json">
      <Node value={value} place={place} changes={changes ?? NONE} name={null} end="" />
    </div>
  );
}

const NONE: Differences = new Map();
const ONE_LINE = 64;
const LONG = 24;
const SHOWN_OF_LONG = 12;

interface NodeProps {
  value: Json;
  place: string;
  changes: Differences;
  name: string | null;
  end: string;
}

function Node({ value, place, changes, name, end }: NodeProps) {
  const change = changes.get(place);
  const mark = change ? ` json-${change.kind}` : "";
  const label = name === null ? null : <span className="json-key">{name}: </span>;
  const was = change?.kind === "changed" && !isContainer(change.before) && <Was before={change.before} />;
  if (!isContainer(value)) {
    return (
      <div className={`json-line${mark}`}>
        {label}
        {was}
        <Scalar value={value} />
        {end}
      </div>
    );
  }
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  if (isShort(value) && !hasInner(changes, place)) {
    return (
      <div className={`json-line${mark}`}>
        {label}
        {was}
        <OneLine value={value} />
        {end}
      </div>
    );
  }
  return (
    <div className={`json-block${mark}`}>
      <div className="json-line">
        {label}
        {was}
        {open}
      </div>
      <Children value={value} place={place} changes={changes} />
      <div className="json-line">
        {close}
        {end}
      </div>
    </div>
  );
}

function Children({ value, place, changes }: { value: Record<string, Json>; place: string; changes: Differences }) {
  const words = useWords();
  const [all, setAll] = useState(false);
  const isArray = Array.isArray(value);
  const keys = Object.keys(value);
  const removed = [...changes].filter(([at, { kind }]) => kind === "removed" && parentOf(at) === place);
  const long = !all && keys.length > LONG;
  const shown = long
    ? keys.filter((key, index) => index < SHOWN_OF_LONG || differsWithin(changes, step(place, key)))
    : keys;
  const drawn = long ? shown.slice(0, SHOWN_OF_LONG * 4) : shown;
  return (
    <div className="json-inner">
      {drawn.map((key) => (
        <Node
          key={key}
          value={value[key]}
          place={step(place, key)}
          changes={changes}
          name={isArray ? null : key}
          end={key === keys.at(-1) ? "" : ","}
        />
      ))}
      {removed.map(([at, { before }]) => (
        <div key={at} className="json-line json-removed">
          {!isArray && <span className="json-key">{at.slice(at.lastIndexOf("/") + 1)}: </span>}
          <OneLine value={before} />
        </div>
      ))}
      {drawn.length < keys.length && (
        <button type="button" className="link json-more" onClick={() => setAll(true)}>
          {words.more} (+{keys.length - drawn.length})
        </button>
      )}
    </div>
  );
}

function Was({ before }: { before: Json }) {
  const words = useWords();
  return (
    <del className="json-was" title={words.was(text(before))}>
      {clipped(text(before))}
    </del>
  );
}

function Scalar({ value }: { value: Json }) {
  return <span className={`json-${value === null ? "null" : typeof value}`}>{text(value)}</span>;
}

function OneLine({ value }: { value: Json }): ReactNode {
  if (!isContainer(value)) return <Scalar value={value} />;
  const isArray = Array.isArray(value);
  const entries = Object.entries(value);
  return (
    <>
      {isArray ? "[" : "{ "}
      {entries.map(([key, inner], index) => (
        <span key={key}>
          {!isArray && <span className="json-key">{key}: </span>}
          <OneLine value={inner} />
          {index < entries.length - 1 && ", "}
        </span>
      ))}
      {isArray ? "]" : " }"}
    </>
  );
}

const text = (value: Json) => JSON.stringify(value) ?? "";
const clipped = (long: string) => (long.length > 40 ? `${long.slice(0, 38)}…` : long);
const isShort = (value: Record<string, Json>) => text(value).length <= ONE_LINE;
const parentOf = (place: string) => place.slice(0, place.lastIndexOf("/"));

function hasInner(changes: Differences, place: string): boolean {
  for (const at of changes.keys()) if (at.startsWith(`${place}/`)) return true;
  return false;
}
