import { NoisefloorError } from '../errors.js';

/**
 * @param what which number is not finite, and when
 * @param checkpoint the last good one, or that there is none yet
 */
export function diverged(what: string, checkpoint: string): NoisefloorError {
  return new NoisefloorError(
    'TRAINING_DIVERGED',
    `${what}. The last good checkpoint: ${checkpoint}. Train anew with a lower learning rate, or in float32 where precision was mixed.`,
  );
}
