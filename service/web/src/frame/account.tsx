/** The account menu: who is signed in, language, theme, sign out. */

import { useMutation } from "@tanstack/react-query";
import { useLiveState } from "../live/live";
import { Icon } from "../parts/icons";
import { Menu } from "../parts/menu";
import { useSession, useUser } from "../session";
import { useWords } from "../words/words";
import { Choices } from "./choices";
import { useOnline } from "./online";
import { useToasts } from "./toasts";

export function Account() {
  const words = useWords();
  const user = useUser();
  const { leave } = useSession();
  const { say } = useToasts();
  const live = useLiveState();
  const state = useOnline() ? live : "noNetwork";
  const leaving = useMutation({ mutationFn: leave, onError: () => say(words.notSignedOut, "bad") });
  return (
    <Menu
      className="account"
      label={words.account}
      button={
        <>
          <span className="avatar" aria-hidden="true">
            {(user.name || user.email).slice(0, 1).toUpperCase()}
          </span>
          <Icon name="down" size={14} />
        </>
      }
    >
      <div className="account-who">
        <b>{user.name || user.email}</b>
        {user.name && <span>{user.email}</span>}
        <span className="faint">{words[user.role]}</span>
      </div>
      <p className="account-live faint">{words[`${state}Hint`]}</p>
      <Choices />
      <hr />
      <a className="menu-item" href="/api/docs">
        {words.apiDocs}
      </a>
      <button type="button" className="menu-item" disabled={leaving.isPending} onClick={() => leaving.mutate()}>
        {words.signOut}
      </button>
    </Menu>
  );
}
