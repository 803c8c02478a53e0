import type { RunSettings } from './backend.js';
import type { BatchLimits } from './limits.js';
import type { Pending } from './pending.js';

/** Weight of the newest batch in the running mean of an image's time. */
const newest = 0.2;

/** Which requests run together, from what earlier batches took. */
export class BatchPlan {
  /** Milliseconds of an image by time steps; bounded, by the most time steps of a model. */
  readonly #imageTime = new Map<number, number>();
  #batches = 0;

  constructor(
    readonly limits: Pick<BatchLimits, 'maxBatch' | 'latencyBudget'>,
    readonly statisticsEvery: number,
  ) {}

  /** Takes the oldest request and those with the same key, oldest first, as far as they fit; one alone always fits. */
  take(queue: Pending[]): Pending[] {
    const first = queue[0]!;
    const most = this.#mostImages(first.settings.timeSteps);
    const batch: Pending[] = [];
    const rest: Pending[] = [];
    let count = 0;
    for (const one of queue) {
      const fits = one.key === first.key && (batch.length === 0 || count + one.count <= most);
      if (fits) count += one.count;
      (fits ? batch : rest).push(one);
    }
    queue.splice(0, queue.length, ...rest);
    return batch;
  }

  /** Every so many batches count spikes and operations, for the metrics. */
  settings(settings: RunSettings): RunSettings {
    if (settings.earlyExit || this.statisticsEvery === 0) return settings;
    return this.#batches++ % this.statisticsEvery === 0 ? { ...settings, statistics: true } : settings;
  }

  learn(count: number, timeSteps: number, milliseconds: number): void {
    const before = this.#imageTime.get(timeSteps);
    const now = milliseconds / count;
    this.#imageTime.set(timeSteps, before === undefined ? now : before + newest * (now - before));
  }

  /** What so many images may take, as far as is known: 0 before the first batch. */
  millisecondsFor(images: number, timeSteps: number): number {
    return images * (this.#imageTime.get(timeSteps) ?? 0);
  }

  #mostImages(timeSteps: number): number {
    const known = this.#imageTime.get(timeSteps);
    const { maxBatch, latencyBudget } = this.limits;
    return known === undefined ? maxBatch : Math.min(maxBatch, Math.max(1, Math.floor(latencyBudget / known)));
  }
}
