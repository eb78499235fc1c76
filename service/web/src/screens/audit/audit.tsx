import { Heading } from "../../parts/heading";
import { Forbidden } from "../../parts/states";
import { usePlace } from "../../route";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { Integrity } from "./integrity";
import { LogSection } from "./log";
import { Operations } from "./operations";
import { AuditTabs } from "./tabs";

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
          {query.get("part") === "operations" ? (
            <Operations />
          ) : (
            <>
              <Integrity />
              <LogSection />
            </>
          )}
        </>
      ) : (
        <Forbidden />
      )}
    </>
  );
}
