/** Language and theme: those of the browser until the user chooses. */

import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { type Language, WordsContext, wordsIn } from "./words/words";

export type Theme = "auto" | "light" | "dark";

interface Preferences {
  language: Language;
  theme: Theme;
  speak: (language: Language) => void;
  paint: (theme: Theme) => void;
}

const Chosen = createContext<Preferences | null>(null);

export function usePreferences(): Preferences {
  const preferences = useContext(Chosen);
  if (!preferences) throw new Error("no preferences around this component");
  return preferences;
}

/** Reads a stored choice. If the browser forbids storage, a choice lasts until the page is closed. */
function kept(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function keep(name: string, value: string) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // If storage is forbidden, the choice lasts until the page is closed.
  }
}

function firstLanguage(): Language {
  const language = kept("rireki.language") ?? navigator.language;
  return language.startsWith("ja") ? "ja" : "en";
}

function firstTheme(): Theme {
  const theme = kept("rireki.theme");
  return theme === "light" || theme === "dark" ? theme : "auto";
}

export function WithPreferences({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState(firstLanguage);
  const [theme, setTheme] = useState(firstTheme);

  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  useEffect(() => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }, [theme]);

  const preferences = useMemo(
    () => ({
      language,
      theme,
      speak: (chosen: Language) => {
        keep("rireki.language", chosen);
        setLanguage(chosen);
      },
      paint: (chosen: Theme) => {
        keep("rireki.theme", chosen);
        setTheme(chosen);
      },
    }),
    [language, theme],
  );
  return (
    <Chosen value={preferences}>
      <WordsContext value={wordsIn(language)}>{children}</WordsContext>
    </Chosen>
  );
}
