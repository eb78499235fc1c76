/** Chatwork settings: the two syncs and what became of them, and the rooms. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useDeferredValue, useRef, useState } from "react";
import { errorSeen, type Job, listRooms, Refused, type Room, setRoomActive, syncMessages, syncRooms } from "../api";
import { number } from "../format";
import { gapText } from "../gaps";
import { hasEnded } from "../history";
import { useCurrentJobs, useJob } from "../job-queries";
import { useArrivals } from "../live";
import { Check, Switch } from "../parts/check";
import { Heading } from "../parts/heading";
import { Icon } from "../parts/icons";
import { Menu } from "../parts/menu";
import { MessagesDialog } from "../parts/messages";
import { ProgressCard } from "../parts/progress";
import { Cell, HeadCell, Rows } from "../parts/rows";
import { Forbidden, Loading, Mishap, Plate, ProblemPlate } from "../parts/states";
import { Ago } from "../parts/time";
import { errorMeaning } from "../refusals";
import { addressWith, go, usePlace } from "../route";
import { useSession } from "../session";
import { useToasts } from "../toasts";
import { useWords, type Words } from "../words";

export function ChatworkScreen() {
  const words = useWords();
  const { isAdmin } = useSession();
  return (
    <>
      <Heading title={words.chatwork} intro={words.chatworkIntro} />
      {isAdmin ? <Settings /> : <Forbidden />}
    </>
  );
}

const ROOMS = ["rooms"];
const ROOMS_EVERY = 2_000;

function Settings() {
  const words = useWords();
  useRoomsFollowSyncs();
  return (
    <>
      <div className="syncs">
        <SyncCard type="chatwork_rooms_sync" title={words.syncRooms} text={words.syncRoomsText} start={syncRooms} />
        <SyncCard
          type="chatwork_messages_sync"
          title={words.syncMessages}
          text={words.syncMessagesText}
          start={() => syncMessages()}
        />
      </div>
      <RoomsSection />
    </>
  );
}

/** While a sync runs the rooms are read again now and then, and once more when it has ended. */
function useRoomsFollowSyncs() {
  const queries = useQueryClient();
  const lastRead = useRef(0);
  useArrivals((jobs) => {
    const syncs = jobs.filter(({ type }) => type.startsWith("chatwork_"));
    if (syncs.length === 0) return;
    const now = Date.now();
    if (!syncs.some(hasEnded) && now - lastRead.current < ROOMS_EVERY) return;
    lastRead.current = now;
    void queries.invalidateQueries({ queryKey: ROOMS });
  });
}

function SyncCard({
  type,
  title,
  text,
  start,
}: {
  type: string;
  title: string;
  text: string;
  start: () => Promise<{ jobId: string }>;
}) {
  const words = useWords();
  const { watch } = useToasts();
  const { jobs, data, error, isPending, refresh } = useCurrentJobs(type);
  const starting = useMutation({
    mutationFn: start,
    onSuccess: ({ jobId }) => {
      watch(jobId);
      refresh();
    },
  });
  return (
    <section className="card sync" aria-label={title}>
      <div className="sync-head">
        <div>
          <h2>{title}</h2>
          <p className="faint">{text}</p>
        </div>
        <button
          type="button"
          className="button button-main"
          disabled={starting.isPending}
          onClick={() => starting.mutate()}
        >
          <Icon name="sync" /> {starting.isPending ? words.syncing : title}
        </button>
      </div>
      {starting.error && <StartError error={starting.error} />}
      {isPending && <Loading rows={1} tall />}
      {!data && error && <Mishap error={error} />}
      {data && jobs.length === 0 && <p className="sync-never faint">{words.neverSynced}</p>}
      {jobs.map((job) => (
        <CurrentJob key={job.id} job={job} title={title} />
      ))}
    </section>
  );
}

function CurrentJob({ job, title }: { job: Job; title: string }) {
  const words = useWords();
  const { data } = useJob(job.id);
  const { data: rooms } = useQuery({ queryKey: ROOMS, queryFn: ({ signal }) => listRooms(signal) });
  const shown = data ?? job;
  const roomId = (shown.payload as { roomId?: string } | null)?.roomId;
  const name = roomId && (rooms?.find((room) => room.roomId === roomId)?.name ?? roomId);
  return (
    <>
      {name && <p className="sync-of faint">{`${words.room}: ${name}`}</p>}
      <ProgressCard job={shown} title={title} />
    </>
  );
}

function StartError({ error }: { error: Error }) {
  const words = useWords();
  if (error instanceof Refused && error.status === 400) {
    return (
      <p className="mishap" role="alert">
        <Icon name="warn" /> {words.noToken}
      </p>
    );
  }
  return <Mishap error={error} />;
}

// The rooms -------------------------------------------------------------------------------------------------------------------

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

function RoomsSection() {
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
                {words[name]}{" "}
                {rooms && <small>{number(matching.filter(BELONGS[name]).length, words.language)}</small>}
              </span>
            </label>
          ))}
        </fieldset>
      </div>
      {body}
    </section>
  );
}

const AT_ONCE = 6;

function useSwitchRooms() {
  const words = useWords();
  const queries = useQueryClient();
  const { say, complain } = useToasts();
  return useMutation({
    mutationFn: async ({ rooms, on }: { rooms: Room[]; on: boolean }) => {
      const left = rooms.filter((room) => room.isActive !== on);
      const failed: unknown[] = [];
      async function change() {
        for (let room = left.pop(); room; room = left.pop()) {
          try {
            const changed = await setRoomActive(room.id, on);
            queries.setQueryData<Room[]>(ROOMS, (held) => held?.map((one) => (one.id === changed.id ? changed : one)));
          } catch (error) {
            failed.push(error);
          }
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, change));
      return failed;
    },
    onSuccess: (failed, { rooms, on }) => {
      if (failed.length === 1) complain(failed[0]);
      else if (failed.length > 1) say(words.roomsNotChanged(failed.length), "bad");
      else if (rooms.length > 1) say(words.roomsChanged(rooms.length, on), "good");
    },
  });
}

function RoomsTable({ rooms }: { rooms: Room[] }) {
  const words = useWords();
  const switching = useSwitchRooms();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [reading, setReading] = useState<Room | null>(null);
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
                onRead={() => setReading(room)}
              />
            )
          );
        }}
      />
      {reading && <MessagesDialog room={reading} onClose={() => setReading(null)} />}
    </>
  );
}

const errorTitle = (words: Words, message: string) =>
  [message, errorMeaning(words, { name: "Refused", message })].filter(Boolean).join("\n");

/** What could not be read is told in a person's words: what the service says of it is long, and stands in the title. */
const errorText = (words: Words, { lastErrorMessage, errorNeedsReview }: Room) =>
  errorNeedsReview ? words.meansUnreadableItems : lastErrorMessage;

function RoomRow({
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
            <span className="gap-chip" title={room.gaps.map((gap) => gapText(words, gap)).join("\n")}>
              <Icon name="warn" size={13} /> {words.gapChip}
            </span>
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
            <span className="error-chip" title={errorTitle(words, room.lastErrorMessage ?? "")}>
              <Icon name="warn" size={14} />
              <span className="clip">{errorText(words, room)}</span>
              <Ago at={lastErrorAt} />
            </span>
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
