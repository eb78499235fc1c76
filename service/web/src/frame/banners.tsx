/** Banners: offline, and the shutdown of the language model. */

import { useQuery } from "@tanstack/react-query";
import { modelShutdown } from "../api";
import { Icon } from "../parts/icons";
import { useSession } from "../session";
import { useWords } from "../words/words";
import { useOnline } from "./online";

export function Connection() {
  const words = useWords();
  const online = useOnline();
  return (
    <div role="status">
      {!online && (
        <p className="banner">
          <Icon name="warn" /> {words.offline}
        </p>
      )}
    </div>
  );
}

const HOURLY = 60 * 60_000;

/** Only admins see this, because only they can change the model. */
export function Notices() {
  const words = useWords();
  const { isAdmin } = useSession();
  const { data: shutdown } = useQuery({
    queryKey: ["model-shutdown"],
    queryFn: ({ signal }) => modelShutdown(signal),
    enabled: isAdmin,
    staleTime: HOURLY,
    refetchInterval: HOURLY,
  });
  return (
    <div role="status">
      {shutdown && (
        <p className="banner">
          <Icon name="warn" /> {words.modelShutdown(shutdown.model, shutdown.date)}
        </p>
      )}
    </div>
  );
}
