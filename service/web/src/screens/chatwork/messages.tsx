/** A room's messages, newest first, and where some may be missing. */

import { useInfiniteQuery } from "@tanstack/react-query";
import { Fragment } from "react";
import { type Room, roomMessages } from "../../api";
import { Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icons";
import { Loading, Plate, ProblemPlate } from "../../parts/states";
import { Ago } from "../../parts/time";
import { roomErrorMeaning } from "../../refusals/refusals";
import { useWords } from "../../words/words";
import { gapText } from "./gaps";

export function MessagesDialog({ room, onClose }: { room: Room; onClose: () => void }) {
  const words = useWords();
  const reading = useInfiniteQuery({
    queryKey: ["messages", room.id],
    queryFn: ({ pageParam, signal }) => roomMessages(room.id, pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  });
  const messages = reading.data?.pages.flatMap((page) => page.messages) ?? [];
  const endsOfGaps = new Set(room.gaps.map((gap) => gap.beforeMessageId));
  return (
    <Dialog title={room.name} onClose={onClose} wide>
      {(room.gaps.length > 0 || room.lastErrorAt !== null) && (
        <ul className="gaps">
          {room.lastErrorAt !== null && (
            <li>
              <Icon name="warn" size={14} />
              <span>
                {room.errorNeedsReview
                  ? words.meansUnreadableItems
                  : roomErrorMeaning(words, room.lastErrorMessage ?? "")}{" "}
                <Ago at={room.lastErrorAt} />
                <br />
                <small>{room.lastErrorMessage}</small>
              </span>
            </li>
          )}
          {room.gaps.map((gap) => (
            <li key={`${gap.afterMessageId} ${gap.beforeMessageId} ${gap.reason}`}>
              <Icon name="warn" size={14} /> <span>{gapText(words, gap)}</span>
            </li>
          ))}
        </ul>
      )}
      {reading.isPending && <Loading rows={5} />}
      {reading.error && <ProblemPlate error={reading.error} again={() => void reading.refetch()} />}
      {reading.data && messages.length === 0 && <Plate icon="chatwork" title={words.noMessages} />}
      <ol className="messages">
        {messages.map((message) => (
          <Fragment key={message.messageId}>
            <li>
              <p className="message-head">
                {message.sender ? <b>{message.sender}</b> : <span className="faint">{words.unknownSender}</span>}
                <span className="faint">
                  <Ago at={message.sentAt} />
                </span>
              </p>
              <p className="message-body">{message.body}</p>
            </li>
            {endsOfGaps.has(message.messageId) && (
              <li className="message-gap">
                <Icon name="warn" size={14} /> {words.gapHere}
              </li>
            )}
          </Fragment>
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
