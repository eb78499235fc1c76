/** Buttons: cancel, retry, run again, download, verify, force to fail. */

import { type UseMutationResult, useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { downloadHistory, type Job, type JobVerification } from "../../api";
import { useToasts } from "../../frame/toasts";
import { useCancel, useForceFail, useRetry, useRunAgain } from "../../job/actions";
import { isActive, mayCancel, mayRetry } from "../../job/facts";
import { Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icons";
import { Menu } from "../../parts/menu";
import { useDialog } from "../../parts/use-dialog";
import { useSession } from "../../session";
import { useWords } from "../../words/words";

interface ActionsProps {
  job: Job;
  /** The verification of this job, whose result stands below. */
  verifying: UseMutationResult<JobVerification, Error, void>;
}

export function Actions({ job, verifying }: ActionsProps) {
  const words = useWords();
  const { isAdmin, mayChange, readsAll } = useSession();
  const { complain } = useToasts();
  const forcing = useDialog("force-fail");
  const cancel = useCancel();
  const retry = useRetry();
  const again = useRunAgain();
  const download = useMutation({ mutationFn: () => downloadHistory(job.id), onError: complain });
  return (
    <div className="actions">
      {mayChange && mayCancel(job) && (
        <button type="button" className="button" disabled={cancel.isPending} onClick={() => cancel.mutate(job.id)}>
          {cancel.isPending ? words.canceling : words.cancel}
        </button>
      )}
      {mayChange && mayRetry(job) && (
        <button
          type="button"
          className="button button-main"
          disabled={retry.isPending}
          onClick={() => retry.mutate(job.id)}
        >
          {words.retry}
        </button>
      )}
      {mayChange && !isActive(job) && (
        <button type="button" className="button" disabled={again.isPending} onClick={() => again.mutate(job)}>
          {words.runAgain}
        </button>
      )}
      <button
        type="button"
        className="button"
        title={words.downloadHint}
        disabled={download.isPending}
        onClick={() => download.mutate()}
      >
        <Icon name="download" /> {words.download}
      </button>
      {readsAll && (
        <button type="button" className="button" disabled={verifying.isPending} onClick={() => verifying.mutate()}>
          <Icon name="audit" /> {words.verifyJob}
        </button>
      )}
      {isAdmin && job.status === "processing" && (
        <Menu label={words.moreActions} button={<Icon name="more" />}>
          <button type="button" className="menu-item menu-bad" onClick={() => forcing.open()}>
            {words.forceFail}
          </button>
        </Menu>
      )}
      {isAdmin && forcing.isOpen && <ForceFail job={job} onClose={forcing.close} />}
    </div>
  );
}

function ForceFail({ job, onClose }: { job: Job; onClose: () => void }) {
  const words = useWords();
  const forcing = useForceFail();
  const [reason, setReason] = useState("");

  function submit(event: FormEvent) {
    event.preventDefault();
    forcing.mutate({ id: job.id, reason: reason.trim() }, { onSettled: onClose });
  }

  return (
    <Dialog title={words.forceFailTitle} onClose={onClose}>
      <form onSubmit={submit} className="form">
        <p>{words.forceFailText}</p>
        <label className="field">
          {words.reason}
          {words.optional}
          <input value={reason} maxLength={1000} onChange={(event) => setReason(event.target.value)} />
        </label>
        <div className="dialog-buttons">
          <button type="button" className="button" onClick={onClose}>
            {words.abort}
          </button>
          <button type="submit" className="button button-bad" disabled={forcing.isPending}>
            {words.forceFailDo}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
