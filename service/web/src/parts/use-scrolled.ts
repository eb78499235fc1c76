/** Whether the page is scrolled down. */

import { useEffect, useState } from "react";

const FROM_TOP = 160;

/** Read only on scroll events, because reading `scrollY` while drawing makes the browser lay out the page again. */
export function useScrolled(): boolean {
  const [scrolled, setScrolled] = useState(() => window.scrollY > FROM_TOP);
  useEffect(() => {
    const look = () => setScrolled(window.scrollY > FROM_TOP);
    look();
    window.addEventListener("scroll", look, { passive: true });
    return () => window.removeEventListener("scroll", look);
  }, []);
  return scrolled;
}
