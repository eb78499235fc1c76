/** The dialog that the address names: `?dialog=NAME`, with `&of=` for the thing that it is about.
 *
 * So Back closes it, a reload keeps it, and a link opens it. */

import { addressWith, back, go, placeNow, usePlace } from "../route";

export interface OpenDialog {
  isOpen: boolean;
  /** The thing that the open dialog is about, or "". */
  of: string;
  open: (of?: string) => void;
  close: () => void;
}

export function useDialog(name: string): OpenDialog {
  const place = usePlace();
  const isOpen = place.query.get("dialog") === name;
  return {
    isOpen,
    of: isOpen ? (place.query.get("of") ?? "") : "",
    open: (of = "") => go(addressWith(place, { dialog: name, of }), { opens: true }),
    close: () => {
      const now = placeNow();
      if (now.query.get("dialog") === name) back(addressWith(now, { dialog: null, of: null }));
    },
  };
}
