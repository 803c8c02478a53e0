import type { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { openImages } from '../../data/open.js';
import type { ImageSource } from '../../data/source.js';
import { NoisefloorError } from '../../errors.js';
import { decodeSpikingModel } from '../../snn/file.js';
import { SpikingSession } from '../../snn/session.js';
import { DenseSession } from '../dense.js';
import { evaluateParts } from '../evaluate.js';
import { joinParts, type EvaluationPart } from '../parts.js';
import { sourceFor } from '../simulator.js';
import { blobKey, connect, loadBullmq, queueName, type ShardJob, type ShardResult } from './connection.js';

export interface WorkerOptions {
  /** redis://... */
  readonly url: string;
  /** Where the images lie here, if elsewhere than where they were enqueued. */
  readonly spec?: string;
  /** Threads of the engine. */
  readonly threads: number;
  /** After which others take over the shard of a worker that has died. Default 30. */
  readonly lockSeconds?: number;
  /** Ends once no shard is left. */
  readonly untilEmpty?: boolean;
  readonly signal?: AbortSignal;
  readonly onShard?: (job: ShardJob, event: 'begun' | 'done' | { readonly failed: string }) => void;
}

/**
 * Works on the shards of any evaluation in the queue, one at a time, until the signal fires or, with `untilEmpty`, none is
 * left. A signal ends it at once; others take the shard over as if the process had been killed.
 *
 * @returns shards done
 * @throws NoisefloorError `QUEUE` no server, `MISSING_DEPENDENCY`
 */
export async function work(options: WorkerOptions): Promise<number> {
  const { lockSeconds = 30, signal, onShard } = options;
  const { Queue, Worker } = await loadBullmq();
  const redis = await connect(options.url);
  const queue = new Queue<ShardJob, ShardResult>(queueName, { connection: redis });
  const bench = new Workbench(redis, options);
  const taking = redis.duplicate();
  const settings = { lockDuration: lockSeconds * 1000, stalledInterval: lockSeconds * 1000, maxStalledCount: 1000, concurrency: 1 };
  const worker = new Worker<ShardJob, ShardResult>(
    queueName,
    async ({ data }, _token, lost) => {
      onShard?.(data, 'begun');
      return bench.run(data, lost);
    },
    { connection: taking, ...settings },
  );
  let done = 0;
  worker.on('completed', ({ data }: Job<ShardJob>) => {
    done++;
    onShard?.(data, 'done');
  });
  worker.on('failed', (job, error) => job && onShard?.(job.data, { failed: error.message }));
  worker.on('error', () => undefined); // the connection is tried again
  try {
    await ended(options, async () => {
      const { wait = 0, active = 0, delayed = 0, prioritized = 0 } = await queue.getJobCounts('wait', 'active', 'delayed', 'prioritized');
      return wait + active + delayed + prioritized === 0;
    });
  } finally {
    await worker.close(signal?.aborted === true);
    await queue.close();
    for (const one of [redis, taking]) one.disconnect();
    await bench.dispose();
  }
  return done;
}

async function ended({ signal, untilEmpty = false }: WorkerOptions, empty: () => Promise<boolean>): Promise<void> {
  while (!signal?.aborted && !(untilEmpty && (await empty()))) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(finish, 500);
      function finish(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', finish);
        resolve();
      }
      signal?.addEventListener('abort', finish, { once: true });
    });
  }
}

interface Loaded {
  readonly key: string;
  readonly session: SpikingSession;
  readonly source: ImageSource;
  readonly dense?: DenseSession;
}

/** Keeps the model and the images of the last shard: the next one is mostly of the same evaluation. */
class Workbench {
  readonly #redis: Redis;
  readonly #options: WorkerOptions;
  #loaded: Loaded | undefined;

  constructor(redis: Redis, options: WorkerOptions) {
    this.#redis = redis;
    this.#options = options;
  }

  async run(job: ShardJob, signal: AbortSignal | undefined): Promise<ShardResult> {
    const { session, source, dense } = await this.#load(job);
    const { batchSize, start, end, plan } = job;
    let whole: EvaluationPart | undefined;
    const options = { timeSteps: plan.timeSteps, delay: plan.delay ?? 0, batchSize, start, end, ...(dense && { dense }), ...(signal && { signal }) };
    for await (const part of evaluateParts(session, source, options)) whole = whole ? joinParts([whole, part]) : part;
    return { part: whole!, threads: session.threads, isa: session.isa };
  }

  async dispose(): Promise<void> {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    await loaded?.session.dispose();
    await loaded?.dense?.dispose();
  }

  async #load({ plan, spec }: ShardJob): Promise<Loaded> {
    const where = this.#options.spec ?? spec;
    const key = JSON.stringify([plan, where]);
    if (this.#loaded?.key === key) return this.#loaded;
    await this.dispose();
    const { threads } = this.#options;
    const model = decodeSpikingModel(await this.#blob(plan.model), 'The model in the queue');
    const source = sourceFor(model, await openImages(where, 'test', model.input), plan.count);
    if (source.fingerprint() !== plan.images) {
      throw new NoisefloorError('INVALID_DATA', `${where} does not hold the images that were enqueued, or in another layout: give the worker --data.`);
    }
    const onnx = plan.dense === undefined ? undefined : await this.#blob(plan.dense);
    const session = await SpikingSession.create(model, { threads });
    const dense = onnx && (await DenseSession.create(onnx, { threads }));
    this.#loaded = { key, session, source, ...(dense && { dense }) };
    return this.#loaded;
  }

  async #blob(hash: string): Promise<Buffer> {
    const bytes = await this.#redis.getBuffer(blobKey(hash));
    if (!bytes) throw new NoisefloorError('QUEUE', 'The model is gone from Redis, which keeps it for 7 days: enqueue the evaluation again.');
    return bytes;
  }
}
