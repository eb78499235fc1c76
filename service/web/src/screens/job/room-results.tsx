/** The result of a message sync by room, with the names of the rooms: errors and gaps first. */

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type Job, listRooms } from "../../api";
import { Icon } from "../../parts/icons";
import { useSession } from "../../session";
import { useWords } from "../../words/words";

const SHOWN = 20;

interface RoomResult {
  roomId: string;
  fetched: number | null;
  error: string | null;
  gap: boolean;
}

export function RoomResults({ job }: { job: Job }) {
  const words = useWords();
  const { readsAll } = useSession();
  const [all, setAll] = useState(false);
  const results = roomResults(job.result);
  const { data: rooms } = useQuery({
    queryKey: ["rooms"],
    queryFn: ({ signal }) => listRooms(signal),
    enabled: readsAll && results.length > 0,
  });
  if (job.type !== "chatwork_messages_sync" || results.length === 0) return null;
  const names = new Map(rooms?.map(({ roomId, name }) => [roomId, name]));
  const shown = all ? results : results.slice(0, SHOWN);
  return (
    <details className="card room-results">
      <summary className="room-results-head">{words.roomResults(results.length)}</summary>
      <ul>
        {shown.map(({ roomId, fetched, error, gap }) => (
          <li key={roomId}>
            <b>{names.get(roomId) ?? roomId}</b>
            {fetched !== null && <span className="numbers faint">{words.messagesFetched(fetched)}</span>}
            {gap && (
              <span className="bad-text">
                <Icon name="warn" size={14} /> {words.mayLackMessages}
              </span>
            )}
            {error && <span className="bad-text">{error}</span>}
          </li>
        ))}
      </ul>
      {!all && results.length > SHOWN && (
        <button type="button" className="link" onClick={() => setAll(true)}>
          {words.more}
        </button>
      )}
    </details>
  );
}

/** Reads the rooms, errors and gaps of a result. Rooms in error come first, then those with a gap, then the fullest. */
export function roomResults(result: unknown): RoomResult[] {
  const { rooms, errors, gaps } = (result ?? {}) as Record<string, unknown>;
  const found = new Map<string, RoomResult>();
  const of = (roomId: unknown) => {
    const id = String(roomId);
    const known = found.get(id) ?? { roomId: id, fetched: null, error: null, gap: false };
    found.set(id, known);
    return known;
  };
  for (const { roomId, fetched } of listOf(rooms)) of(roomId).fetched = Number(fetched ?? 0);
  for (const { roomId, message } of listOf(errors)) of(roomId).error = String(message);
  for (const { roomId } of listOf(gaps)) of(roomId).gap = true;
  return [...found.values()].sort(
    (one, other) =>
      Number(other.error !== null) - Number(one.error !== null) ||
      Number(other.gap) - Number(one.gap) ||
      (other.fetched ?? 0) - (one.fetched ?? 0),
  );
}

const listOf = (value: unknown) => (Array.isArray(value) ? value : []) as Record<string, unknown>[];
