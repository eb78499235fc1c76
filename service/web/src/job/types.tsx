/** The job types of the service, and their names for people. */

import { useQuery } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useMemo } from "react";
import { type JobType, listJobTypes } from "../api";
import { useWords } from "../words/words";
import { typeWord } from "./naming";

export const JOB_TYPES = ["job-types"];

/** `every` is the time between two requests in milliseconds, for screens that show pauses. */
export function useJobTypes(every?: number) {
  return useQuery({
    queryKey: JOB_TYPES,
    queryFn: ({ signal }) => listJobTypes(signal),
    staleTime: 60_000,
    ...(every && { refetchInterval: every }),
  });
}

const Known = createContext<JobType[]>([]);

export function WithJobTypes({ children }: { children: ReactNode }) {
  const { data = NONE } = useJobTypes();
  return <Known value={data}>{children}</Known>;
}

const NONE: JobType[] = [];

/** Returns the name of a job type in the reader's language, or the service's title for it. */
export function useTypeWord(): (type: string) => string {
  const words = useWords();
  const known = useContext(Known);
  return useMemo(() => {
    const titles = new Map(known.map(({ name, title }) => [name, title]));
    return (type: string) => typeWord(words, type, titles.get(type));
  }, [words, known]);
}
