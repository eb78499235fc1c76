/** What an admin does with a company itself: rename, archive, restore. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type Company, changeCompany, type Refused } from "../../api";
import { useToasts } from "../../frame/toasts";
import { Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icons";
import { Menu } from "../../parts/menu";
import { Mishap } from "../../parts/states";
import { useDialog } from "../../parts/use-dialog";
import { useWords } from "../../words/words";
import { COMPANIES } from "./companies";

function useChange(company: Company) {
  const queries = useQueryClient();
  return useMutation<Company, Refused, { name?: string; archived?: boolean }>({
    mutationFn: (changes) => changeCompany(company.id, changes),
    onSuccess: (changed) => {
      queries.setQueryData<Company[]>(COMPANIES, (held) => held?.map((one) => (one.id === changed.id ? changed : one)));
      void queries.invalidateQueries({ queryKey: COMPANIES });
    },
  });
}

export function CompanyMenu({ company }: { company: Company }) {
  const words = useWords();
  const { complain } = useToasts();
  const renaming = useDialog("rename");
  const change = useChange(company);
  const archive = (archived: boolean) => change.mutate({ archived }, { onError: complain });
  return (
    <>
      <Menu label={`${company.name}: ${words.moreActions}`} button={<Icon name="more" />}>
        <button type="button" className="menu-item" onClick={() => renaming.open()}>
          {words.rename}
        </button>
        <button type="button" className="menu-item" onClick={() => archive(!company.archivedAt)}>
          {company.archivedAt ? words.restore : words.archive}
        </button>
      </Menu>
      {renaming.isOpen && <Rename company={company} onClose={renaming.close} />}
    </>
  );
}

function Rename({ company, onClose }: { company: Company; onClose: () => void }) {
  const words = useWords();
  const [name, setName] = useState(company.name);
  const change = useChange(company);

  function submit(event: FormEvent) {
    event.preventDefault();
    change.mutate({ name }, { onSuccess: onClose });
  }

  return (
    <Dialog title={words.renameTitle} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <label className="field">
          {words.companyName}
          <input required maxLength={200} value={name} onChange={(event) => setName(event.target.value)} />
        </label>
        {change.error && <Mishap error={change.error} />}
        <div className="dialog-buttons">
          <button type="button" className="button" onClick={onClose}>
            {words.abort}
          </button>
          <button type="submit" className="button button-main" disabled={change.isPending || name.trim() === ""}>
            {words.renameDo}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
