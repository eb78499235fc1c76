import { useEffect, useRef } from "react";

interface CheckProps {
  label: string;
  checked: boolean;
  /** Some, but not all, of its items are chosen. */
  some?: boolean;
  onChange: (on: boolean) => void;
}

export function Check({ label, checked, some = false, onChange }: CheckProps) {
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (box.current) box.current.indeterminate = some;
  }, [some]);
  return (
    <label className="check">
      <input
        ref={box}
        type="checkbox"
        aria-label={label}
        checked={checked}
        onChange={(event) => onChange(event.target.checked)}
      />
    </label>
  );
}

export function Switch({ label, checked, onChange }: Omit<CheckProps, "some">) {
  return (
    <label className="switch">
      <input
        type="checkbox"
        // biome-ignore lint/a11y/useAriaPropsForRole: the browser takes the state of a checkbox from `checked`.
        role="switch"
        aria-label={label}
        checked={checked}
        onChange={(event) => onChange(event.target.checked)}
      />
      <span aria-hidden="true" />
    </label>
  );
}
