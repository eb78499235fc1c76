/** Numbers, times and spans, in the reader's language and time zone. */

import type { Language } from "./words/words";

const LOCALES: Record<Language, string> = { ja: "ja-JP", en: "en-GB" };

const relative = new Map<Language, Intl.RelativeTimeFormat>();
const exact = new Map<Language, Intl.DateTimeFormat>();
const clocks = new Map<Language, Intl.DateTimeFormat>();
const numbers = new Map<Language, Intl.NumberFormat>();

function kept<T>(formats: Map<Language, T>, language: Language, make: (locale: string) => T): T {
  const held = formats.get(language);
  if (held) return held;
  const made = make(LOCALES[language]);
  formats.set(language, made);
  return made;
}

export function number(value: number, language: Language): string {
  return kept(numbers, language, (locale) => new Intl.NumberFormat(locale)).format(value);
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 30],
  ["month", 12],
  ["year", Number.POSITIVE_INFINITY],
];

/** "3 minutes ago". A time in the future counts as now, because two clocks may differ a little. */
export function ago(time: string, now: number, language: Language): string {
  const text = fromNow(time, Math.max(now, Date.parse(time)), language);
  // 「たった今」 for this second, because 「今から停止中」 would mean that it is yet to begin.
  return text === "今" ? "たった今" : text;
}

/** "3 minutes ago", or "in 3 minutes". */
export function fromNow(time: string, now: number, language: Language): string {
  const format = kept(
    relative,
    language,
    (locale) => new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: language === "ja" ? "narrow" : "short" }),
  );
  let value = Math.round((Date.parse(time) - now) / 1000);
  for (const [unit, size] of STEPS) {
    if (Math.abs(value) < size) return format.format(value, unit);
    value = Math.round(value / size);
  }
  return "";
}

/** The whole time, to the millisecond, with its zone. */
export function exactTime(time: string, language: Language): string {
  const format = kept(
    exact,
    language,
    (locale) =>
      new Intl.DateTimeFormat(locale, {
        year: "numeric",
        month: "2-digit",
        day: "2-digit",
        hour: "2-digit",
        minute: "2-digit",
        second: "2-digit",
        fractionalSecondDigits: 3,
        timeZoneName: "short",
      }),
  );
  return format.format(Date.parse(time));
}

/** A time without seconds, for times that a person has set. */
export function minuteTime(time: string, language: Language): string {
  return new Intl.DateTimeFormat(LOCALES[language], {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  }).format(Date.parse(time));
}

/** A time without seconds; of another day also the date. */
export function soonTime(time: string, now: number, language: Language): string {
  const sameDay = new Date(time).toDateString() === new Date(now).toDateString();
  if (!sameDay) return minuteTime(time, language);
  return new Intl.DateTimeFormat(LOCALES[language], { hour: "2-digit", minute: "2-digit" }).format(Date.parse(time));
}

export function clock(time: string, language: Language): string {
  const format = kept(
    clocks,
    language,
    (locale) => new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  );
  return format.format(Date.parse(time));
}

/**
 * A period as its first and last day. If both are in one year, the year is written once. `end` is exclusive: midnight of the 1st
 * means the last day of the month before.
 */
export function days(start: string, end: string, language: Language): string {
  const [first, last] = [new Date(start), new Date(Date.parse(end) - 1)];
  const whole = new Intl.DateTimeFormat(LOCALES[language], { year: "numeric", month: "short", day: "numeric" });
  if (language === "en") return whole.formatRange(first, last);
  // The browser writes a Japanese range with slashes only, so the range is put together here.
  const [from, to] = [whole.format(first), whole.format(last)];
  if (from === to) return from;
  const year = `${last.getFullYear()}年`;
  return `${from} 〜 ${from.startsWith(year) ? to.slice(year.length) : to}`;
}

/** A period by its days in few characters: "9/1〜11/30"; with years if it is not all in this year. */
export function shortDays(start: string, end: string, language: Language, today = new Date()): string {
  const [first, last] = [new Date(start), new Date(Date.parse(end) - 1)];
  const thisYear = first.getFullYear() === today.getFullYear() && last.getFullYear() === today.getFullYear();
  const format = new Intl.DateTimeFormat(LOCALES[language], {
    ...(thisYear ? {} : { year: "numeric" }),
    month: language === "ja" ? "numeric" : "short",
    day: "numeric",
  });
  const [from, to] = [format.format(first), format.format(last)];
  if (from === to) return from;
  return language === "ja" ? `${from}〜${to}` : format.formatRange(first, last);
}

const UNITS: Record<Language, { ms: string; s: string; min: string; h: string; d: string }> = {
  ja: { ms: " ミリ秒", s: " 秒", min: " 分", h: " 時間", d: " 日" },
  en: { ms: " ms", s: " s", min: " min", h: " h", d: " d" },
};

/** A span in its two largest units: "1 min 20 s". */
export function span(milliseconds: number, language: Language): string {
  const unit = UNITS[language];
  const whole = Math.max(0, milliseconds);
  if (whole < 1) return `0${unit.ms}`;
  if (whole < 999.5) return `${Math.round(whole)}${unit.ms}`;
  if (whole < 59_950) return `${(whole / 1_000).toFixed(whole < 9_950 ? 1 : 0)}${unit.s}`;
  const seconds = Math.round(whole / 1_000);
  if (seconds < 3_600) return two(Math.floor(seconds / 60), unit.min, seconds % 60, unit.s);
  const minutes = Math.round(seconds / 60);
  if (minutes < 1_440) return two(Math.floor(minutes / 60), unit.h, minutes % 60, unit.min);
  const hours = Math.round(minutes / 60);
  return two(Math.floor(hours / 24), unit.d, hours % 24, unit.h);
}

const UNDER_A_SECOND: Record<Language, string> = { ja: "1秒未満", en: "under 1 s" };

/** A span as office staff read it: without milliseconds. */
export const duration = (milliseconds: number, language: Language): string =>
  milliseconds < 999.5 ? UNDER_A_SECOND[language] : span(milliseconds, language);

/** An estimated span: whole minutes if it is ten minutes or more, else whole seconds. */
export function roughly(milliseconds: number, language: Language): string {
  const seconds = Math.ceil(milliseconds / 1_000);
  if (seconds < 60) return `${seconds}${UNITS[language].s}`;
  return span((seconds < 600 ? seconds : Math.round(seconds / 60) * 60) * 1_000, language);
}

const two = (large: number, largeUnit: string, small: number, smallUnit: string) =>
  small ? `${large}${largeUnit} ${small}${smallUnit}` : `${large}${largeUnit}`;

/** Milliseconds between two times of the service. They have microseconds, which a browser's `Date` drops. */
export function between(from: string, to: string): number {
  return Date.parse(to) - Date.parse(from) + (microseconds(to) - microseconds(from)) / 1_000;
}

const microseconds = (time: string) => Number(/\.\d{3}(\d{3})/.exec(time)?.[1] ?? 0);

const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
export const isUuid = (text: string) => UUID.test(text);

export const isShortId = (text: string) => /^[0-9a-f]{8}$/i.test(text);

/** The last eight digits of an id. UUIDv7s of the same moment differ at their end. */
export const shortId = (id: string) => id.slice(-8);
