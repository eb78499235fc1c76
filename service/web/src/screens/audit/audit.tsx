import { Heading } from "../../parts/heading";
import { Forbidden } from "../../parts/states";
import { usePlace } from "../../route";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { AccessSection } from "./access";
import { Integrity } from "./integrity";
import { LogSection } from "./log";
import { Operations } from "./operations";
import { Protection } from "./protection";
import { AuditTabs } from "./tabs";

function Part({ name }: { name: string | null }) {
  if (name === "operations") return <Operations />;
  if (name === "access") return <AccessSection />;
  return (
    <>
      <Protection />
      <Integrity />
      <LogSection />
    </>
  );
}

export function AuditScreen() {
  const words = useWords();
  const { readsAll } = useSession();
  const { query } = usePlace();
  return (
    <>
      <Heading title={words.audit} intro={words.auditIntro} />
      {readsAll ? (
        <>
          <AuditTabs />
          <Part name={query.get("part")} />
        </>
      ) : (
        <Forbidden />
      )}
    </>
  );
}
