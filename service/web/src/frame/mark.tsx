/** The mark of Rireki. */

export function Mark() {
  return (
    <svg className="mark" width="26" height="26" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" />
      <path d="M10 7v18M17 9h8M17 16h5M17 23h8" />
      <circle cx="10" cy="9" r="3" />
      <circle className="open" cx="10" cy="16" r="3" />
      <circle cx="10" cy="23" r="3" />
    </svg>
  );
}
