/** The messages that a draft rests on: room, time, sender and text, with links to Chatwork and to our view of the room. */

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type Draft, draftSources, type Source } from "../../api";
import { minuteTime } from "../../format";
import { Loading, Mishap } from "../../parts/states";
import { Link } from "../../route";
import { useSession } from "../../session";
import { useWords } from "../../words/words";

export function Sources({ draft }: { draft: Draft }) {
  const words = useWords();
  const [open, setOpen] = useState(false);
  const { data: sources, error } = useQuery({
    queryKey: ["sources", draft.id, draft.expiresAt],
    queryFn: ({ signal }) => draftSources(draft.companyId, draft.id, signal),
    enabled: open,
  });
  const gone = sources ? draft.sourceLinks.length - sources.length : 0;
  return (
    <details className="sources" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{words.sources(draft.sourceLinks.length)}</summary>
      {open && !sources && (error ? <Mishap error={error} /> : <Loading rows={2} />)}
      <ul className="source-list">
        {sources?.map((source) => (
          <SourceItem key={`${source.roomId} ${source.messageId}`} source={source} />
        ))}
      </ul>
      {gone > 0 && <p>{words.sourcesGone(gone)}</p>}
    </details>
  );
}

/** Chatwork's own address of a message. */
const inChatwork = ({ roomId, messageId }: Source) => `https://www.chatwork.com/#!rid${roomId}-${messageId}`;

function SourceItem({ source }: { source: Source }) {
  const words = useWords();
  const { isAdmin } = useSession();
  return (
    <li>
      <p className="source-head">
        <b>{source.roomName}</b>
        <time dateTime={source.sentAt}>{minuteTime(source.sentAt, words.language)}</time>
        <span>{source.sender ?? words.unknownSender}</span>
        <a href={inChatwork(source)} target="_blank" rel="noopener noreferrer">
          {words.openInChatwork}
        </a>
        {isAdmin && <Link to={`/chatwork?dialog=messages&of=${source.room}`}>{words.readMessages}</Link>}
      </p>
      <p className="source-body">{source.body}</p>
    </li>
  );
}
