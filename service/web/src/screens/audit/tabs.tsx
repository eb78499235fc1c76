import { Icon } from "../../parts/icons";
import { Link, usePlace } from "../../route";
import { useWords } from "../../words/words";

export const OPERATIONS = "/audit?part=operations";

export function AuditTabs() {
  const words = useWords();
  const operations = usePlace().query.get("part") === "operations";
  return (
    <nav className="tabs" aria-label={words.auditSections}>
      <Link className="tab" to="/audit" {...(operations ? {} : { "aria-current": "page" as const })}>
        <Icon name="audit" size={14} /> {words.log}
      </Link>
      <Link className="tab" to={OPERATIONS} {...(operations ? { "aria-current": "page" as const } : {})}>
        <Icon name="worker" size={14} /> {words.operations}
      </Link>
    </nav>
  );
}
