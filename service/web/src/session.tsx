/** The session: the user who is signed in. When a session ends, the sign-in replaces the screen under the same address, so the
 * user returns to that screen. */

import { useQuery } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { me, onSignedOut, Refused, signOut, type User } from "./api";
import { queries, startLive, stopLive } from "./live/live";

export type Gone = "never" | "expired" | "left";

interface Session {
  user: User | null;
  /** The reason that nobody is signed in. */
  gone: Gone;
  isAdmin: boolean;
  /** Reads everybody's jobs and the log: an admin or an auditor. */
  readsAll: boolean;
  /** An auditor changes nothing. */
  mayChange: boolean;
  /** The screen at the address "/". */
  first: "chatwork" | "jobs" | "companies";
  enter: (user: User) => void;
  leave: () => Promise<void>;
}

const Signed = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(Signed);
  if (!session) throw new Error("no session around this component");
  return session;
}

/** The signed-in user. Only for components behind the sign-in; throws elsewhere. */
export function useUser(): User {
  const { user } = useSession();
  if (!user) throw new Error("nobody is signed in");
  return user;
}

const ME = ["me"];

const FIRST: Record<User["role"], Session["first"]> = { admin: "chatwork", auditor: "jobs", employee: "companies" };

export function WithSession({
  children,
  waiting,
  failed,
}: {
  children: ReactNode;
  waiting: ReactNode;
  failed: (error: Error, again: () => void) => ReactNode;
}) {
  const [gone, setGone] = useState<Gone>("never");
  const { data: user, error, refetch } = useQuery({ queryKey: ME, queryFn: me, staleTime: Number.POSITIVE_INFINITY });
  const userId = user?.id;

  useEffect(() => {
    onSignedOut(() => {
      if (!queries.getQueryData(ME)) return;
      setGone("expired");
      queries.setQueryData(ME, null);
    });
  }, []);
  useEffect(() => {
    if (!userId) return;
    startLive();
    return stopLive;
  }, [userId]);

  const session = useMemo<Session>(
    () => ({
      user: user ?? null,
      gone,
      isAdmin: user?.role === "admin",
      readsAll: user?.role === "admin" || user?.role === "auditor",
      mayChange: user?.role !== "auditor",
      first: FIRST[user?.role ?? "employee"],
      enter: (entered) => {
        // The next user must not see data that was fetched for this one.
        queries.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== ME[0] });
        queries.setQueryData(ME, entered);
      },
      // If the service does not answer, the session still exists, so the page stays signed in.
      leave: async () => {
        await signOut().catch((error) => {
          if (!(error instanceof Refused && error.status === 401)) throw error;
        });
        setGone("left");
        queries.setQueryData(ME, null);
      },
    }),
    [user, gone],
  );
  if (user === undefined) return error ? failed(error, () => void refetch()) : waiting;
  return <Signed value={session}>{children}</Signed>;
}
