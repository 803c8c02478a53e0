import { invalidArgument } from '../errors.js';

/** How requests wait and run together. */
export interface BatchLimits {
  /** Most images of a batch that several requests share. Default 32. */
  readonly maxBatch: number;
  /**
   * Milliseconds that a shared batch may compute, as far as earlier batches tell: fewer requests run together where that would
   * take longer. Default 50.
   */
  readonly latencyBudget: number;
  /** Images that may wait for a model; more are refused with OVERLOADED. Also the most images of one request. Default 256. */
  readonly queue: number;
  /** Milliseconds after which a request that is not answered fails with DEADLINE_EXCEEDED. Default 10,000. */
  readonly deadline: number;
}

export const defaultLimits: BatchLimits = { maxBatch: 32, latencyBudget: 50, queue: 256, deadline: 10_000 };

/** @throws NoisefloorError INVALID_ARGUMENT */
export function checkLimits(limits: Partial<BatchLimits>): BatchLimits {
  const checked = { ...defaultLimits, ...limits };
  for (const name of ['maxBatch', 'queue'] as const) {
    if (!Number.isInteger(checked[name]) || checked[name] < 1) throw invalidArgument(name, 'whole number >= 1', checked[name]);
  }
  for (const name of ['latencyBudget', 'deadline'] as const) {
    if (!(checked[name] > 0 && checked[name] < 2 ** 31)) throw invalidArgument(name, 'number of milliseconds > 0', checked[name]);
  }
  return checked;
}
