/** The list of jobs: warnings, counts by status, filters and rows. */

import { Heading } from "../../parts/heading";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { useFilter } from "./filter";
import { Filters } from "./filters";
import { List } from "./list";
import { Tabs } from "./tabs";
import { Warnings } from "./warnings";

export function JobsScreen() {
  const words = useWords();
  const { readsAll } = useSession();
  const filter = useFilter();
  return (
    <>
      <Heading title={words.jobs} intro={readsAll ? words.jobsIntroAdmin : words.jobsIntro} />
      {readsAll && <Warnings />}
      <Tabs filter={filter} />
      <Filters />
      <List key={JSON.stringify(filter)} filter={filter} />
    </>
  );
}
