/** English messages of the service in the reader's language. An unknown message is shown unchanged. */

import { Refused, type Status, Unreachable } from "../api";
import { statusWord } from "../job/naming";
import type { Words } from "../words/words";

type Says = (words: Words, ...found: string[]) => string;

const REFUSALS: [RegExp, Says][] = [
  [/^LIMIT_REQUESTS .* (\d+) seconds\.$/, (words, seconds) => words.requestLimit(Number(seconds))],
  [/^LIMIT_ACTIVE_JOBS .* at most (\d+) jobs/, (words, most) => words.activeLimit(Number(most))],
  [/^LIMIT_PAID_JOBS .* (\d+) seconds\.$/, (words, seconds) => words.paidLimit(Number(seconds))],
  [/another of the chosen jobs does the same/, (words) => words.chosenTwice],
  [/does the same and is active/, (words) => words.otherJobActive],
  [
    /^Cannot \S+ this job: it is (\w+)\.$/,
    (words, status) => words.notPossibleNow(statusWord(words, status as Status)),
  ],
  [/CHATWORK_API_TOKEN is missing/, (words) => words.noToken],
  [/^Only an admin or an auditor may choose whose jobs/, (words) => words.onlyOwnJobs],
  [/^Only an admin( or an auditor)? may/, (words) => words.onlyAdminsMay],
  [/^An auditor may read everything/, (words) => words.auditorsOnlyRead],
  [/comes from another site/, (words) => words.otherSite],
  [/is still being answered/, (words) => words.stillAnswered],
  [/no such job type/, (words) => words.typeGone],
  [/does not fit this job type any more/, (words) => words.payloadOutdated],
  [/no such company/, (words) => words.companyGone],
  [/no such room/, (words) => words.roomGone],
  [/is not linked to this company/, (words) => words.notLinked],
  [/^This job has no event (\d+) yet/, (words, seq) => words.noSuchMoment(Number(seq))],
  [/^There is no proof yet/, (words) => words.noProofYet],
  [/^The log is damaged/, (words) => words.logDamaged],
  [/^This job has a broken history: (\w+)/, (words, name) => words.brokenHistory(findingMeaning(words, name))],
];

/** The errors of fields, written as `path: detail`. */
const FIELDS: [RegExp, Says][] = [
  [/^name: belongs to another company/, (words) => words.nameTaken],
  [/^name: /, (words) => words.nameNotValid],
  [/^periodEnd: must be later/, (words) => words.badPeriod],
  [/^period(Start|End): /, (words) => words.dayNotValid],
  [/^until: must be a time in the future/, (words) => words.untilOver],
  [/^jobId: must be a UUID/, (words) => words.jobIdInvalid],
  [/^type: must be one of/, (words) => words.unknownValue(words.type)],
  [/^userId: must be a UUID/, (words) => words.unknownValue(words.owner)],
  [/^created(After|Before): /, (words) => words.unknownValue(words.time)],
];

const ERRORS: [RegExp, Says][] = [
  [/^\w+: Chatwork API error: 401$/, (words) => words.means401],
  [/^\w+: Chatwork API error: 403$/, (words) => words.means403],
  [/^\w+: Chatwork API error: 404$/, (words) => words.means404],
  [/^\w+: Chatwork API error: 5\d\d$/, (words) => words.means5xx],
  [/: no answer from Chatwork/, (words) => words.meansNoAnswer],
  [/: Chatwork's answer holds what cannot be read/, (words) => words.meansUnreadableItems],
  [/: Chatwork's answer /, (words) => words.meansUnreadable],
  [/^UnknownRoom: /, (words) => words.meansUnknownRoom],
  [/^NoToken: /, (words) => words.meansNoToken],
  [/^WorkerLost: /, (words) => words.meansWorkerLost],
  [/^Timeout: /, (words) => words.meansTimeout],
  [/^ForceFailed: /, (words) => words.meansForceFailed],
  [/^ModelFailed: /, (words) => words.meansModelFailed],
  [/^AnswerCutOff: /, (words) => words.meansAnswerCutOff],
  [/^AnswerWithheld: /, (words) => words.meansAnswerWithheld],
  [/^OnlyReasoning: /, (words) => words.meansOnlyReasoning],
  [/^ModelRefused: .*OPENAI_MODEL/, (words) => words.meansUnknownModel],
  [/^ModelRefused: .*OPENAI_API_KEY/, (words) => words.meansModelKey],
  [/^ModelRefused: .*(quota|billing|balance|credit|payment)/, (words) => words.meansModelUnpaid],
  [/^ModelRefused: the language model refused/, (words) => words.meansModelWouldNot],
  [/^ModelRefused: /, (words) => words.meansModelRefused],
  [/^UnknownCompany: /, (words) => words.meansCompanyGone],
];

/** These statuses mean something else for one room than for the list of rooms, whose refusal fails a job. */
const ROOM_ERRORS: [RegExp, Says][] = [
  [/^Chatwork API error: 403$/, (words) => words.means403OfRoom],
  [/^Chatwork API error: 404$/, (words) => words.means404OfRoom],
];

const DIFFERENCES: [RegExp, Says][] = [
  [
    /^(\S+): (\w+) is (.+) in the view and (.+) by the log$/,
    (words, job, field, view, log) => words.differsInField(job, field, view, log),
  ],
  [/^(\S+): is in the view and not in the log$/, (words, job) => words.onlyInView(job)],
  [/^(\S+): is in the log and not in the view$/, (words, job) => words.onlyInLog(job)],
];

function said(table: [RegExp, Says][], words: Words, text: string): string | null {
  for (const [pattern, says] of table) {
    const found = pattern.exec(text);
    if (found) return says(words, ...found.slice(1));
  }
  return null;
}

/** The reason of a refusal in the reader's language, from the service's sentence. */
export const refusalText = (words: Words, detail: string): string =>
  said(REFUSALS, words, detail) ?? words.refused(detail);

/** Any error of a request in the reader's language. */
export function problemText(words: Words, error: unknown): string {
  if (error instanceof Unreachable) return words.noAnswer;
  if (!(error instanceof Refused)) return words.serverError;
  if (error.status === 503) return said(REFUSALS, words, error.detail) ?? words.databaseAway;
  if (error.status >= 500) return words.serverError;
  const known = said(REFUSALS, words, error.detail);
  if (known) return known;
  if (error.status === 429) return words.tooManyRequests;
  if (error.status === 403) return words.onlyAdminsMay;
  if (error.status === 404) return words.notFoundTitle;
  return error.errors.length ? fieldsText(words, error.errors) : words.refused(error.detail);
}

function fieldsText(words: Words, errors: Refused["errors"]): string {
  const texts = errors.map(({ path, detail }) => said(FIELDS, words, `${path}: ${detail}`));
  const known = texts.filter((text) => text !== null);
  if (known.length === errors.length) return [...new Set(known)].join(" ");
  return words.notValid(errors.map(({ path, detail }) => `${path}: ${detail}`).join("; "));
}

/** The meaning of a job's error, or null if unknown. It stands beside the error's own message. */
export const errorMeaning = (words: Words, { name, message }: { name: string; message: string }): string | null =>
  said(ERRORS, words, `${name}: ${message}`);

/** The meaning of the error of one room; "" if unknown. */
export const roomErrorMeaning = (words: Words, message: string): string =>
  said(ROOM_ERRORS, words, message) ?? errorMeaning(words, { name: "Refused", message }) ?? "";

/** A difference that the verification of the log found. */
export const differenceText = (words: Words, difference: string): string =>
  said(DIFFERENCES, words, difference) ?? difference;

/** What a finding means for an auditor, in a sentence or two. */
export function findingExplained(words: Words, name: string): string {
  const key = `explain${name}`;
  return Object.hasOwn(words, key) ? String(words[key as keyof Words]) : words.explainUnknown;
}

/** The meaning of the name of a finding. */
export function findingMeaning(words: Words, name: string): string {
  const key = `finding${name}`;
  return Object.hasOwn(words, key) ? String(words[key as keyof Words]) : words.findingUnknown;
}
