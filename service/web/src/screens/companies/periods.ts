/** Periods of whole days, in the reader's time zone. The last day is included; the service gets the midnight after it. */

export interface Days {
  /** As in a date field: 2026-11-24. */
  from: string;
  to: string;
}

export const PERIODS = ["thisWeek", "lastWeek", "thisMonth", "lastMonth", "last30d", "last90d", "last365d"] as const;
export type PeriodName = (typeof PERIODS)[number];

export function daysOf(name: PeriodName, today: Date): Days {
  const [year, month, day] = [today.getFullYear(), today.getMonth(), today.getDate()];
  // A week begins on Monday.
  const monday = day - ((today.getDay() + 6) % 7);
  const days = (from: Date, to: Date = today) => ({ from: asDay(from), to: asDay(to) });
  switch (name) {
    case "thisWeek":
      return days(new Date(year, month, monday));
    case "lastWeek":
      return days(new Date(year, month, monday - 7), new Date(year, month, monday - 1));
    case "thisMonth":
      return days(new Date(year, month, 1));
    case "lastMonth":
      return days(new Date(year, month - 1, 1), new Date(year, month, 0));
    case "last30d":
      return days(new Date(year, month, day - 29));
    case "last90d":
      return days(new Date(year, month, day - 89));
    case "last365d":
      return days(new Date(year, month, day - 364));
  }
}

const two = (value: number) => String(value).padStart(2, "0");
const asDay = (date: Date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;

/** The period as the service takes it; null if a day is missing or the last one is before the first. */
export function instantsOf({ from, to }: Days): { periodStart: string; periodEnd: string } | null {
  const start = midnight(from, 0);
  const end = midnight(to, 1);
  if (!start || !end || end <= start) return null;
  return { periodStart: start.toISOString(), periodEnd: end.toISOString() };
}

function midnight(day: string, later: number): Date | null {
  const [, year, month, date] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(day) ?? [];
  return year ? new Date(Number(year), Number(month) - 1, Number(date) + later) : null;
}
