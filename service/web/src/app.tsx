/** The whole page: the sign-in, or the frame with the screen that the address names. */

import { Component, lazy, type ReactNode, Suspense } from "react";
import { Frame } from "./frame/frame";
import { WithToasts } from "./frame/toasts";
import { WithJobTypes } from "./job/types";
import { Plate, ProblemPlate, Slow } from "./parts/states";
import { usePlace } from "./route";
import { JobsScreen } from "./screens/jobs/jobs";
import { NotFoundScreen } from "./screens/not-found/not-found";
import { SignInScreen } from "./screens/sign-in/sign-in";
import { useSession, WithSession } from "./session";
import { useWords } from "./words/words";

// These screens are loaded when they are first shown, so that the first load stays small.
const AuditScreen = lazy(async () => ({ default: (await import("./screens/audit/audit")).AuditScreen }));
const ChatworkScreen = lazy(async () => ({ default: (await import("./screens/chatwork/chatwork")).ChatworkScreen }));
const CompaniesScreen = lazy(async () => ({
  default: (await import("./screens/companies/companies")).CompaniesScreen,
}));
const InvitationScreen = lazy(async () => ({
  default: (await import("./screens/invitation/invitation")).InvitationScreen,
}));
const JobScreen = lazy(async () => ({ default: (await import("./screens/job/job")).JobScreen }));

export function App() {
  const words = useWords();
  return (
    <Caught title={words.pageBroke} again={words.reload}>
      <WithSession
        waiting={<Starting />}
        failed={(error, again) => (
          <main className="starting">
            <ProblemPlate error={error} again={again} />
          </main>
        )}
      >
        <Signed />
      </WithSession>
    </Caught>
  );
}

function Starting() {
  const words = useWords();
  return (
    <div className="starting" role="status" aria-label={words.loading}>
      <Slow />
    </div>
  );
}

function Signed() {
  const { user } = useSession();
  const words = useWords();
  const { path } = usePlace();
  if (path === "/invitation") {
    return (
      <Suspense fallback={<Starting />}>
        <InvitationScreen />
      </Suspense>
    );
  }
  if (!user) return <SignInScreen />;
  return (
    <WithJobTypes key={user.id}>
      <WithToasts>
        <Frame>
          <Caught key={path} title={words.pageBroke} again={words.reload}>
            <Suspense fallback={<Slow />}>
              <Screen />
            </Suspense>
          </Caught>
        </Frame>
      </WithToasts>
    </WithJobTypes>
  );
}

function Screen() {
  const { path } = usePlace();
  const { first } = useSession();
  const [, asked = "", id, ...rest] = path.replace(/\/$/, "").split("/");
  const screen = asked || first;
  if (rest.length > 0) return <NotFoundScreen />;
  switch (screen) {
    case "chatwork":
      return id ? <NotFoundScreen /> : <ChatworkScreen />;
    case "jobs":
      return id ? <JobScreen key={id} id={id} /> : <JobsScreen />;
    case "companies":
      return <CompaniesScreen id={id ?? null} />;
    case "audit":
      return id ? <NotFoundScreen /> : <AuditScreen />;
    default:
      return <NotFoundScreen />;
  }
}

/** Shows a message and a reload button when our own code fails while drawing, instead of an empty page. */
class Caught extends Component<{ title: string; again: string; children: ReactNode }, { broke: boolean }> {
  override state = { broke: false };

  static getDerivedStateFromError() {
    return { broke: true };
  }

  override render() {
    if (!this.state.broke) return this.props.children;
    return (
      <Plate
        icon="warn"
        tone="bad"
        title={this.props.title}
        action={
          <button type="button" className="button" onClick={() => window.location.reload()}>
            {this.props.again}
          </button>
        }
      />
    );
  }
}
