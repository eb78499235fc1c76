/** The job types that the service has, and what people call them. */

import { useQuery } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useMemo } from "react";
import { type JobType, listJobTypes } from "../api";
import { useWords } from "../words/words";
import { typeWord } from "./naming";

export const JOB_TYPES = ["job-types"];

/** `every` is how often to look again, in milliseconds: a pause begins and ends while one watches. */
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

/** What people call a job of this type, in their language where this page has a word for it. */
export function useTypeWord(): (type: string) => string {
  const words = useWords();
  const known = useContext(Known);
  return useMemo(() => {
    const titles = new Map(known.map(({ name, title }) => [name, title]));
    return (type: string) => typeWord(words, type, titles.get(type));
  }, [words, known]);
}
