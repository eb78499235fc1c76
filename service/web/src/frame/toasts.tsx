/** Toasts: short messages, and the end of each job that the user started, told once on any screen. */

import { useMutation } from "@tanstack/react-query";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useRef, useState } from "react";
import { type Change, type Job, retryJob, serverNow } from "../api";
import { descriptionText } from "../job/description";
import { hasEnded } from "../job/facts";
import { useTypeWord } from "../job/types";
import { arrive, freshen, useArrivals, useChanges, useTick } from "../live/live";
import { Icon, type IconName } from "../parts/icons";
import { Meaning } from "../parts/states";
import { problemText } from "../refusals/refusals";
import { Link } from "../route";
import { useUser } from "../session";
import { useWords, type Words } from "../words/words";

interface Toast {
  key: string;
  tone: "good" | "bad" | "quiet";
  icon: IconName;
  text: string;
  more?: string | undefined;
  job?: Job;
  /** Counts by outcome, in a toast that stands for many jobs. */
  ends?: Ends;
}

type Ends = Record<"completed" | "failed" | "canceled", number>;

interface Toasts {
  say: (text: string, tone?: Toast["tone"]) => void;
  complain: (error: unknown) => void;
  /** Shows a toast at the end of this job, even if another user started it. */
  watch: (jobId: string) => void;
}

const Given = createContext<Toasts | null>(null);

export function useToasts(): Toasts {
  const toasts = useContext(Given);
  if (!toasts) throw new Error("no toasts around this component");
  return toasts;
}

const MOST_SHOWN = 5;
const MANY = 3;
const TOGETHER = "together";

export function WithToasts({ children }: { children: ReactNode }) {
  const words = useWords();
  const typeWord = useTypeWord();
  const [shown, setShown] = useState<Toast[]>([]);
  const watched = useWatched();
  const latest = useRef(words);
  latest.current = words;

  const add = useCallback((toast: Toast) => {
    // A later end of a job replaces an earlier one: "failed" must not stay beside "completed".
    const replaced = ({ key, job }: Toast) => key === toast.key || (toast.job && job?.id === toast.job.id);
    setShown((before) => [...before.filter((one) => !replaced(one)), toast].slice(-MOST_SHOWN));
  }, []);
  // One toast counts the jobs that end, because a thousand jobs must not make a thousand toasts.
  const addMany = useCallback((jobs: Job[]) => {
    setShown((before) => [
      ...before.filter(({ key }) => key !== TOGETHER),
      summaryOf(latest.current, jobs, before.find(({ key }) => key === TOGETHER)?.ends),
    ]);
  }, []);
  const remove = useCallback((key: string) => setShown((before) => before.filter((toast) => toast.key !== key)), []);

  const toasts = useMemo<Toasts>(
    () => ({
      say: (text, tone = "quiet") =>
        add({ key: crypto.randomUUID(), tone, icon: tone === "bad" ? "warn" : "check", text }),
      complain: (error) =>
        add({ key: crypto.randomUUID(), tone: "bad", icon: "warn", text: problemText(latest.current, error) }),
      watch: watched.add,
    }),
    [add, watched],
  );

  useChanges((changes) => freshen(changes.filter(watched.mayEnd).map(({ jobId }) => jobId)));
  useTick(() => freshen(watched.all()));
  useEffect(() => freshen(watched.all()), [watched]);
  useArrivals((jobs) => {
    const ended = jobs.filter(watched.endsNow);
    if (ended.length > MANY) addMany(ended);
    else for (const job of ended) add(endOf(words, job, typeWord(job.type)));
  });

  return (
    <Given value={toasts}>
      {children}
      <section className="toasts" aria-label={words.notifications}>
        {/* Both live regions exist before their first message, because a screen reader ignores text that comes with its region. */}
        {(["polite", "assertive"] as const).map((manner) => (
          <div key={manner} aria-live={manner}>
            {shown
              .filter(({ tone }) => (tone === "bad") === (manner === "assertive"))
              .map((toast) => (
                <ToastCard key={toast.key} toast={toast} onClose={() => remove(toast.key)} />
              ))}
          </div>
        ))}
      </section>
    </Given>
  );
}

const STAYS_FOR = 8_000;

function ToastCard({ toast, onClose }: { toast: Toast; onClose: () => void }) {
  const words = useWords();
  const { watch, complain } = useToasts();
  const [held, setHeld] = useState(false);
  const retrying = useMutation({
    mutationFn: retryJob,
    onSuccess: (job) => {
      arrive([job]);
      watch(job.id);
      onClose();
    },
    onError: complain,
  });
  const close = useRef(onClose);
  close.current = onClose;
  const goes = !held && toast.tone !== "bad";

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new text starts the time anew.
  useEffect(() => {
    if (!goes) return;
    const timer = setTimeout(() => close.current(), STAYS_FOR);
    return () => clearTimeout(timer);
  }, [goes, toast.text]);

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: nothing is operated here; a toast stays while somebody looks at it.
    <div
      className={`toast toast-${toast.tone}`}
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <Icon name={toast.icon} size={18} />
      <div className="toast-text">
        <p>{toast.text}</p>
        {toast.more && (
          <p className="toast-more">
            {toast.more}
            {toast.job && <Meaning error={toast.job.error} />}
          </p>
        )}
        {toast.job && (
          <p className="toast-actions">
            <Link to={`/jobs/${toast.job.id}`} onClick={onClose}>
              {words.openJob}
            </Link>
            {toast.job.status === "failed" && (
              <button
                type="button"
                className="link"
                disabled={retrying.isPending}
                onClick={() => toast.job && retrying.mutate(toast.job.id)}
              >
                {words.retry}
              </button>
            )}
          </p>
        )}
      </div>
      <button type="button" className="icon-button" aria-label={words.dismiss} onClick={onClose}>
        <Icon name="close" />
      </button>
    </div>
  );
}

function endOf(words: Words, job: Job, what: string): Toast {
  const key = `${job.id}:${job.attempt}`;
  const more = descriptionText(words, job);
  switch (job.status) {
    case "completed":
      return { key, tone: "good", icon: "completed", text: words.toastCompleted(what), more, job };
    case "failed":
      return {
        key,
        tone: "bad",
        icon: "failed",
        text: words.toastFailed(what),
        more: [more, job.error?.message].filter(Boolean).join(": "),
        job,
      };
    default:
      return { key, tone: "quiet", icon: "canceled", text: words.toastCanceled(what), more, job };
  }
}

function summaryOf(words: Words, jobs: Job[], before: Ends = { completed: 0, failed: 0, canceled: 0 }): Toast {
  const count = (status: keyof Ends) => before[status] + jobs.filter((job) => job.status === status).length;
  const ends: Ends = { completed: count("completed"), failed: count("failed"), canceled: count("canceled") };
  return {
    key: TOGETHER,
    tone: ends.failed ? "bad" : "good",
    icon: ends.failed ? "failed" : "completed",
    text: words.toastMany(ends.completed, ends.failed, ends.canceled),
    ends,
  };
}

// The watched jobs -------------------------------------------------------------------------------------------------------------

const KEPT = "rireki.watched";
const MOST_WATCHED = 500;

/**
 * The jobs whose end gets a toast: those started in this tab (also before a reload), and all others of this user. A job that ended
 * before the page was loaded gets a toast only if it was watched.
 */
function useWatched() {
  const user = useUser();
  return useMemo(() => {
    const opened = serverNow();
    const watched = new Set<string>(read());
    const told = new Set<string>();

    function write() {
      for (const id of [...watched].slice(0, -MOST_WATCHED)) watched.delete(id);
      try {
        sessionStorage.setItem(KEPT, JSON.stringify([...watched]));
      } catch {
        // If storage is forbidden, the jobs are watched until the page is closed.
      }
    }

    return {
      add: (jobId: string) => {
        watched.add(jobId);
        write();
        freshen([jobId]);
      },
      all: () => [...watched],
      mayEnd: (change: Change) =>
        (watched.has(change.jobId) || change.userId === user.id) &&
        change.status !== "queued" &&
        change.status !== "processing",
      endsNow: (job: Job) => {
        if (!hasEnded(job)) return false;
        const key = `${job.id}:${job.attempt}`;
        const mine = watched.has(job.id) || (job.userId === user.id && Date.parse(job.finishedAt ?? "") > opened);
        if (!mine || told.has(key)) return false;
        told.add(key);
        if (watched.delete(job.id)) write();
        return true;
      },
    };
  }, [user.id]);
}

function read(): string[] {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? "[]") as string[];
  } catch {
    return [];
  }
}
