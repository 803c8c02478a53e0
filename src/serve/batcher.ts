import { invalidArgument, NoisefloorError } from '../errors.js';
import { elementCount } from '../tensor.js';
import type { Answers, Backend, RunSettings } from './backend.js';
import { BatchPlan } from './batchPlan.js';
import type { EngineShare, Worker } from './engineShare.js';
import type { BatchLimits } from './limits.js';
import { noObserver, type Observer } from './observer.js';
import { OverloadedError } from './overloaded.js';
import { Pending } from './pending.js';

export interface SubmitOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds from now; default and upper bound: the server's. */
  readonly deadline?: number;
}

/**
 * The requests for one network. One that finds the engine idle runs at once, alone; those that come meanwhile wait, and run
 * together once it is free: oldest first, with all that have the same settings, within the limits of a batch.
 */
export class Batcher implements Worker {
  readonly #queue: Pending[] = [];
  readonly #plan: BatchPlan;
  readonly #share: ReturnType<EngineShare['join']>;
  #waitingImages = 0;
  #computing: readonly Pending[] = [];

  constructor(
    readonly backend: Backend,
    share: EngineShare,
    readonly limits: BatchLimits,
    readonly observer: Observer = noObserver,
  ) {
    this.#share = share.join(this);
    this.#plan = new BatchPlan(limits, observer.statisticsEvery);
  }

  get waiting(): boolean {
    return this.#queue.length > 0;
  }

  get waitingImages(): number {
    return this.#waitingImages;
  }

  /**
   * @param images normalised, [N, C, H, W], N at least 1; not to be written to until answered
   * @throws NoisefloorError INVALID_ARGUMENT (number of images), INVALID_DATA (a pixel is NaN), OVERLOADED, DEADLINE_EXCEEDED,
   *   ABORTED (by the signal), ENGINE
   */
  submit(images: Float32Array, settings: RunSettings, { signal, deadline }: SubmitOptions = {}): Promise<Answers> {
    const count = this.#checkImages(images);
    if (signal?.aborted) return Promise.reject(clientGone());
    if (this.#waitingImages + count > this.limits.queue) {
      this.observer.refused('queue');
      return Promise.reject(new OverloadedError(this.#waitingImages, this.#plan.millisecondsFor(this.#waitingImages, settings.timeSteps)));
    }
    return new Promise((resolve, reject) => {
      const pending = new Pending({ images, count, settings, resolve, reject });
      const milliseconds = Math.min(deadline ?? this.limits.deadline, this.limits.deadline);
      const timer = setTimeout(() => {
        this.observer.refused('deadline');
        this.#abandon(pending, deadlineExceeded(milliseconds));
      }, milliseconds);
      const leave = () => this.#abandon(pending, clientGone());
      signal?.addEventListener('abort', leave, { once: true });
      pending.onSettled = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', leave);
      };
      this.#queue.push(pending);
      this.#waitingImages += count;
      this.#share.wake();
    });
  }

  /** Called by the share: never rejects. */
  async compute(): Promise<() => void> {
    const batch = this.#plan.take(this.#queue);
    const count = batch.reduce((sum, one) => sum + one.count, 0);
    const settings = this.#plan.settings(batch[0]!.settings);
    this.#waitingImages -= count;
    this.#computing = batch;
    const began = performance.now();
    for (const one of batch) this.observer.waited(began - one.enqueued);
    const cancel = new AbortController();
    for (const one of batch) one.onAbandoned = () => batch.every(({ settled }) => settled) && cancel.abort();
    try {
      const answers = await this.backend.run(joined(batch), settings, cancel.signal);
      const milliseconds = performance.now() - began;
      this.#plan.learn(count, settings.timeSteps, milliseconds);
      this.observer.computed(answers, milliseconds);
      return () => handOut(batch, answers);
    } catch (error) {
      return () => batch.forEach((one) => one.reject(error as Error));
    } finally {
      this.#computing = [];
    }
  }

  /** Rejects what is left and leaves the share; the backend stays open. */
  close(): void {
    const error = new NoisefloorError('UNAVAILABLE', 'The model was unloaded before the request was answered.');
    for (const pending of [...this.#queue, ...this.#computing]) this.#abandon(pending, error);
    this.#share.leave();
  }

  #abandon(pending: Pending, error: NoisefloorError): void {
    const at = this.#queue.indexOf(pending);
    if (at >= 0) {
      this.#queue.splice(at, 1);
      this.#waitingImages -= pending.count;
    }
    pending.reject(error);
    pending.onAbandoned();
  }

  #checkImages(images: Float32Array): number {
    const { shape } = this.backend.input;
    const size = elementCount(shape);
    const count = images.length / size;
    if (!Number.isInteger(count) || count < 1) {
      throw invalidArgument('images.length', `positive multiple of ${size}, images of [${shape.join(', ')}]`, images.length);
    }
    if (count > this.limits.queue) {
      throw new NoisefloorError('INVALID_ARGUMENT', `A request may have at most ${this.limits.queue} images but this one has ${count}: divide it.`);
    }
    const bad = firstNaN(images);
    if (bad >= 0) throw new NoisefloorError('INVALID_DATA', `Image ${Math.floor(bad / size)} has a pixel that is NaN: send numbers.`);
    return count;
  }
}

/** The loop is a tenth of the time of `findIndex`, on the event loop for every request. */
function firstNaN(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (values[i] !== values[i]) return i;
  return -1;
}

function clientGone(): NoisefloorError {
  return new NoisefloorError('ABORTED', 'The request was given up before it was answered.');
}

function deadlineExceeded(milliseconds: number): NoisefloorError {
  return new NoisefloorError('DEADLINE_EXCEEDED', `Not answered within ${milliseconds} ms: ask again later, or allow more time.`);
}

function joined(batch: readonly Pending[]): Float32Array {
  if (batch.length === 1) return batch[0]!.images;
  const images = new Float32Array(batch.reduce((sum, one) => sum + one.images.length, 0));
  let at = 0;
  for (const one of batch) {
    images.set(one.images, at);
    at += one.images.length;
  }
  return images;
}

function handOut(batch: readonly Pending[], { count, logits, steps, counts }: Answers): void {
  const classes = logits.length / count;
  let start = 0;
  for (const one of batch) {
    const end = start + one.count;
    const part = (layer: Uint16Array) => layer.subarray((start * layer.length) / count, (end * layer.length) / count);
    one.resolve({
      count: one.count,
      logits: logits.subarray(start * classes, end * classes),
      steps: steps.subarray(start, end),
      ...(counts && { counts: counts.map(part) }),
    });
    start = end;
  }
}
