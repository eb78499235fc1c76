/** Names of actors and owners. Only admins may list users; everybody else knows only their own name. */

import { useQuery } from "@tanstack/react-query";
import { listUsers, type User } from "./api";
import { useSession } from "./session";
import { useWords, type Words } from "./words/words";

export function useUsers(): User[] {
  const { user, isAdmin } = useSession();
  const { data } = useQuery({
    queryKey: ["users"],
    queryFn: ({ signal }) => listUsers(signal),
    enabled: isAdmin,
    staleTime: 60_000,
  });
  return data ?? (user ? [user] : []);
}

export interface Names {
  owner: (userId: string | null) => string;
  actor: (actor: string) => string;
}

export function useNames(): Names {
  const words = useWords();
  const users = useUsers();

  function owner(userId: string | null): string {
    if (userId === null) return words.system;
    const user = users.find(({ id }) => id === userId);
    return user ? user.name || user.email : userId.slice(-8);
  }

  /** `user:<id>`, `worker:<id>` or `system:<part>`. */
  function actor(name: string): string {
    const [kind = "", id = ""] = splitOnce(name);
    if (kind === "user") return owner(id);
    if (kind === "worker") return `${words.worker} ${id.slice(-6)}`;
    return kind === "system" ? words.systemPart(partWord(words, id)) : name;
  }

  return { owner, actor };
}

function partWord(words: Words, part: string): string {
  if (part === "rescue") return words.part_rescue;
  return part === "operator" ? words.part_operator : part;
}

function splitOnce(name: string): string[] {
  const colon = name.indexOf(":");
  return colon < 0 ? [name] : [name.slice(0, colon), name.slice(colon + 1)];
}
