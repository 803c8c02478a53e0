import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { ImageFacts } from '../data/augment/pipeline.js';
import type { Split } from '../data/dataset.js';
import { invalidArgument } from '../errors.js';
import { BatchMaker, type BatchOptions, type BatchPlan } from './batches.js';
import type { PixelBatch } from './step.js';

/** Gives the batches of its plans in their order. */
export interface BatchLoader {
  /** The next `count` batches, which must exist. */
  take(count: number): Promise<PixelBatch[]>;
  /** Gives back the room of batches that are no longer read. */
  recycle(batches: readonly PixelBatch[]): void;
  /** Ends its threads. Safe to call twice. */
  close(): Promise<void>;
}

/** Batches made before they are asked for, at least. */
const leastAhead = 4;

/** What a loader thread is started with; the bytes of `split` are shared, not copied. */
export interface LoaderJob {
  readonly facts: ImageFacts;
  readonly split: Split;
  readonly options: BatchOptions;
}

export interface LoaderRequest {
  readonly plan: BatchPlan;
  readonly room?: Uint8Array;
}

/** Without a number half of the cores, up to 8: the others are for ONNX Runtime. */
export function resolveLoaderThreads(threads = Math.max(1, Math.min(8, Math.floor(availableParallelism() / 2)))): number {
  if (!Number.isInteger(threads) || threads < 0) throw invalidArgument('loaderThreads', 'whole number >= 0', threads);
  return threads;
}

/**
 * @param threads 0 makes each batch when it is asked for, on the calling thread
 * Errors: `INVALID_ARGUMENT` where an augmentation does not suit the data set.
 */
export function openLoader(job: LoaderJob, plans: Iterator<BatchPlan, undefined>, threads: number): BatchLoader {
  const maker = new BatchMaker(job.facts, job.split, job.options);
  return threads === 0 ? new InlineLoader(maker, plans) : new ThreadedLoader(job, plans, threads);
}

class InlineLoader implements BatchLoader {
  #free: Uint8Array[] = [];

  constructor(
    readonly maker: BatchMaker,
    readonly plans: Iterator<BatchPlan, undefined>,
  ) {}

  take(count: number): Promise<PixelBatch[]> {
    return Promise.resolve(Array.from({ length: count }, () => this.maker.make(this.plans.next().value as BatchPlan, this.#free.pop())));
  }

  recycle(batches: readonly PixelBatch[]): void {
    this.#free = batches.map(({ pixels }) => pixels);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Waiting {
  readonly resolve: (batch: PixelBatch) => void;
  readonly reject: (error: Error) => void;
}

/** One thread and the batches that it owes, in the order asked. */
interface Maker {
  readonly worker: Worker;
  readonly owed: Waiting[];
}

class ThreadedLoader implements BatchLoader {
  readonly #makers: readonly Maker[];
  readonly #ready: Promise<PixelBatch>[] = [];
  #free: Uint8Array[] = [];
  #asked = 0;
  #ahead: number;
  #failure: Error | undefined;

  constructor(
    job: LoaderJob,
    readonly plans: Iterator<BatchPlan, undefined>,
    threads: number,
  ) {
    this.#ahead = Math.max(leastAhead, 2 * threads);
    this.#makers = Array.from({ length: threads }, () => this.#start(job));
    this.#askAhead();
  }

  async take(count: number): Promise<PixelBatch[]> {
    if (this.#failure) throw this.#failure;
    // While a GPU works through one call, the batches of the next are made.
    this.#ahead = Math.max(this.#ahead, count);
    this.#askAhead();
    const batches: Promise<PixelBatch>[] = [];
    while (batches.length < count) {
      batches.push(this.#ready.shift()!);
      this.#askAhead();
    }
    return Promise.all(batches);
  }

  recycle(batches: readonly PixelBatch[]): void {
    this.#free.push(...batches.map(({ pixels }) => pixels));
  }

  async close(): Promise<void> {
    this.#fail(new Error('The loader was closed.'));
    await Promise.all(this.#makers.map(({ worker }) => worker.terminate()));
  }

  #start(job: LoaderJob): Maker {
    const worker = new Worker(new URL('./loaderWorker.js', import.meta.url), { workerData: job, name: 'noisefloor-load' });
    const owed: Waiting[] = [];
    // After a failure or the closing nothing is owed, though a batch may still come.
    worker.on('message', (batch: PixelBatch) => owed.shift()?.resolve(batch));
    worker.on('error', (error) => this.#fail(error));
    worker.on('exit', (code) => this.#fail(new Error(`A loader thread ended early with code ${code}.`)));
    return { worker, owed };
  }

  #askAhead(): void {
    while (this.#ready.length < this.#ahead) {
      const plan = this.plans.next();
      if (plan.done) return;
      this.#ready.push(this.#ask(plan.value, this.#makers[this.#asked++ % this.#makers.length]!));
    }
  }

  #ask(plan: BatchPlan, { worker, owed }: Maker): Promise<PixelBatch> {
    const room = this.#free.pop();
    const batch = new Promise<PixelBatch>((resolve, reject) => owed.push({ resolve, reject }));
    // A batch that nobody waits for yet may fail too.
    batch.catch(() => undefined);
    const request: LoaderRequest = { plan, ...(room ? { room } : {}) };
    worker.postMessage(request, room ? [room.buffer as ArrayBuffer] : []);
    return batch;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { owed } of this.#makers) for (const { reject } of owed.splice(0)) reject(this.#failure);
  }
}
