/** The Chatwork connection: the two syncs and how they went, and the rooms. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";
import { listRooms, syncMessages, syncRooms } from "../../api";
import { hasEnded } from "../../job/facts";
import { useArrivals } from "../../live/live";
import { Heading } from "../../parts/heading";
import { Forbidden } from "../../parts/states";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { ROOMS, RoomsSection } from "./rooms";
import { SyncCard } from "./sync-card";

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

function Settings() {
  const words = useWords();
  useRoomsFollowSyncs();
  const { data: rooms } = useQuery({ queryKey: ROOMS, queryFn: ({ signal }) => listRooms(signal) });
  return (
    <>
      <div className="syncs">
        <SyncCard type="chatwork_rooms_sync" title={words.syncRooms} text={words.syncRoomsText} start={syncRooms} />
        <SyncCard
          type="chatwork_messages_sync"
          title={words.syncMessages}
          text={words.syncMessagesText}
          start={() => syncMessages()}
          first={rooms?.length === 0 ? words.syncRoomsFirst : undefined}
        />
      </div>
      <RoomsSection />
    </>
  );
}

const ROOMS_EVERY = 2_000;

/** Reads the rooms again at most every two seconds while a sync runs, and once when it has ended. */
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
