/** The rooms that belong to a company. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useMemo, useState } from "react";
import { type Company, type LinkedRoom, linkedRooms, linkRoom, listRooms, unlinkRoom } from "../../api";
import { number } from "../../format";
import { useToasts } from "../../frame/toasts";
import { ChooseMany } from "../../parts/choose-many";
import { Icon } from "../../parts/icons";
import { Loading, ProblemPlate } from "../../parts/states";
import { Link } from "../../route";
import { useSession } from "../../session";
import { useWords } from "../../words/words";

export const linksOf = (id: string) => ["linked-rooms", id];

export function LinkedRooms({ company }: { company: Company }) {
  const words = useWords();
  const queries = useQueryClient();
  const { isAdmin } = useSession();
  const { complain } = useToasts();
  const links = useQuery({ queryKey: linksOf(company.id), queryFn: ({ signal }) => linkedRooms(company.id, signal) });
  const changed = () => {
    void queries.invalidateQueries({ queryKey: linksOf(company.id) });
    void queries.invalidateQueries({ queryKey: ["rooms"] });
  };
  const linking = useMutation({
    mutationFn: async (roomIds: string[]) => {
      // One after another, because a link that fails must not hide which ones were made.
      for (const roomId of roomIds) await linkRoom(company.id, roomId);
    },
    onSettled: changed,
    onError: complain,
  });
  const unlinking = useMutation({
    mutationFn: (roomId: string) => unlinkRoom(company.id, roomId),
    onSuccess: changed,
    onError: complain,
  });
  const rooms = links.data ?? [];
  const total = rooms.reduce((sum, { messageCount }) => sum + messageCount, 0);

  return (
    <section className="card" aria-labelledby="links-heading">
      <div className="section-head">
        <h3 id="links-heading">{words.linkedRooms}</h3>
        {links.data && <span className="count">{number(rooms.length, words.language)}</span>}
        <span className="grow" />
        {rooms.length > 0 && <span className="faint">{words.messagesTotal(total)}</span>}
      </div>
      {links.isPending && <Loading rows={2} />}
      {links.error && <ProblemPlate error={links.error} again={() => void links.refetch()} />}
      {links.data && rooms.length === 0 && <p className="faint">{words.noLinkedRooms}</p>}
      <ul className="links-list">
        {rooms.map((room) => (
          <li key={room.roomId}>
            <span className="clip">{room.name}</span>
            <span className="faint numbers">{words.messagesCount(room.messageCount)}</span>
            {isAdmin && (
              <button
                type="button"
                className="icon-button"
                aria-label={words.unlinkWhat(room.name)}
                title={words.unlink}
                disabled={unlinking.isPending}
                onClick={() => unlinking.mutate(room.roomId)}
              >
                <Icon name="close" />
              </button>
            )}
          </li>
        ))}
      </ul>
      {isAdmin ? (
        <LinkForm linked={rooms} onLink={(roomIds) => linking.mutate(roomIds)} busy={linking.isPending} />
      ) : (
        <p className="faint small">{words.onlyAdminsLink}</p>
      )}
    </section>
  );
}

function LinkForm({
  linked,
  onLink,
  busy,
}: {
  linked: LinkedRoom[];
  onLink: (roomIds: string[]) => void;
  busy: boolean;
}) {
  const words = useWords();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const { data: rooms } = useQuery({ queryKey: ["rooms"], queryFn: ({ signal }) => listRooms(signal) });
  const choices = useMemo(() => {
    const taken = new Set(linked.map(({ roomId }) => roomId));
    return (rooms ?? [])
      .filter(({ roomId }) => !taken.has(roomId))
      .map(({ roomId, name, description }) => ({ id: roomId, name, more: `${roomId} ${description ?? ""}` }));
  }, [rooms, linked]);

  function submit(event: FormEvent) {
    event.preventDefault();
    if (chosen.size === 0) return;
    onLink([...chosen]);
    setChosen(new Set());
  }

  if (rooms && rooms.length === 0) {
    return (
      <p className="faint small">
        {words.noRooms}. <Link to="/chatwork">{words.chatwork}</Link>
      </p>
    );
  }
  return (
    <form className="tools" onSubmit={submit}>
      <ChooseMany label={words.chooseRoom} choices={choices} chosen={chosen} onChoose={setChosen} />
      <button type="submit" className="button" disabled={chosen.size === 0 || busy}>
        {chosen.size > 1 ? words.linkMany(chosen.size) : words.link}
      </button>
    </form>
  );
}
