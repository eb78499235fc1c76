/** A button with things behind it: the browser's own disclosure, closed by Escape, by a choice, and by a press elsewhere. */

import { type KeyboardEvent, type ReactNode, useEffect, useRef } from "react";

export function Menu({
  label,
  button,
  children,
  className = "",
}: {
  label: string;
  button: ReactNode;
  children: ReactNode;
  className?: string;
}) {
  const menu = useRef<HTMLDetailsElement>(null);

  useEffect(() => {
    function elsewhere(event: PointerEvent) {
      if (menu.current?.open && !menu.current.contains(event.target as Node)) menu.current.open = false;
    }
    document.addEventListener("pointerdown", elsewhere);
    return () => document.removeEventListener("pointerdown", elsewhere);
  }, []);

  function close(event: KeyboardEvent) {
    if (event.key !== "Escape" || !menu.current?.open) return;
    event.stopPropagation();
    menu.current.open = false;
    menu.current.querySelector("summary")?.focus();
  }

  return (
    // The element opens and closes by itself; Escape only closes it too.
    <details ref={menu} className={`menu ${className}`} onKeyDown={close}>
      <summary aria-label={label}>{button}</summary>
      <div className="menu-body">{children}</div>
    </details>
  );
}
