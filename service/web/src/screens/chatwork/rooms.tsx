/** The rooms: search, filter and table. */

import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useDeferredValue } from "react";
import { listRooms, type Room } from "../../api";
import { number } from "../../format";
import { Icon } from "../../parts/icons";
import { Loading, Plate, ProblemPlate } from "../../parts/states";
import { addressWith, go, usePlace } from "../../route";
import { useWords } from "../../words/words";
import { RoomsTable } from "./rooms-table";

export const ROOMS = ["rooms"];

const SHOWS = ["all", "active", "inactive", "inError"] as const;

type Show = (typeof SHOWS)[number];

const BELONGS: Record<Show, (room: Room) => boolean> = {
  all: () => true,
  active: (room) => room.isActive,
  inactive: (room) => !room.isActive,
  inError: (room) => room.lastErrorAt !== null,
};

function found(room: Room, search: string): boolean {
  const text = `${room.name}\n${room.description ?? ""}\n${room.roomId}`.toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

export function RoomsSection() {
  const words = useWords();
  const place = usePlace();
  const { data: rooms, error, refetch } = useQuery({ queryKey: ROOMS, queryFn: ({ signal }) => listRooms(signal) });
  const asked = place.query.get("show");
  const show = SHOWS.find((name) => name === asked) ?? "all";
  const search = place.query.get("q") ?? "";
  const searched = useDeferredValue(search);
  const matching = (rooms ?? []).filter((room) => found(room, searched));
  const shown = matching.filter(BELONGS[show]);
  const change = (changes: Record<string, string | null>) => go(addressWith(place, changes), { replace: true });

  let body: ReactNode;
  if (!rooms) body = error ? <ProblemPlate error={error} again={() => void refetch()} /> : <Loading rows={6} />;
  else if (rooms.length === 0) {
    body = (
      <Plate icon="chatwork" title={words.noRooms}>
        {words.noRoomsText}
      </Plate>
    );
  } else if (shown.length === 0) {
    body = (
      <Plate
        icon="search"
        title={words.noRoomMatches}
        action={
          <button type="button" className="button" onClick={() => change({ q: null, show: null })}>
            {words.clearFilters}
          </button>
        }
      />
    );
  } else body = <RoomsTable rooms={shown} />;

  return (
    <section className="section" aria-labelledby="rooms-heading">
      <div className="section-head">
        <h2 id="rooms-heading">{words.rooms}</h2>
        {rooms && <span className="count">{number(rooms.length, words.language)}</span>}
      </div>
      <div className="tools">
        <label className="search">
          <Icon name="search" />
          <input
            type="search"
            aria-label={words.searchRooms}
            placeholder={words.searchRoomsHint}
            value={search}
            onChange={(event) => change({ q: event.target.value })}
          />
        </label>
        <fieldset className="segments">
          <legend className="unseen">{words.filter}</legend>
          {SHOWS.map((name) => (
            <label key={name}>
              <input
                type="radio"
                name="show"
                checked={show === name}
                onChange={() => change({ show: name === "all" ? null : name })}
              />
              <span>
                {words[name]} {rooms && <small>{number(matching.filter(BELONGS[name]).length, words.language)}</small>}
              </span>
            </label>
          ))}
        </fieldset>
      </div>
      {body}
    </section>
  );
}
