/** The filter of the list, as the address holds it. */

import { useMemo } from "react";
import { type JobFilter, type Status, serverNow } from "../../api";
import { addressWith, usePlace } from "../../route";

export const STATUSES: Status[] = ["queued", "processing", "completed", "failed", "canceled"];

export const HOUR = 3_600_000;

const SINCE: Record<string, number> = { "1h": HOUR, "24h": 24 * HOUR, "7d": 168 * HOUR, "30d": 720 * HOUR };

/** The filter in the address. "Last hour" begins an hour before the filter was chosen. */
export function useFilter(): JobFilter {
  const place = usePlace();
  // A dialog over the list must not make "last hour" begin anew.
  const address = addressWith(place, { dialog: null, of: null }, "");
  return useMemo(() => {
    const asked = new URLSearchParams(address);
    const since = SINCE[asked.get("since") ?? ""];
    return {
      type: asked.get("type") ?? undefined,
      status: STATUSES.find((status) => status === asked.get("status")),
      userId: asked.get("userId") ?? undefined,
      createdAfter: since ? new Date(serverNow() - since).toISOString() : instant(asked.get("from")),
      createdBefore: since ? undefined : instant(asked.get("to")),
    };
  }, [address]);
}

/** A time from a field of the page, in the reader's time zone. */
function instant(local: string | null): string | undefined {
  const time = local ? Date.parse(local) : Number.NaN;
  return Number.isNaN(time) ? undefined : new Date(time).toISOString();
}
