/** Includes rooms in the sync, or leaves them out: several requests at a time. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type Room, setRoomActive } from "../../api";
import { useToasts } from "../../frame/toasts";
import { useWords } from "../../words/words";
import { ROOMS } from "./rooms";

const AT_ONCE = 6;

export function useSwitchRooms() {
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
