import { Heading } from "../../parts/heading";
import { NotFound } from "../../parts/states";
import { useWords } from "../../words/words";

export function NotFoundScreen() {
  const words = useWords();
  return (
    <>
      <Heading title={words.notFoundTitle} />
      <NotFound />
    </>
  );
}
