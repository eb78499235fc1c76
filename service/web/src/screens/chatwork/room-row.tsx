/** One room: its messages, its last sync and error, its switch and menu. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { errorSeen, type Room, syncMessages } from "../../api";
import { number } from "../../format";
import { useToasts } from "../../frame/toasts";
import { Check, Switch } from "../../parts/check";
import { Icon } from "../../parts/icons";
import { Menu } from "../../parts/menu";
import { Cell } from "../../parts/rows";
import { Ago } from "../../parts/time";
import { useWords, type Words } from "../../words/words";
import { ROOMS } from "./rooms";

export function RoomRow({
  room,
  chosen,
  onChoose,
  onSwitch,
  onRead,
}: {
  room: Room;
  chosen: boolean;
  onChoose: (on: boolean) => void;
  onSwitch: (on: boolean) => void;
  onRead: () => void;
}) {
  const words = useWords();
  const { watch, complain } = useToasts();
  const queries = useQueryClient();
  const syncing = useMutation({
    mutationFn: () => syncMessages({ roomId: room.roomId }),
    onSuccess: ({ jobId }) => {
      watch(jobId);
      void queries.invalidateQueries({ queryKey: ["current", "chatwork_messages_sync"] });
    },
    onError: complain,
  });
  const seeing = useMutation({
    mutationFn: (lastErrorAt: string) => errorSeen(room.id, lastErrorAt),
    onSuccess: (changed) =>
      queries.setQueryData<Room[]>(ROOMS, (held) => held?.map((one) => (one.id === changed.id ? changed : one))),
    onError: complain,
  });
  const { lastErrorAt } = room;
  return (
    <>
      <Cell className="tick">
        <Check label={words.selectRoom(room.name)} checked={chosen} onChange={onChoose} />
      </Cell>
      <Cell className="room-name">
        <span className="room-title">
          <button type="button" className="row-link" onClick={onRead} title={words.readMessages}>
            {room.name}
          </button>
          {room.gaps.length > 0 && (
            <button type="button" className="gap-chip" onClick={onRead}>
              <Icon name="warn" size={13} /> {words.gapChip}
            </button>
          )}
        </span>
        <span className="faint clip">{room.description || room.roomId}</span>
      </Cell>
      <Cell className="right numbers" label={words.messages}>
        {number(room.messageCount, words.language)}
      </Cell>
      <Cell className="faint" label={words.lastSync}>
        {room.lastSyncAt ? <Ago at={room.lastSyncAt} /> : words.notYetSynced}
      </Cell>
      <Cell className={lastErrorAt ? "room-error" : "room-fine"} label={words.lastError}>
        {lastErrorAt ? (
          <>
            <button type="button" className="error-chip" onClick={onRead}>
              <Icon name="warn" size={14} />
              <span className="clip">{errorText(words, room)}</span>
              <Ago at={lastErrorAt} />
            </button>
            {room.errorNeedsReview && (
              <button
                type="button"
                className="link error-seen"
                aria-label={words.seenWhat(room.name)}
                disabled={seeing.isPending}
                onClick={() => seeing.mutate(lastErrorAt)}
              >
                {words.seen}
              </button>
            )}
          </>
        ) : (
          <span className="faint">–</span>
        )}
      </Cell>
      <Cell className="room-switch">
        <Switch label={words.roomActive(room.name)} checked={room.isActive} onChange={onSwitch} />
      </Cell>
      <Cell className="room-menu">
        <Menu label={`${room.name}: ${words.moreActions}`} button={<Icon name="more" />}>
          <button type="button" className="menu-item" disabled={syncing.isPending} onClick={() => syncing.mutate()}>
            {words.syncOneRoom}
          </button>
          <button type="button" className="menu-item" onClick={onRead}>
            {words.readMessages}
          </button>
        </Menu>
      </Cell>
    </>
  );
}

/** A short text for items that could not be read; the dialog shows the whole message. */
const errorText = (words: Words, { lastErrorMessage, errorNeedsReview }: Room) =>
  errorNeedsReview ? words.meansUnreadableItems : lastErrorMessage;
