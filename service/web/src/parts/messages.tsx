/** A room's messages, newest first. */

import { useInfiniteQuery } from "@tanstack/react-query";
import { type Room, roomMessages } from "../api";
import { useWords } from "../words";
import { Dialog } from "./dialog";
import { Loading, Plate, ProblemPlate } from "./states";
import { Ago } from "./time";

export function MessagesDialog({ room, onClose }: { room: Room; onClose: () => void }) {
  const words = useWords();
  const reading = useInfiniteQuery({
    queryKey: ["messages", room.id],
    queryFn: ({ pageParam, signal }) => roomMessages(room.id, pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  });
  const messages = reading.data?.pages.flatMap((page) => page.messages) ?? [];
  return (
    <Dialog title={room.name} onClose={onClose} wide>
      {reading.isPending && <Loading rows={5} />}
      {reading.error && <ProblemPlate error={reading.error} again={() => void reading.refetch()} />}
      {reading.data && messages.length === 0 && <Plate icon="chatwork" title={words.noMessages} />}
      <ol className="messages">
        {messages.map((message) => (
          <li key={message.messageId}>
            <p className="message-head">
              <b>{message.sender}</b>
              <span className="faint">
                <Ago at={message.sentAt} />
              </span>
            </p>
            <p className="message-body">{message.body}</p>
          </li>
        ))}
      </ol>
      {reading.hasNextPage && (
        <button
          type="button"
          className="button button-wide"
          disabled={reading.isFetchingNextPage}
          onClick={() => void reading.fetchNextPage()}
        >
          {reading.isFetchingNextPage ? words.loadingMore : words.more}
        </button>
      )}
    </Dialog>
  );
}
