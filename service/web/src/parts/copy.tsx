import { useEffect, useState } from "react";
import { useWords } from "../words/words";
import { Icon, type IconName } from "./icons";

interface CopyProps {
  text: () => string;
  /** What is copied, as its name says it. */
  label: string;
  icon?: IconName;
  /** Shown beside the icon; without it the label is only its name. */
  shown?: string;
}

export function Copy({ text, label, icon = "copy", shown }: CopyProps) {
  const words = useWords();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2_000);
    return () => clearTimeout(timer);
  }, [copied]);

  async function copy() {
    await write(text());
    setCopied(true);
  }

  return (
    <button
      type="button"
      className={shown ? "button button-small button-quiet" : "icon-button"}
      onClick={() => void copy()}
      title={label}
      {...(shown ? {} : { "aria-label": label })}
    >
      <Icon name={copied ? "check" : icon} />
      {shown && (copied ? words.copied : shown)}
      <span className="unseen" aria-live="polite">
        {copied ? words.copied : ""}
      </span>
    </button>
  );
}

/** The clipboard belongs to secure pages; elsewhere a selected field does it. */
async function write(text: string) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
