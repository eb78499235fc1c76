/** All words that people read, gathered from the screens and parts where they stand. Each has both languages side by side. */

import { createContext, useContext } from "react";
import { frameWords } from "../frame/words";
import { jobWords } from "../job/words";
import { partsWords } from "../parts/words";
import { refusalsWords } from "../refusals/words";
import { auditWords } from "../screens/audit/words";
import { chatworkWords } from "../screens/chatwork/words";
import { companiesWords } from "../screens/companies/words";
import { invitationWords } from "../screens/invitation/words";
import { jobScreenWords } from "../screens/job/words";
import { jobsWords } from "../screens/jobs/words";
import { signInWords } from "../screens/sign-in/words";
import type { Language } from "./say";

export type { Language } from "./say";

export const SOURCES = [
  frameWords,
  jobWords,
  partsWords,
  refusalsWords,
  auditWords,
  chatworkWords,
  companiesWords,
  invitationWords,
  jobScreenWords,
  jobsWords,
  signInWords,
];

const WORDS = {
  ...frameWords,
  ...jobWords,
  ...partsWords,
  ...refusalsWords,
  ...auditWords,
  ...chatworkWords,
  ...companiesWords,
  ...invitationWords,
  ...jobScreenWords,
  ...jobsWords,
  ...signInWords,
} as const;

type All = typeof WORDS;
export type Words = { readonly [Name in keyof All]: All[Name][0] } & { readonly language: Language };

function inLanguage(language: Language): Words {
  const index = language === "ja" ? 0 : 1;
  const chosen = Object.entries(WORDS).map(([name, both]) => [name, both[index]]);
  return { ...Object.fromEntries(chosen), language } as Words;
}

const BY_LANGUAGE: Record<Language, Words> = { ja: inLanguage("ja"), en: inLanguage("en") };

export const wordsIn = (language: Language): Words => BY_LANGUAGE[language];

export const WordsContext = createContext<Words>(BY_LANGUAGE.ja);

/** The words in the language that the reader has chosen. */
export const useWords = () => useContext(WordsContext);
