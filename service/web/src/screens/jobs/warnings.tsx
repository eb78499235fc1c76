/** For admins: paused job types, and no living worker. */

import { useQuery } from "@tanstack/react-query";
import { listWorkers } from "../../api";
import { useJobTypes, useTypeWord } from "../../job/types";
import { Icon } from "../../parts/icons";
import { Link } from "../../route";
import { useWords } from "../../words/words";
import { OPERATIONS } from "../audit/tabs";

export function Warnings() {
  const words = useWords();
  const typeWord = useTypeWord();
  const types = useJobTypes(30_000);
  const workers = useQuery({
    queryKey: ["workers"],
    queryFn: ({ signal }) => listWorkers(signal),
    refetchInterval: 15_000,
  });
  const paused = types.data?.filter((type) => type.paused).map(({ name }) => typeWord(name)) ?? [];
  const alone = workers.data && !workers.data.some(({ state }) => state === "alive");
  if (paused.length === 0 && !alone) return null;
  return (
    <p className="note note-warn" role="status">
      <Icon name="warn" />
      <span>
        {alone && words.noWorkerBanner} {paused.length > 0 && words.pausedBanner(paused)}{" "}
        <Link to={OPERATIONS}>{words.toOperations}</Link>
      </span>
    </p>
  );
}
