/** The choice of language and theme. */

import { Icon, type IconName } from "../parts/icons";
import { type Theme, usePreferences } from "../preferences";
import { useWords } from "../words/words";

const THEMES: [Theme, "themeAuto" | "themeLight" | "themeDark", IconName][] = [
  ["auto", "themeAuto", "auto"],
  ["light", "themeLight", "light"],
  ["dark", "themeDark", "dark"],
];

export function Choices() {
  const words = useWords();
  const { language, speak, theme, paint } = usePreferences();
  return (
    <div className="choices">
      <fieldset className="segments">
        <legend className="unseen">{words.language}</legend>
        {(["ja", "en"] as const).map((code) => (
          <label key={code} lang={code}>
            <input type="radio" name="language" checked={language === code} onChange={() => speak(code)} />
            <span>{code === "ja" ? "日本語" : "English"}</span>
          </label>
        ))}
      </fieldset>
      <fieldset className="segments">
        <legend className="unseen">{words.theme}</legend>
        {THEMES.map(([code, word, icon]) => (
          <label key={code} title={words[word]}>
            <input
              type="radio"
              name="theme"
              checked={theme === code}
              onChange={() => paint(code)}
              aria-label={words[word]}
            />
            <span>
              <Icon name={icon} />
            </span>
          </label>
        ))}
      </fieldset>
    </div>
  );
}
