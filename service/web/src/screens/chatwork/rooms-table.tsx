import { useState } from "react";
import type { Room } from "../../api";
import { Check } from "../../parts/check";
import { HeadCell, Rows } from "../../parts/rows";
import { useDialog } from "../../parts/use-dialog";
import { useWords } from "../../words/words";
import { MessagesDialog } from "./messages";
import { RoomRow } from "./room-row";
import { useSwitchRooms } from "./switch-rooms";

export function RoomsTable({ rooms }: { rooms: Room[] }) {
  const words = useWords();
  const switching = useSwitchRooms();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const reading = useDialog("messages");
  const read = rooms.find(({ id }) => id === reading.of);
  const selected = rooms.filter((room) => chosen.has(room.id));
  const all = selected.length === rooms.length;

  function choose(ids: string[], on: boolean) {
    setChosen((before) => {
      const after = new Set(before);
      for (const id of ids) on ? after.add(id) : after.delete(id);
      return after;
    });
  }

  async function change(on: boolean) {
    await switching.mutateAsync({ rooms: selected, on });
    setChosen(new Set());
  }

  return (
    <>
      <div className={`bulk${selected.length ? "" : " bulk-idle"}`}>
        <Check
          label={words.selectAll}
          checked={all && selected.length > 0}
          some={selected.length > 0 && !all}
          onChange={(on) =>
            choose(
              rooms.map(({ id }) => id),
              on,
            )
          }
        />
        <span aria-live="polite">
          {selected.length ? words.selected(selected.length) : words.roomsCount(rooms.length)}
        </span>
        {selected.length > 0 && (
          <>
            <button
              type="button"
              className="button button-small"
              disabled={switching.isPending}
              onClick={() => void change(true)}
            >
              {words.turnOn}
            </button>
            <button
              type="button"
              className="button button-small"
              disabled={switching.isPending}
              onClick={() => void change(false)}
            >
              {words.turnOff}
            </button>
            <button type="button" className="link" onClick={() => setChosen(new Set())}>
              {words.clearSelection}
            </button>
          </>
        )}
      </div>
      <Rows
        label={words.rooms}
        className="rooms"
        count={rooms.length}
        height={60}
        keyOf={(index) => rooms[index]?.id ?? String(index)}
        rowClass={(index) => (chosen.has(rooms[index]?.id ?? "") ? "rows-chosen" : "")}
        head={
          <>
            <HeadCell>
              <span className="unseen">{words.selectAll}</span>
            </HeadCell>
            <HeadCell>{words.room}</HeadCell>
            <HeadCell className="right">{words.messages}</HeadCell>
            <HeadCell>{words.lastSync}</HeadCell>
            <HeadCell>{words.lastError}</HeadCell>
            <HeadCell>{words.takesPart}</HeadCell>
            <HeadCell>
              <span className="unseen">{words.moreActions}</span>
            </HeadCell>
          </>
        }
        row={(index) => {
          const room = rooms[index];
          return (
            room && (
              <RoomRow
                room={room}
                chosen={chosen.has(room.id)}
                onChoose={(on) => choose([room.id], on)}
                onSwitch={(on) => switching.mutate({ rooms: [room], on })}
                onRead={() => reading.open(room.id)}
              />
            )
          );
        }}
      />
      {read && <MessagesDialog room={read} onClose={reading.close} />}
    </>
  );
}
