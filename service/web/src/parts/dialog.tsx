/** A modal dialog. The browser's own `<dialog>` keeps the focus inside and gives it back.
 *
 * The first field has the focus. In a dialog without a field the heading has it, and Enter confirms. */

import { type KeyboardEvent, type ReactNode, useId, useLayoutEffect, useRef } from "react";
import { useWords } from "../words/words";
import { Icon } from "./icons";

const FIELD = "input, select, textarea";

export function Dialog({
  title,
  children,
  onClose,
  wide = false,
}: {
  title: string;
  children: ReactNode;
  onClose: () => void;
  wide?: boolean;
}) {
  const words = useWords();
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();

  // The dialog is closed before React removes it, because afterwards the browser does not give the focus back.
  useLayoutEffect(() => {
    const shown = dialog.current;
    const before = document.activeElement;
    shown?.showModal();
    (shown?.querySelector<HTMLElement>(FIELD) ?? shown?.querySelector<HTMLElement>("h2"))?.focus();
    return () => {
      shown?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);

  function confirm(event: KeyboardEvent) {
    if (event.key !== "Enter" || event.target !== dialog.current?.querySelector("h2")) return;
    dialog.current.querySelector<HTMLElement>('[type="submit"]:not(:disabled)')?.click();
  }

  return (
    <dialog
      ref={dialog}
      className={wide ? "dialog dialog-wide" : "dialog"}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
      onKeyDown={confirm}
    >
      <div className="dialog-body">
        <header className="dialog-head">
          <h2 id={heading} tabIndex={-1}>
            {title}
          </h2>
          <button type="button" className="icon-button" aria-label={words.close} onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
