import { useEffect, useState } from "react";
import { useWords } from "../words/words";
import { Icon, type IconName } from "./icons";

interface CopyProps {
  text: () => string;
  /** The name of the button. */
  label: string;
  icon?: IconName;
  /** Text beside the icon; without it only the icon shows. */
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

/** Browsers offer the clipboard to HTTPS pages only; elsewhere a selected field is copied. */
async function write(text: string) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
