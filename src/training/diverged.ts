import { NoisefloorError } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';

/**
 * @param what which number is not finite, and when
 * @param checkpoint the last good one, or that there is none yet
 */
export function diverged(what: string, checkpoint: string): NoisefloorError {
  return new NoisefloorError(
    'TRAINING_DIVERGED',
    `${what}. The last good checkpoint: ${checkpoint}. ` +
      'Train anew with a lower learning rate, or in float32 where precision was mixed.',
  );
}

/**
 * `TRAINING_DIVERGED` where a parameter or buffer is not finite: a running variance may overflow where the loss does not.
 *
 * @param epoch from 0, the one that is done
 */
export function refuseInfinite({ parameters }: TrainedNetwork, epoch: number, checkpoint: string): void {
  for (const [name, { data }] of parameters) {
    const value = data.find((one) => !Number.isFinite(one));
    if (value === undefined) continue;
    throw diverged(`"${name}" holds ${value} after epoch ${epoch + 1}`, checkpoint);
  }
}
