/** All requests to the service. No other file fetches. */

import type { components } from "./api-types";

type Schemas = components["schemas"];

export type Job = Schemas["DescribedJobDocument"];
export type Status = Job["status"];
export type JobEvent = Schemas["EventDocument"];
export type EventType = JobEvent["type"];
export type JobsPage = Schemas["JobsPage"];
export type Room = Schemas["RoomDocument"];
export type Gap = Schemas["GapDocument"];
export type Company = Schemas["CompanyDocument"];
export type LinkedRoom = Schemas["LinkedRoomDocument"];
export type Draft = Schemas["DraftDocument"];
export type Source = Schemas["SourceDocument"];
export type Message = Schemas["MessageDocument"];
export type User = Schemas["UserDocument"];
export type Queued = Schemas["Queued"];

export interface JobFilter {
  type?: string | undefined;
  status?: Status | undefined;
  userId?: string | undefined;
  createdAfter?: string | undefined;
  createdBefore?: string | undefined;
}

/** One change on the stream of all jobs. */
export interface Change {
  jobId: string;
  seq: number;
  attempt: number;
  status: Status;
  type: string;
  userId: string | null;
}

// Refusals --------------------------------------------------------------------------------------------------------------------

/** The service refused the request, with a reason (RFC 9457). */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly errors: { path: string; detail: string }[] = [],
    readonly requestId: string | null = null,
    readonly retryAfter: number | null = null,
  ) {
    super(detail);
    this.name = "Refused";
  }
}

/** The service did not answer. */
export class Unreachable extends Error {
  constructor(options?: ErrorOptions) {
    super("the service did not answer", options);
    this.name = "Unreachable";
  }
}

let quietUntil = 0;

/** Milliseconds until the service accepts requests of this user again (`LIMIT_REQUESTS`); 0 if it accepts them now. */
export const refusedFor = () => Math.max(0, quietUntil - Date.now());

let signedOut: () => void = () => {};

/** Calls `then` when the service answers that nobody is signed in. */
export function onSignedOut(then: () => void) {
  signedOut = then;
}

// One call --------------------------------------------------------------------------------------------------------------------

type Query = Record<string, string | number | boolean | null | undefined>;

interface Options {
  query?: Query;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

const LONGEST_WAIT = 30_000;

function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

let ahead = 0;
const SMALL = 2_000;

/** The service's time in milliseconds. All times of jobs follow its clock, and a computer in an office may be minutes off. */
export const serverNow = () => Date.now() + ahead;

/** Differences under two seconds are ignored: a `Date` header has whole seconds, and an answer takes time. */
function compareClocks(response: Response) {
  const difference = Date.parse(response.headers.get("date") ?? "") - Date.now();
  if (!Number.isNaN(difference)) ahead = Math.abs(difference) > SMALL ? difference : 0;
}

async function send(method: string, path: string, { query, body, headers, signal }: Options): Promise<Response> {
  const wait = AbortSignal.timeout(LONGEST_WAIT);
  try {
    const response = await fetch(address(path, query), {
      method,
      headers: { Accept: "application/json", ...(body === undefined ? {} : JSON_BODY), ...headers },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, wait]) : wait,
    });
    compareClocks(response);
    return response;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable({ cause: error });
  }
}

const JSON_BODY = { "Content-Type": "application/json" };

async function refusal(response: Response): Promise<Refused> {
  const requestId = response.headers.get("x-request-id");
  const retryAfter = Number(response.headers.get("retry-after")) || null;
  try {
    const { detail, errors } = (await response.json()) as Schemas["ProblemDocument"];
    if (response.status === 429 && detail.startsWith("LIMIT_REQUESTS"))
      quietUntil = Date.now() + (retryAfter ?? 1) * 1000;
    return new Refused(response.status, detail, errors ?? [], requestId, retryAfter);
  } catch {
    return new Refused(response.status, response.statusText, [], requestId, retryAfter);
  }
}

async function call<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await send(method, path, options);
  if (!response.ok) {
    if (response.status === 401 && path !== LOGIN) signedOut();
    throw await refusal(response);
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
}

const get = <T>(path: string, query?: Query, signal?: AbortSignal) =>
  call<T>("GET", path, { ...(query && { query }), signal });
const post = <T>(path: string, body: unknown = {}, query?: Query) =>
  call<T>("POST", path, { body, ...(query && { query }) });

/** Posts with an idempotency key, so a request that the browser sends twice queues one job. */
const queue = <T = Queued>(path: string, body: unknown = {}, query?: Query) =>
  call<T>("POST", path, { body, ...(query && { query }), headers: { "Idempotency-Key": crypto.randomUUID() } });

/** The last day of the model that writes summaries, if it is near; else null. */
export const modelShutdown = async (signal?: AbortSignal) =>
  (await get<Schemas["Ready"]>("/readyz", {}, signal)).modelShutdown ?? null;

/** Whether the service is ready. */
export const isReady = async (): Promise<boolean> => {
  try {
    return (await send("GET", "/readyz", {})).ok;
  } catch {
    return false;
  }
};

// Session and users -------------------------------------------------------------------------------------------------------------

const LOGIN = "/api/auth/login";

export const me = async (): Promise<User | null> => {
  try {
    return (await get<Schemas["Me"]>("/api/auth/me")).user;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return null;
    throw error;
  }
};
export const signIn = async (email: string, password: string) =>
  (await post<Schemas["SignedIn"]>(LOGIN, { email, password })).user;
export const signInMethods = (signal?: AbortSignal) => get<Schemas["Methods"]>("/api/auth/methods", {}, signal);
/** The address that leads to the identity provider, and back to `to`. */
export const providerAddress = (to: string) => `/api/auth/oidc/start?${new URLSearchParams({ to })}`;
export const acceptInvitation = (token: string, password: string) =>
  post<void>("/api/auth/invitation", { token, password });
export const signOut = () => post<void>("/api/auth/logout");
export const listUsers = async (signal?: AbortSignal) => (await get<{ users: User[] }>("/api/users", {}, signal)).users;

// Jobs ------------------------------------------------------------------------------------------------------------------------

const job = (id: string) => `/api/jobs/${encodeURIComponent(id)}`;

export type Counts = Schemas["Counts"];
export type Waiting = Schemas["WaitingDocument"];
export type BulkAction = Schemas["Bulk"]["action"];
export type BulkAnswer = Schemas["BulkDone"];

export const MOST_IDS = 100;

export const listJobs = (filter: JobFilter, page: { limit: number; cursor?: string | null }, signal?: AbortSignal) =>
  get<JobsPage>("/api/jobs", { ...filter, ...page }, signal);

/** At most `MOST_IDS` ids. Leaves out jobs that do not exist or that the user may not see. */
export const jobsByIds = async (ids: string[], signal?: AbortSignal) =>
  (await get<JobsPage>("/api/jobs", { ids: ids.join(",") }, signal)).jobs;
/** The jobs whose ids end in these eight digits, newest first. */
export const jobsByShortId = async (shortId: string, signal?: AbortSignal) =>
  (await get<JobsPage>("/api/jobs", { shortId }, signal)).jobs;
export const countJobs = (filter: Omit<JobFilter, "status">, signal?: AbortSignal) =>
  get<Counts>("/api/jobs/counts", { ...filter }, signal);
export const getJob = async (id: string, signal?: AbortSignal) => (await get<{ job: Job }>(job(id), {}, signal)).job;

/** The job as it was after its event number `seq`. Never changes. */
export const getJobAfter = async (id: string, seq: number, signal?: AbortSignal) =>
  (await get<{ job: Job }>(job(id), { seq }, signal)).job;
export const jobEvents = async (id: string, signal?: AbortSignal) =>
  (await get<{ events: JobEvent[] }>(`${job(id)}/events`, {}, signal)).events;
export const whyWaiting = async (id: string, signal?: AbortSignal) =>
  (await get<{ waiting: Waiting | null }>(`${job(id)}/waiting`, {}, signal)).waiting;
export const cancelJob = async (id: string) => (await post<{ job: Job }>(`${job(id)}/cancel`)).job;
export const retryJob = async (id: string) => (await queue<{ job: Job }>(`${job(id)}/retry`)).job;
export const runAgain = (id: string) => queue(`${job(id)}/again`);
export const forceFail = async (id: string, reason: string) =>
  (await post<{ job: Job }>(`${job(id)}/force-fail`, reason ? { reason } : {})).job;
export const bulk = (action: BulkAction, chosen: { ids: string[] } | { filter: JobFilter }, dryRun: boolean) =>
  post<BulkAnswer>("/api/jobs/bulk", { action, ...chosen, dryRun });

/** Saves the history as an NDJSON file. */
export async function downloadHistory(id: string): Promise<void> {
  const response = await send("GET", `${job(id)}/events`, { headers: { Accept: "application/x-ndjson" } });
  if (!response.ok) throw await refusal(response);
  save(await response.blob(), `${id}.ndjson`);
}

/** Saves the proof that the newest signed checkpoint covers an event, as a file (C2SP tlog-proof). */
export async function downloadProof(id: string, seq: number): Promise<void> {
  const response = await send("GET", `/api/audit/proof/${encodeURIComponent(id)}/${seq}`, {
    headers: { Accept: "text/plain" },
  });
  if (!response.ok) throw await refusal(response);
  save(await response.blob(), `${id}-${seq}.tlog-proof`);
}

function save(file: Blob, name: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Chatwork --------------------------------------------------------------------------------------------------------------------

export const syncRooms = () => queue("/api/chatwork/rooms/sync");
export const syncMessages = (chosen: { roomId?: string; roomLimit?: number } = {}) =>
  queue("/api/chatwork/messages/sync", {}, chosen);
export type Budget = Schemas["BudgetDocument"];
export const chatworkBudget = async (signal?: AbortSignal) =>
  (await get<{ budget: Budget | null }>("/api/chatwork/budget", {}, signal)).budget;
export const listRooms = async (signal?: AbortSignal) =>
  (await get<{ rooms: Room[] }>("/api/chatwork/rooms", {}, signal)).rooms;
export const setRoomActive = async (id: string, isActive: boolean) =>
  (await call<{ room: Room }>("PATCH", `/api/chatwork/rooms/${id}`, { body: { isActive } })).room;

/** Confirms that a person has seen the error of a room. An error newer than `lastErrorAt` stays. */
export const errorSeen = async (id: string, lastErrorAt: string) =>
  (await post<{ room: Room }>(`/api/chatwork/rooms/${id}/error/seen`, { lastErrorAt })).room;
export const roomMessages = (id: string, cursor: string | null, signal?: AbortSignal) =>
  get<Schemas["MessagesPage"]>(`/api/chatwork/rooms/${id}/messages`, { limit: 50, cursor }, signal);

// Companies -------------------------------------------------------------------------------------------------------------------

export const listCompanies = async (signal?: AbortSignal) =>
  (await get<{ companies: Company[] }>("/api/companies", {}, signal)).companies;
export const createCompany = async (name: string) =>
  (await post<{ company: Company }>("/api/companies", { name })).company;
export const changeCompany = async (id: string, changes: { name?: string; archived?: boolean }) =>
  (await call<{ company: Company }>("PATCH", `/api/companies/${id}`, { body: changes })).company;
export const linkedRooms = async (id: string, signal?: AbortSignal) =>
  (await get<{ rooms: LinkedRoom[] }>(`/api/companies/${id}/chatwork-rooms`, {}, signal)).rooms;
export const linkRoom = (id: string, roomId: string) => post(`/api/companies/${id}/chatwork-rooms`, { roomId });
export const unlinkRoom = (id: string, roomId: string) =>
  call<void>("DELETE", `/api/companies/${id}/chatwork-rooms/${roomId}`);
export const listDrafts = async (id: string, signal?: AbortSignal) =>
  (await get<{ drafts: Draft[] }>(`/api/companies/${id}/summaries/drafts`, {}, signal)).drafts;
export const deleteDraft = (id: string, draftId: string) =>
  call<void>("DELETE", `/api/companies/${id}/summaries/drafts/${draftId}`);
export const draftSources = async (id: string, draftId: string, signal?: AbortSignal) =>
  (await get<{ sources: Source[] }>(`/api/companies/${id}/summaries/drafts/${draftId}/sources`, {}, signal)).sources;
export const draftSummary = (id: string, period: { periodStart: string; periodEnd: string }) =>
  queue<Queued | { cached: true; draft: Draft }>(`/api/companies/${id}/summaries/draft`, period);

// Audit and operations --------------------------------------------------------------------------------------------------------

export interface LogFilter {
  actor?: string | undefined;
  type?: EventType | undefined;
  jobId?: string | undefined;
}

/** A service of the version before sends no `covers`, and compares nothing with checkpoints. */
export type Verification = Schemas["VerificationDocument"] & { covers?: Covers | null };

interface Covers {
  size: number;
  root: string;
  /** The copy outside the database that holds this checkpoint. */
  against: string | null;
}

export type Finding = Schemas["FindingDocument"];
export type JobType = Schemas["JobTypeDocument"];
export type Worker = Schemas["WorkerDocument"];
export type LogPage = Schemas["Log"];

/** The oldest events after this position. `searched` says how far the search went; rare events take several calls. */
export const logAfter = (filter: LogFilter, after: number, limit: number, signal?: AbortSignal) =>
  get<LogPage>("/api/events", { ...filter, after, limit }, signal);

/** The newest events up to this position, or of the whole log if `until` is null. */
export const logUntil = (filter: LogFilter, until: number | null, limit: number, signal?: AbortSignal) =>
  get<LogPage>("/api/events", { ...filter, latest: true, until, limit }, signal);
export const lastVerification = async (signal?: AbortSignal) =>
  (await get<{ verification: Verification | null }>("/api/audit/verify", {}, signal)).verification;
export const verify = async () => (await post<{ verification: Verification }>("/api/audit/verify")).verification;
/** A service of the version before sends no `leaves`. */
export type JobVerification = Schemas["HistoryVerification"] & { leaves?: Leaf[] };

/** The hash of an event, and whether it is the one that the newest trusted checkpoint covers; null if none covers it. */
export interface Leaf {
  seq: number;
  position: number | null;
  leaf: string;
  included: boolean | null;
}

export type Coverage = Schemas["HistoryCoverage"];

export const verifyJob = async (id: string) =>
  (await post<{ verification: JobVerification }>(`/api/audit/verify/${encodeURIComponent(id)}`)).verification;

export type LogState = Schemas["LogDocument"];

/** The newest signed checkpoint, its copy outside, and whether signing goes on. */
export const logState = (signal?: AbortSignal) => get<LogState>("/api/audit/log", {}, signal);

export type AccessPage = Schemas["AccessPage"];
export type AccessRecord = Schemas["AccessDocument"];

export interface AccessFilter {
  actor?: string | undefined;
  action?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
}

export const listAccess = (filter: AccessFilter, cursor: string | null, signal?: AbortSignal) =>
  get<AccessPage>("/api/audit/access", { ...filter, limit: 50, cursor }, signal);
export const listJobTypes = async (signal?: AbortSignal) =>
  (await get<{ jobTypes: JobType[] }>("/api/job-types", {}, signal)).jobTypes;
export const pauseType = (name: string, body: { until?: string; reason?: string }) =>
  post<{ jobType: JobType }>(`/api/job-types/${name}/pause`, body);
export const resumeType = (name: string) => post<{ jobType: JobType }>(`/api/job-types/${name}/resume`);
export const listWorkers = async (signal?: AbortSignal) =>
  (await get<{ workers: Worker[] }>("/api/workers", {}, signal)).workers;

// Streams ---------------------------------------------------------------------------------------------------------------------

/**
 * Opens the stream of one job's events, or of the changes of all jobs that the user may see. With `lastId` it begins after that id.
 * Returns null if nothing is left to come.
 *
 * Uses `fetch`, not `EventSource`: it tells an ended session from a lost network, and a hidden page can close its connection and
 * resume later.
 */
export async function openStream(
  jobId: string | null,
  lastId: string,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>> | null> {
  let response: Response;
  try {
    response = await fetch(jobId === null ? "/api/jobs/stream" : `${job(jobId)}/events`, {
      headers: { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) },
      cache: "no-store",
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Unreachable({ cause: error });
  }
  if (response.status === 204) return null;
  if (response.status === 401) signedOut();
  if (!response.ok || !response.body) throw await refusal(response);
  return response.body;
}
