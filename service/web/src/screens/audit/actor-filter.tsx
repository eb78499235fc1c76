/** The choice of an actor, for the log and for the record of access. It is kept in the address. */

import { useUsers } from "../../people";
import { addressWith, go, usePlace } from "../../route";
import { useWords } from "../../words/words";

export function ActorFilter() {
  const words = useWords();
  const place = usePlace();
  const users = useUsers();
  const actor = place.query.get("actor") ?? "";
  const known = actor === "" || users.some(({ id }) => actor === `user:${id}`);
  const choose = (chosen: string) => go(addressWith(place, { actor: chosen }), { replace: true });
  return (
    <select aria-label={words.actor} value={actor} onChange={(event) => choose(event.target.value)}>
      <option value="">{words.anyActor}</option>
      {users.map((user) => (
        <option key={user.id} value={`user:${user.id}`}>
          {user.name || user.email}
        </option>
      ))}
      {!known && <option value={actor}>{actor}</option>}
    </select>
  );
}
