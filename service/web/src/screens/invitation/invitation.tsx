/** A person who was invited sets their own password. The token is the fragment of the link, which no server sees. */

import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { acceptInvitation, Refused } from "../../api";
import { Outside } from "../../frame/outside";
import { Icon } from "../../parts/icons";
import { problemText } from "../../refusals/refusals";
import { Link } from "../../route";
import { useWords, type Words } from "../../words/words";

export function InvitationScreen() {
  const words = useWords();
  const [token] = useState(() => window.location.hash.slice(1));
  const [password, setPassword] = useState("");
  const setting = useMutation({
    mutationFn: () => acceptInvitation(token, password),
    // The link works once, so it leaves the browser's history with its first use.
    onSuccess: () => window.history.replaceState(null, "", window.location.pathname),
  });

  function submit(event: FormEvent) {
    event.preventDefault();
    setting.mutate();
  }

  return (
    <Outside tab={words.invitation} heading={words.invitation} intro={words.invitationIntro}>
      {setting.isSuccess ? (
        <>
          <p className="note" role="status">
            <Icon name="info" /> {words.passwordIsSet}
          </p>
          <Link className="button button-main button-wide" to="/">
            {words.toSignIn}
          </Link>
        </>
      ) : (
        <form onSubmit={submit} className="form">
          <label className="field">
            {words.newPassword}
            <input
              type="password"
              name="password"
              autoComplete="new-password"
              required
              value={password}
              onChange={(event) => setPassword(event.target.value)}
            />
            <span className="faint small">{words.newPasswordHint}</span>
          </label>
          {setting.error && (
            <p className="mishap" role="alert">
              <Icon name="warn" /> {refusalText(words, setting.error)}
            </p>
          )}
          <button type="submit" className="button button-main button-wide" disabled={setting.isPending}>
            {words.setPassword}
          </button>
        </form>
      )}
    </Outside>
  );
}

function refusalText(words: Words, error: Error): string {
  if (error instanceof Refused) {
    if (error.status === 404) return words.invitationNotValid;
    if (error.errors.some(({ path }) => path === "password")) return words.passwordRefused;
    if (error.errors.some(({ path }) => path === "token")) return words.invitationNotValid;
    if (error.status === 429) return words.tooManyTries(error.retryAfter ?? 60);
  }
  return problemText(words, error);
}
