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
    const at = firstInfinite(data);
    if (at >= 0) throw diverged(`"${name}" holds ${data[at]} after epoch ${epoch + 1}`, checkpoint);
  }
}

/** A loop: `findIndex` takes eight times as long on millions of weights. */
function firstInfinite(data: ArrayLike<number>): number {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return i;
  return -1;
}
