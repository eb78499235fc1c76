/* BullMQ on Redis. `node bench.js '<json>'`: what is measured, and how, as in bench/measure.py, which this follows step by step.

   As documented: `concurrency` (its guide on concurrency; 100 here, as for everybody), `maxRetriesPerRequest: null` (on
   connections), the last thousand completed jobs kept (on auto-removal). At its best: completed jobs removed at once, a larger
   concurrency, and ioredis writing in one piece what one turn of the event loop asks for (`enableAutoPipelining`). The stream of
   events is kept as shipped. A job that runs can only be canceled by the worker that runs it, so no cancel is measured. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const CALLERS = 50;
const WARM_UP = 500;
const GAP = [20, 60];
const UNTIL_IDLE = 3000;
const BULK = 1000;
const CLOCK_TICKS = 100; // a second, on every Linux that Node runs on

const given = JSON.parse(process.argv[2]);
const settings = given.settings;
const connect = () => new Redis(given.redis_url, { maxRetriesPerRequest: null, ...settings.connection });
const now = () => performance.now();
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const started = new Map();
let next = 0;

const queue = new Queue("bench", { connection: connect(), defaultJobOptions: settings.jobs });
await queue.waitUntilReady();

async function enqueue(number) {
  await queue.add("nothing", { number });
}

async function enqueueMany(jobs) {
  let left = jobs;
  const caller = async () => {
    while (left-- > 0) await enqueue(next++);
  };
  const began = now();
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return (jobs / (now() - began)) * 1000;
}

async function enqueueBulk(jobs) {
  const began = now();
  for (let first = 0; first < jobs; first += BULK) {
    const size = Math.min(BULK, jobs - first);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: "nothing", data: { number: next++ } })));
  }
  return (jobs / (now() - began)) * 1000;
}

async function working(during) {
  const connection = connect();
  const worker = new Worker(
    "bench",
    async (job) => {
      started.set(job.data.number, now());
      return { ok: true };
    },
    { connection, ...settings.worker },
  );
  worker.on("error", (error) => process.stderr.write(`${error}\n`));
  try {
    return await during(worker);
  } finally {
    await worker.close();
    connection.disconnect();
  }
}

// The worker says "completed" when Redis has it.
function drain(jobs) {
  return working(
    (worker) =>
      new Promise((resolve) => {
        let completed = 0;
        worker.on("completed", () => {
          if (++completed === jobs) resolve();
        });
      }),
  );
}

async function measuredDrain(jobs) {
  const redis = processSeconds(given.redis_pid);
  const worker = process.cpuUsage();
  const began = now();
  await drain(jobs);
  const seconds = (now() - began) / 1000;
  const used = process.cpuUsage(worker);
  const figures = {
    drain: [jobs / seconds],
    drain_seconds: [seconds],
    cpu_worker: [(used.user + used.system) / jobs],
  };
  if (redis !== null) figures.cpu_redis = [((processSeconds(given.redis_pid) - redis) / jobs) * 1e6];
  return figures;
}

async function pickUp(times) {
  const queued = new Map();
  await working(async (worker) => {
    await worker.waitUntilReady();
    await sleep(UNTIL_IDLE);
    for (let n = 0; n < times; n++) {
      await sleep(GAP[0] + Math.random() * (GAP[1] - GAP[0]));
      const number = next++;
      await enqueue(number);
      queued.set(number, now());
    }
    while ([...queued.keys()].some((number) => !started.has(number))) await sleep(2);
  });
  return [...queued].map(([number, at]) => Math.max(0, started.get(number) - at));
}

function processSeconds(pid) {
  if (pid === null) return null;
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
}

await enqueueMany(WARM_UP);
await drain(WARM_UP);
const figures = { enqueue: [await enqueueMany(given.enqueue)] };
figures.bulk = [await enqueueBulk(given.bulk)];
Object.assign(figures, await measuredDrain(given.enqueue + given.bulk));
figures.pick_up = await pickUp(given.pick_ups);

const version = (name) => createRequire(import.meta.url)(`./node_modules/${name}/package.json`).version;
const versions = { bullmq: version("bullmq"), ioredis: version("ioredis"), node: process.versions.node };
await queue.close();
process.stdout.write(`${JSON.stringify({ versions, figures })}\n`);
process.exit(0);
