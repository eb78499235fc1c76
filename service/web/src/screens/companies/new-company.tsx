/** The dialog that adds a company. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type Company, createCompany, Refused } from "../../api";
import { Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icons";
import { Mishap } from "../../parts/states";
import { go } from "../../route";
import { useWords } from "../../words/words";
import { COMPANIES } from "./companies";

export function NewCompany({ onClose }: { onClose: () => void }) {
  const words = useWords();
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const creating = useMutation({
    mutationFn: () => createCompany(name),
    onSuccess: (company) => {
      void queries.invalidateQueries({ queryKey: COMPANIES });
      queries.setQueryData<Company[]>(COMPANIES, (held) => held && [...held, company].sort(byName));
      // In place of the dialog, so that Back leads to the screen before it.
      go(`/companies/${company.id}`, { replace: true });
    },
  });

  function submit(event: FormEvent) {
    event.preventDefault();
    creating.mutate();
  }

  return (
    <Dialog title={words.newCompany} onClose={onClose}>
      <form onSubmit={submit} className="form">
        <label className="field">
          {words.companyName}
          <input required maxLength={200} value={name} onChange={(event) => setName(event.target.value)} />
        </label>
        {creating.error &&
          (creating.error instanceof Refused && creating.error.status === 409 ? (
            <p className="mishap" role="alert">
              <Icon name="warn" /> {words.nameTaken}
            </p>
          ) : (
            <Mishap error={creating.error} />
          ))}
        <div className="dialog-buttons">
          <button type="button" className="button" onClick={onClose}>
            {words.abort}
          </button>
          <button type="submit" className="button button-main" disabled={creating.isPending || name.trim() === ""}>
            {words.create}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

const byName = (one: Company, other: Company) => one.name.localeCompare(other.name);
