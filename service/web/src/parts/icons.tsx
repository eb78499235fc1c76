/** Icons. A word always stands beside an icon, or names the button that it is on. */

import {
  ArrowUp,
  Building2,
  Check,
  ChevronDown,
  ChevronLeft,
  ChevronRight,
  Contrast,
  Copy,
  Download,
  Ellipsis,
  FileText,
  Info,
  Link,
  List,
  type LucideIcon,
  MessageSquare,
  Moon,
  Pause,
  Play,
  Plus,
  RefreshCw,
  Search,
  Server,
  ShieldCheck,
  SkipBack,
  SkipForward,
  Square,
  Sun,
  TriangleAlert,
  Users,
  X,
} from "lucide-react";
import type { ReactNode } from "react";

const GENERAL = {
  chatwork: MessageSquare,
  jobs: List,
  companies: Building2,
  audit: ShieldCheck,
  search: Search,
  close: X,
  copy: Copy,
  check: Check,
  link: Link,
  download: Download,
  sync: RefreshCw,
  first: SkipBack,
  previous: ChevronLeft,
  next: ChevronRight,
  last: SkipForward,
  play: Play,
  stop: Square,
  pause: Pause,
  up: ArrowUp,
  down: ChevronDown,
  more: Ellipsis,
  plus: Plus,
  warn: TriangleAlert,
  info: Info,
  light: Sun,
  dark: Moon,
  auto: Contrast,
  worker: Server,
  document: FileText,
  people: Users,
} satisfies Record<string, LucideIcon>;

// Our own drawings, because each status and event needs a shape of its own: some readers cannot tell the colours apart.
const OF_A_JOB = {
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

type General = keyof typeof GENERAL;
type OfAJob = keyof typeof OF_A_JOB;
export type IconName = General | OfAJob;

const isGeneral = (name: IconName): name is General => name in GENERAL;

/** `size` is in pixels. */
export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  if (isGeneral(name)) {
    const General = GENERAL[name];
    // The icons are drawn on a grid of 24 units, so this stroke is 1.5 pixels wide at a size of 16 pixels.
    return <General className={`icon icon-${name}`} size={size} strokeWidth={2.25} focusable="false" />;
  }
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
      {OF_A_JOB[name]}
    </svg>
  );
}
