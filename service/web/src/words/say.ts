/** How a word is written down: Japanese first, English beside it. Used by the `words.ts` of every screen and part. */

export type Language = "ja" | "en";

type Both<T> = readonly [ja: T, en: T];

export const say = (ja: string, en: string): Both<string> => [ja, en];

/** A word that is made from values: both languages get the same ones. */
export const saying = <Given extends unknown[]>(
  ja: (...given: Given) => string,
  en: (...given: Given) => string,
): Both<(...given: Given) => string> => [ja, en];

// The format is made once, because making a format takes longer than drawing a row. Both languages group digits alike.
const NUMBERS = new Intl.NumberFormat("ja-JP");

/** `1234` as "1,234". */
export const digits = (value: number) => NUMBERS.format(value);

/** "1 job", "2 jobs". For English only: Japanese has no plural. */
export const counted = (value: number, one: string, many = `${one}s`) => `${digits(value)} ${value === 1 ? one : many}`;
