/** A button that opens a menu: the browser's `<details>`, closed by Escape, by a choice, and by leaving it. */

import { type FocusEvent, type KeyboardEvent, type MouseEvent, type ReactNode, useEffect, useRef } from "react";

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

  function close() {
    if (!menu.current) return;
    menu.current.open = false;
    menu.current.querySelector("summary")?.focus();
  }

  function closeOnEscape(event: KeyboardEvent) {
    if (event.key !== "Escape" || !menu.current?.open) return;
    event.stopPropagation();
    close();
  }

  /** Closes after a choice. Language and theme keep the menu open, so that people can try them out. */
  function chosen(event: MouseEvent) {
    if ((event.target as HTMLElement).closest(".menu-item")) close();
  }

  function left(event: FocusEvent) {
    if (menu.current && event.relatedTarget && !menu.current.contains(event.relatedTarget)) menu.current.open = false;
  }

  return (
    // `<details>` opens and closes by itself when its summary is pressed.
    <details ref={menu} className={`menu ${className}`} onKeyDown={closeOnEscape} onClick={chosen} onBlur={left}>
      <summary aria-label={label}>{button}</summary>
      <div className="menu-body">{children}</div>
    </details>
  );
}
