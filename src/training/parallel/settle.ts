import { NoisefloorError } from '../../errors.js';

/** What became of all of them, once each has ended by itself: one that fails does not cut the others off. */
export interface Settled<T> {
  readonly values: readonly T[];
  /** Of the failures, the first that says what is wrong; a thread that merely ended says nothing. */
  readonly cause?: Error;
}

export async function settle<T>(promises: readonly Promise<T>[]): Promise<Settled<T>> {
  const settled = await Promise.allSettled(promises);
  const values = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failures = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason as Error] : []));
  const cause = failures.find((error) => error instanceof NoisefloorError) ?? failures[0];
  return cause === undefined ? { values } : { values, cause };
}
