/** Small drawings. They say nothing by themselves: a word always stands beside them, or on them as a name. */

import type { ReactNode } from "react";

const DRAWN = {
  chatwork: (
    <path d="M3 4.5A1.5 1.5 0 0 1 4.5 3h7A1.5 1.5 0 0 1 13 4.5v5a1.5 1.5 0 0 1-1.5 1.5H8l-3 2.5V11h-.5A1.5 1.5 0 0 1 3 9.5z" />
  ),
  jobs: <path d="M3 4h1.5M7 4h6M3 8h1.5M7 8h6M3 12h1.5M7 12h6" />,
  companies: (
    <path d="M3 13.5V3.5A.5.5 0 0 1 3.5 3h5a.5.5 0 0 1 .5.5v10M9 7h3.5a.5.5 0 0 1 .5.5v6M1.8 13.5h12.4M5 6h2M5 8.5h2M5 11h2" />
  ),
  audit: <path d="M8 1.8 13 3.7v4c0 3-2 5.3-5 6.5-3-1.2-5-3.5-5-6.5v-4zM5.8 8l1.6 1.6 3-3.2" />,
  search: <path d="m10.5 10.5 3.2 3.2M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9z" />,
  close: <path d="m4 4 8 8M12 4l-8 8" />,
  copy: (
    <path d="M6 5.5V4a1 1 0 0 1 1-1h5a1 1 0 0 1 1 1v5a1 1 0 0 1-1 1h-1.5M4 6h5.5a.5.5 0 0 1 .5.5V12a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1z" />
  ),
  check: <path d="m3.5 8.5 3 3 6-7" />,
  link: <path d="M6.5 9.5 9.5 6.5M7 5l1.5-1.5a2.8 2.8 0 0 1 4 4L11 9M9 11l-1.5 1.5a2.8 2.8 0 0 1-4-4L5 7" />,
  download: <path d="M8 2.5v7.5M5 7.2 8 10.2l3-3M3 13h10" />,
  sync: <path d="M13 3v3.5H9.5M3 13V9.5h3.5M12.7 6.5A5 5 0 0 0 4 4.8L3 6M3.3 9.5A5 5 0 0 0 12 11.2l1-1.2" />,
  first: <path d="M4 3.5v9M12 3.5 6.5 8l5.5 4.5z" />,
  previous: <path d="M10.5 3.5 5.5 8l5 4.5" />,
  next: <path d="M5.5 3.5 10.5 8l-5 4.5" />,
  last: <path d="M12 3.5v9M4 3.5 9.5 8 4 12.5z" />,
  play: <path d="M5 3.2v9.6L12.5 8z" />,
  stop: <path d="M4.5 4.5h7v7h-7z" />,
  pause: <path d="M5.5 3.5v9M10.5 3.5v9" />,
  up: <path d="M8 13V3.5M4 7l4-4 4 4" />,
  down: <path d="m4 6 4 4 4-4" />,
  more: <path d="M3.5 8h.01M8 8h.01M12.5 8h.01" strokeWidth="2.4" />,
  plus: <path d="M8 3v10M3 8h10" />,
  warn: <path d="M8 2.5 14.5 13.5h-13zM8 6.5v3.2M8 11.6v.01" />,
  info: <path d="M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 7.3v3.5M8 5v.01" />,
  person: <path d="M8 8a2.7 2.7 0 1 0 0-5.4A2.7 2.7 0 0 0 8 8zM3 13.5c.5-2.5 2.5-3.7 5-3.7s4.5 1.2 5 3.7" />,
  light: (
    <path d="M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6zM8 1.5V3M8 13v1.5M1.5 8H3M13 8h1.5M3.4 3.4l1 1M11.6 11.6l1 1M12.6 3.4l-1 1M4.4 11.6l-1 1" />
  ),
  dark: <path d="M13.2 9.5A5.6 5.6 0 0 1 6.5 2.8a5.6 5.6 0 1 0 6.7 6.7z" />,
  auto: (
    <>
      <path d="M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12z" />
      <path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor" />
    </>
  ),
  globe: (
    <path d="M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM2 8h12M8 2c2 1.8 2.6 3.8 2.6 6S10 12.2 8 14C6 12.2 5.4 10.2 5.4 8S6 3.8 8 2z" />
  ),
  worker: (
    <path d="M3 4.5A1.5 1.5 0 0 1 4.5 3h7A1.5 1.5 0 0 1 13 4.5v2A1.5 1.5 0 0 1 11.5 8h-7A1.5 1.5 0 0 1 3 6.5zM4.5 8h7A1.5 1.5 0 0 1 13 9.5v2a1.5 1.5 0 0 1-1.5 1.5h-7A1.5 1.5 0 0 1 3 11.5v-2A1.5 1.5 0 0 1 4.5 8zM5.5 5.5h.01M5.5 10.5h.01" />
  ),
  document: (
    <path d="M4 2.5h5L12.5 6v7a.5.5 0 0 1-.5.5H4a.5.5 0 0 1-.5-.5V3a.5.5 0 0 1 .5-.5zM9 2.5V6h3.5M6 8.5h4M6 11h4" />
  ),
  // What may happen to a job; each has a shape of its own, for who does not see colours.
  queued: <circle cx="8" cy="8" r="5" strokeDasharray="2.6 2.6" />,
  processing: (
    <>
      <circle cx="8" cy="8" r="5" opacity=".35" />
      <path d="M8 3a5 5 0 0 1 5 5" />
    </>
  ),
  completed: (
    <>
      <circle cx="8" cy="8" r="6" fill="currentColor" />
      <path d="m5.2 8.3 2 2 3.6-4.4" className="cut" />
    </>
  ),
  failed: (
    <>
      <path d="M8 1.5 14.5 8 8 14.5 1.5 8z" fill="currentColor" />
      <path d="M8 5v3.5M8 10.7v.01" className="cut" />
    </>
  ),
  canceled: (
    <>
      <circle cx="8" cy="8" r="5.5" />
      <path d="m4.2 11.8 7.6-7.6" />
    </>
  ),
  started: <path d="M5.5 3.5v9L12 8z" fill="currentColor" />,
  progress: <circle cx="8" cy="8" r="2.6" fill="currentColor" />,
} satisfies Record<string, ReactNode>;

export type IconName = keyof typeof DRAWN;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      className={`icon icon-${name}`}
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {DRAWN[name]}
    </svg>
  );
}
