import type { Queue, QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import type { ImageSource } from '../../data/source.js';
import { NoisefloorError } from '../../errors.js';
import { sha256, type EvaluationPlan } from '../journal.js';
import { throwIfAborted } from '../simulator.js';
import { blobKey, connect, loadBullmq, queueName, type ShardJob, type ShardResult } from './connection.js';

export interface EnqueueOptions {
  /** redis://... */
  readonly url: string;
  readonly batchSize: number;
  /** Images a shard, rounded up to whole batches. Default 256. */
  readonly shardImages?: number;
  readonly signal?: AbortSignal;
  /** Called as shards come in, in any order. */
  readonly onResult: (result: ShardResult, job: ShardJob) => void;
}

/** Of a shard whose evaluation fails; a killed worker does not count. */
const attempts = 3;
const blobSeconds = 7 * 24 * 3600;
const sweepMilliseconds = 5000;

type ShardQueue = Queue<ShardJob, ShardResult>;

/**
 * Has workers evaluate a source, shard by shard, and waits for all of them. What is in the queue outlives this process:
 * the same call goes on with the shards that are there.
 *
 * @param blobs model file and dense network, which the plan names by their SHA-256
 * @throws NoisefloorError `QUEUE` no server, or a shard failed; `ABORTED`, `MISSING_DEPENDENCY`
 */
export async function evaluateByWorkers(plan: EvaluationPlan, source: ImageSource, blobs: readonly Uint8Array[], options: EnqueueOptions): Promise<void> {
  const { Queue, QueueEvents } = await loadBullmq();
  const redis = await connect(options.url);
  const queue: ShardQueue = new Queue(queueName, { connection: redis });
  const listening = redis.duplicate();
  const events = new QueueEvents(queueName, { connection: listening });
  try {
    await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
    await storeBlobs(redis, blobs);
    const jobs = shardJobs(plan, source, options);
    await add(queue, jobs);
    await collectAll(queue, events, jobs, options);
    for (const id of jobs.keys()) await queue.remove(id);
  } finally {
    await Promise.all([events.close(), queue.close()]);
    for (const one of [redis, listening]) one.disconnect();
  }
}

async function storeBlobs(redis: Redis, blobs: readonly Uint8Array[]): Promise<void> {
  for (const blob of blobs) await redis.set(blobKey(sha256(blob)), Buffer.from(blob), 'EX', blobSeconds);
}

/** By an id that the same evaluation gets again. */
function shardJobs(plan: EvaluationPlan, { spec, count }: ImageSource, { batchSize, shardImages = 256 }: EnqueueOptions): Map<string, ShardJob> {
  const size = Math.ceil(shardImages / batchSize) * batchSize;
  const run = sha256(Buffer.from(JSON.stringify([plan, batchSize, size]))).slice(0, 16);
  const jobs = new Map<string, ShardJob>();
  for (let start = 0; start < count; start += size) {
    jobs.set(`${run}-${start}`, { plan, spec, batchSize, start, end: Math.min(count, start + size) });
  }
  return jobs;
}

async function add(queue: ShardQueue, jobs: ReadonlyMap<string, ShardJob>): Promise<void> {
  // One that failed in an earlier run would else stay failed.
  for (const id of jobs.keys()) if ((await queue.getJobState(id)) === 'failed') await queue.remove(id);
  await queue.addBulk([...jobs].map(([jobId, data]) => ({ name: 'shard', data, opts: { jobId, attempts, backoff: { type: 'fixed', delay: 500 } } })));
}

/** Events tell at once; the sweep finds what happened before this process listened, or while it was cut off. */
async function collectAll(queue: ShardQueue, events: QueueEvents, jobs: ReadonlyMap<string, ShardJob>, { signal, onResult }: EnqueueOptions): Promise<void> {
  const open = new Set(jobs.keys());
  let wake = (): void => undefined;
  const finished: string[] = [];
  const note = ({ jobId }: { jobId: string }): void => {
    finished.push(jobId);
    wake();
  };
  const stop = (): void => wake();
  events.on('completed', note);
  events.on('failed', note);
  signal?.addEventListener('abort', stop);
  try {
    let look = [...open];
    while (open.size > 0) {
      throwIfAborted(signal);
      for (const id of look) if (open.has(id) && (await take(queue, id, jobs.get(id)!, onResult))) open.delete(id);
      if (open.size === 0) return;
      if (finished.length === 0) await new Promise<void>((resolve) => setTimeout((wake = resolve), sweepMilliseconds));
      look = finished.length > 0 ? finished.splice(0) : [...open];
    }
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

async function take(queue: ShardQueue, id: string, shard: ShardJob, onResult: EnqueueOptions['onResult']): Promise<boolean> {
  const job = await queue.getJob(id);
  if (!job) throw new NoisefloorError('QUEUE', `Images ${shard.start} to ${shard.end - 1} are gone from the queue: somebody removed them. Run it again.`);
  const state = await job.getState();
  if (state === 'completed') onResult(job.returnvalue, shard);
  if (state === 'failed') {
    throw new NoisefloorError('QUEUE', `Images ${shard.start} to ${shard.end - 1} failed ${attempts} times, the last time so: ${job.failedReason} Mend that and run it again: finished shards are kept.`);
  }
  return state === 'completed';
}
