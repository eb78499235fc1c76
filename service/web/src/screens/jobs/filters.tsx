/** Filters by type, owner and time. */

import { type FormEvent, useState } from "react";
import { isShortId, isUuid } from "../../format";
import { useJobTypes, useTypeWord } from "../../job/types";
import { Icon } from "../../parts/icons";
import { useUsers } from "../../people";
import { addressWith, go, usePlace } from "../../route";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { HOUR } from "./filter";

export function Filters() {
  const words = useWords();
  const typeWord = useTypeWord();
  const place = usePlace();
  const { isAdmin } = useSession();
  const users = useUsers();
  const value = (name: string) => place.query.get(name) ?? "";
  const set = (changes: Record<string, string | null>) => go(addressWith(place, changes), { replace: true });
  const custom = place.query.has("from") || place.query.has("to");
  const types = useTypeNames(value("type"));
  const filtered = ["type", "userId", "since", "from", "to"].some((name) => place.query.has(name));

  function setSpan(chosen: string) {
    if (chosen === "custom") set({ since: null, from: localDay(-6), to: null });
    else set({ since: chosen || null, from: null, to: null });
  }

  return (
    <div className="tools">
      <FindById />
      <select aria-label={words.type} value={value("type")} onChange={(event) => set({ type: event.target.value })}>
        <option value="">{words.anyType}</option>
        {types.map((type) => (
          <option key={type} value={type}>
            {typeWord(type) === type ? type : `${typeWord(type)} — ${type}`}
          </option>
        ))}
      </select>
      {isAdmin && (
        <select
          aria-label={words.owner}
          value={value("userId")}
          onChange={(event) => set({ userId: event.target.value })}
        >
          <option value="">{words.anyOwner}</option>
          {users.map((user) => (
            <option key={user.id} value={user.id}>
              {user.name || user.email}
            </option>
          ))}
        </select>
      )}
      <select
        aria-label={words.time}
        value={custom ? "custom" : value("since")}
        onChange={(event) => setSpan(event.target.value)}
      >
        <option value="">{words.anyTime}</option>
        <option value="1h">{words.last1h}</option>
        <option value="24h">{words.last24h}</option>
        <option value="7d">{words.last7d}</option>
        <option value="30d">{words.last30d}</option>
        <option value="custom">{words.customTime}</option>
      </select>
      {custom && (
        <span className="span-fields">
          <input
            type="datetime-local"
            aria-label={words.from}
            value={value("from")}
            onChange={(event) => set({ from: event.target.value, ...(event.target.value ? {} : { from: null }) })}
          />
          <span aria-hidden="true">–</span>
          <input
            type="datetime-local"
            aria-label={words.to}
            value={value("to")}
            onChange={(event) => set({ to: event.target.value })}
          />
        </span>
      )}
      {filtered && (
        <button
          type="button"
          className="link"
          onClick={() => set({ type: null, userId: null, since: null, from: null, to: null })}
        >
          {words.clearFilters}
        </button>
      )}
    </div>
  );
}

/** Opens the job of an id, whole or short. */
function FindById() {
  const words = useWords();
  const [text, setText] = useState("");
  const id = text.trim();
  const bad = id !== "" && !isUuid(id) && !isShortId(id);

  function submit(event: FormEvent) {
    event.preventDefault();
    if (id && !bad) go(`/jobs/${id.toLowerCase()}`);
  }

  return (
    <form className="search" onSubmit={submit}>
      <Icon name="search" />
      <input
        type="search"
        aria-label={words.findById}
        placeholder={words.findByIdHint}
        aria-invalid={bad && id.length >= 8}
        spellCheck={false}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
    </form>
  );
}

/** The names of the job types. The chosen one is always included, because the address may name it before the service answers. */
function useTypeNames(chosen: string): string[] {
  const names = useJobTypes().data?.map(({ name }) => name) ?? [];
  return chosen && !names.includes(chosen) ? [...names, chosen] : names;
}

function localDay(days: number): string {
  const day = new Date(Date.now() + days * 24 * HOUR);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}T00:00`;
}
