/** The dialog that deletes a draft. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { type Draft, deleteDraft } from "../../api";
import { Dialog } from "../../parts/dialog";
import { Mishap } from "../../parts/states";
import { useWords } from "../../words/words";
import { draftsOf } from "./draft-form";
import { periodText } from "./drafts";

export function DeleteDraft({ draft, onClose }: { draft: Draft; onClose: () => void }) {
  const words = useWords();
  const queries = useQueryClient();
  const deleting = useMutation({
    mutationFn: () => deleteDraft(draft.companyId, draft.id),
    onSuccess: () => {
      queries.setQueryData<Draft[]>(draftsOf(draft.companyId), (held) => held?.filter(({ id }) => id !== draft.id));
      onClose();
    },
  });

  function submit(event: FormEvent) {
    event.preventDefault();
    deleting.mutate();
  }

  return (
    <Dialog title={words.deleteDraft} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <p className="dialog-main">{periodText(words, draft)}</p>
        <p>{words.deleteDraftText}</p>
        {deleting.error && <Mishap error={deleting.error} />}
        <div className="dialog-buttons">
          <button type="button" className="button" onClick={onClose}>
            {words.abort}
          </button>
          <button type="submit" className="button button-bad" disabled={deleting.isPending}>
            {words.deleteDo}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
