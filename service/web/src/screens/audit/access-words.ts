/** What the record of access says, in words: the actions, and the job that a record is about. */

import type { Words } from "../../words/words";

/** The stored words of actions, as in the API. */
export const ACTIONS = [
  "read_job",
  "read_jobs",
  "watch_jobs",
  "read_log",
  "read_state",
  "export_job",
  "export_log",
  "verify_log",
  "rebuild_view",
  "pause_type",
  "resume_type",
  "force_fail_job",
  "change_jobs",
  "add_user",
  "change_user",
  "sign_user_out",
  "invite_user",
  "accept_invitation",
  "change_own_password",
  "link_identity",
  "add_company",
  "link_room",
  "unlink_room",
  "switch_room",
  "confirm_room_error",
] as const;

/** An action in words. An action that this version of the page does not know is shown as it is stored. */
export function actionWord(words: Words, action: string): string {
  const key = `action_${action}`;
  return Object.hasOwn(words, key) ? String(words[key as keyof Words]) : action;
}

const JOB = /^job:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\s|$)/;

/** The id of the job that a record is about, or null. */
export const jobIn = (target: string): string | null => JOB.exec(target)?.[1] ?? null;
