import { Icon } from "../../parts/icons";
import { Link, usePlace } from "../../route";
import { useWords } from "../../words/words";

export const OPERATIONS = "/audit?part=operations";
export const ACCESS = "/audit?part=access";

export function AuditTabs() {
  const words = useWords();
  const part = usePlace().query.get("part");
  const here = (name: string | null) => (part === name ? { "aria-current": "page" as const } : {});
  return (
    <nav className="tabs" aria-label={words.auditSections}>
      <Link
        className="tab"
        to="/audit"
        {...(part === "operations" || part === "access" ? {} : { "aria-current": "page" as const })}
      >
        <Icon name="audit" size={14} /> {words.log}
      </Link>
      <Link className="tab" to={ACCESS} {...here("access")}>
        <Icon name="people" size={14} /> {words.access}
      </Link>
      <Link className="tab" to={OPERATIONS} {...here("operations")}>
        <Icon name="worker" size={14} /> {words.operations}
      </Link>
    </nav>
  );
}
