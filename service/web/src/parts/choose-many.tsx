/** A field that chooses several of many things: type to search, arrow keys to move, Enter to choose. */

import { type KeyboardEvent, useId, useMemo, useRef, useState } from "react";
import { useWords } from "../words/words";
import { Icon } from "./icons";

export interface Choice {
  id: string;
  name: string;
  /** More text that a search finds. */
  more?: string;
}

/** More matches are counted and not drawn: a longer search text finds them. */
const MOST_DRAWN = 50;

export function ChooseMany({
  label,
  choices,
  chosen,
  onChoose,
}: {
  label: string;
  choices: Choice[];
  chosen: ReadonlySet<string>;
  onChoose: (chosen: ReadonlySet<string>) => void;
}) {
  const words = useWords();
  const id = useId();
  const [open, setOpen] = useState(false);
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const found = useMemo(() => matching(choices, text), [choices, text]);
  const drawn = found.slice(0, MOST_DRAWN);
  const here = drawn[active];

  function toggle({ id: one }: Choice) {
    const after = new Set(chosen);
    if (!after.delete(one)) after.add(one);
    onChoose(after);
  }

  function move(to: number) {
    setOpen(true);
    const next = Math.min(drawn.length - 1, Math.max(0, to));
    setActive(next);
    list.current?.children[next]?.scrollIntoView({ block: "nearest" });
  }

  function press(event: KeyboardEvent) {
    if (event.key === "ArrowDown") move(open ? active + 1 : active);
    else if (event.key === "ArrowUp") move(active - 1);
    else if (event.key === "Enter" && open && here) toggle(here);
    else if (event.key === "Escape" && open) setOpen(false);
    else return;
    event.preventDefault();
  }

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: nothing is operated here; the list closes when the focus leaves.
    <div
      className="choose-many"
      onBlur={(event) => !event.currentTarget.contains(event.relatedTarget) && setOpen(false)}
    >
      <div className="search">
        <Icon name="search" />
        <input
          type="text"
          role="combobox"
          aria-label={label}
          aria-expanded={open}
          aria-controls={`${id}-list`}
          aria-autocomplete="list"
          {...(open && here ? { "aria-activedescendant": `${id}-${active}` } : {})}
          placeholder={label}
          autoComplete="off"
          spellCheck={false}
          value={text}
          onFocus={() => setOpen(true)}
          onClick={() => setOpen(true)}
          onChange={(event) => {
            setText(event.target.value);
            setActive(0);
            setOpen(true);
          }}
          onKeyDown={press}
        />
      </div>
      <div className="choose-many-list" hidden={!open}>
        <div id={`${id}-list`} role="listbox" aria-label={label} aria-multiselectable="true" ref={list}>
          {drawn.map((choice, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the field has the focus and the keys.
            <div
              key={choice.id}
              id={`${id}-${index}`}
              role="option"
              tabIndex={-1}
              aria-selected={chosen.has(choice.id)}
              className={`choose-many-option${index === active ? " choose-many-here" : ""}`}
              // The field keeps the focus.
              onPointerDown={(event) => event.preventDefault()}
              onClick={() => toggle(choice)}
            >
              <span className="choose-many-tick">{chosen.has(choice.id) && <Icon name="check" size={14} />}</span>
              <span className="clip">{choice.name}</span>
            </div>
          ))}
        </div>
        <p className="choose-many-more faint" role="status">
          {found.length === 0 && words.nothingFound}
          {found.length > MOST_DRAWN && words.moreFound(found.length - MOST_DRAWN)}
        </p>
      </div>
    </div>
  );
}

/** The choices that contain every word of the text, in any order. */
export function matching(choices: Choice[], text: string): Choice[] {
  const wanted = text.normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return choices;
  return choices.filter(({ name, more = "" }) => {
    const whole = `${name} ${more}`.normalize("NFKC").toLowerCase();
    return wanted.every((word) => whole.includes(word));
  });
}
