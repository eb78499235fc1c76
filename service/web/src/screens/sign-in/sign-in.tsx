import { useMutation, useQuery } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { providerAddress, Refused, signIn, signInMethods } from "../../api";
import { Outside } from "../../frame/outside";
import { Icon } from "../../parts/icons";
import { problemText } from "../../refusals/refusals";
import { addressWith, usePlace } from "../../route";
import { useSession } from "../../session";
import { useWords, type Words } from "../../words/words";

/** The words for each reason that the service writes into the address when it refuses an answer of the provider. */
const PROVIDER_REFUSALS = {
  canceled: "providerCanceled",
  expired: "providerExpired",
  provider: "providerFailed",
  token: "providerNotVerified",
  "email-missing": "providerEmailMissing",
  "email-not-verified": "providerEmailNotVerified",
  "email-taken": "providerEmailTaken",
  disabled: "providerDisabled",
} as const satisfies Record<string, keyof Words>;

export function SignInScreen() {
  const words = useWords();
  const { gone, enter } = useSession();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const entering = useMutation({ mutationFn: () => signIn(email, password), onSuccess: enter });
  const methods = useQuery({ queryKey: ["sign-in methods"], queryFn: ({ signal }) => signInMethods(signal) });
  const place = usePlace();
  const refusal = providerRefusal(words, place.query.get("refused"));

  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);

  function submit(event: FormEvent) {
    event.preventDefault();
    entering.mutate();
  }

  return (
    <Outside
      tab={words.signIn}
      heading={
        <>
          Rireki <span lang="ja">履歴</span>
        </>
      }
      intro={words.signInIntro}
    >
      {gone !== "never" && (
        <p className="note" role="status">
          <Icon name="info" /> {gone === "expired" ? words.sessionEnded : words.signedOutNow}
        </p>
      )}
      <form onSubmit={submit} className="form">
        <label className="field">
          {words.email}
          <input
            ref={first}
            type="email"
            name="email"
            autoComplete="username"
            required
            value={email}
            onChange={(event) => setEmail(event.target.value)}
          />
        </label>
        <label className="field">
          {words.password}
          <input
            type="password"
            name="password"
            autoComplete="current-password"
            required
            value={password}
            onChange={(event) => setPassword(event.target.value)}
          />
        </label>
        {refusal && !entering.error && (
          <p className="mishap" role="alert">
            <Icon name="warn" /> {refusal}
          </p>
        )}
        {entering.error && (
          <p className="mishap" role="alert">
            <Icon name="warn" /> {refusalText(words, entering.error)}
          </p>
        )}
        <button type="submit" className="button button-main button-wide" disabled={entering.isPending}>
          {entering.isPending ? words.signingIn : words.signIn}
        </button>
        {methods.data?.oidc && (
          <a className="button button-wide" href={providerAddress(addressWith(place, { refused: null }))}>
            {words.signInWithProvider}
          </a>
        )}
      </form>
    </Outside>
  );
}

function providerRefusal(words: Words, reason: string | null): string | null {
  const name = Object.entries(PROVIDER_REFUSALS).find(([known]) => known === reason)?.[1];
  return name ? words[name] : null;
}

function refusalText(words: Words, error: Error): string {
  if (error instanceof Refused) {
    if (error.status === 401 || error.status === 422) return words.wrongPassword;
    if (error.status === 429) return words.tooManyTries(error.retryAfter ?? 60);
  }
  return problemText(words, error);
}
