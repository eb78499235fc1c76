import { Link, usePlace } from "../route";
import { useWords } from "../words";
import { Icon } from "./icons";

export function AuditTabs() {
  const words = useWords();
  const { path } = usePlace();
  return (
    <nav className="tabs" aria-label={words.auditSections}>
      <Link className="tab" to="/audit" {...(path === "/audit" ? { "aria-current": "page" as const } : {})}>
        <Icon name="audit" size={14} /> {words.log}
      </Link>
      <Link className="tab" to="/operations" {...(path === "/operations" ? { "aria-current": "page" as const } : {})}>
        <Icon name="worker" size={14} /> {words.operations}
      </Link>
    </nav>
  );
}
