/** One tab for each status, with its count. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { countJobs, type JobFilter, type Status } from "../../api";
import { number } from "../../format";
import { useChanges, useTick } from "../../live/live";
import { Icon } from "../../parts/icons";
import { addressWith, Link, usePlace } from "../../route";
import { useWords } from "../../words/words";
import { STATUSES } from "./filter";

const COUNT_EVERY = 1_500;

function useCounts(filter: JobFilter) {
  const queries = useQueryClient();
  const { status: _, ...rest } = filter;
  const key = ["counts", rest];
  const waiting = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const counting = useQuery({ queryKey: key, queryFn: ({ signal }) => countJobs(rest, signal) });

  function soon() {
    waiting.current ??= setTimeout(() => {
      waiting.current = undefined;
      void queries.invalidateQueries({ queryKey: ["counts"] });
    }, COUNT_EVERY);
  }

  useChanges(soon);
  useTick(() => void queries.invalidateQueries({ queryKey: ["counts"] }));
  useEffect(() => () => clearTimeout(waiting.current), []);
  return counting.data;
}

export function Tabs({ filter }: { filter: JobFilter }) {
  const words = useWords();
  const place = usePlace();
  const counts = useCounts(filter);
  const sum = counts && STATUSES.reduce((all, status) => all + counts.counts[status], 0);
  const some = counts && STATUSES.some((status) => counts.counts[status] >= counts.most);
  const nav = useRef<HTMLElement>(null);
  // On a phone the last tabs lie beyond the edge, so the open one is scrolled into sight.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when a tab is opened or the counts arrive.
  useEffect(() => {
    const tabs = nav.current;
    const here = tabs?.querySelector<HTMLElement>("[aria-current]");
    if (tabs && here) tabs.scrollLeft = here.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - here.offsetWidth) / 2;
  }, [filter.status, counts !== undefined]);

  function count(value: number | undefined, more: boolean | undefined) {
    if (value === undefined) return "";
    return more ? words.orMore(value) : number(value, words.language);
  }

  return (
    <nav ref={nav} className="tabs" aria-label={words.statusFilter}>
      <Tab
        to={addressWith(place, { status: null })}
        here={!filter.status}
        word={words.all}
        count={count(some ? counts.most : sum, some)}
      />
      {STATUSES.map((status) => (
        <Tab
          key={status}
          to={addressWith(place, { status })}
          here={filter.status === status}
          word={words[status]}
          icon={status}
          count={count(counts?.counts[status], counts && counts.counts[status] >= counts.most)}
        />
      ))}
    </nav>
  );
}

function Tab({
  to,
  here,
  word,
  count,
  icon,
}: {
  to: string;
  here: boolean;
  word: string;
  count: string;
  icon?: Status;
}) {
  return (
    <Link to={to} className={`tab${icon ? ` tab-${icon}` : ""}`} {...(here ? { "aria-current": "page" as const } : {})}>
      {icon && <Icon name={icon} size={14} />}
      {word} <span className="tab-count">{count}</span>
    </Link>
  );
}
