import type { Random } from '../../random.js';
import { elementCount } from '../../tensor.js';
import { cutmix } from './cutmix.js';
import { unmixed, type Mixture } from './mixture.js';
import { mixup } from './mixup.js';

/** How batches are mixed. */
export interface MixingOptions {
  /** Alpha of Mixup; 0 for none. */
  readonly mixup: number;
  /** Alpha of CutMix; 0 for none. With both a batch gets one of them, each as likely. */
  readonly cutmix?: number;
  /** Part of the batches that are mixed at all. Default 1. */
  readonly mixProbability?: number;
}

/** Do labels come in twos? */
export function mixes({ mixup = 0, cutmix = 0 }: Partial<MixingOptions>): boolean {
  return mixup > 0 || cutmix > 0;
}

/**
 * Mixes a batch in place.
 *
 * @param pixels bytes, [count, C, H, W]
 * @param shape [C, H, W]
 */
export function mixBatch(pixels: Uint8Array, shape: readonly number[], options: MixingOptions, random: Random): Mixture {
  const { mixup: mixupAlpha, cutmix: cutmixAlpha = 0, mixProbability = 1 } = options;
  const count = pixels.length / elementCount(shape);
  if (mixProbability < 1 && random.uniform() >= mixProbability) return unmixed(count);
  const cuts = cutmixAlpha > 0 && (mixupAlpha === 0 || random.uniform() < 0.5);
  return cuts ? cutmix(pixels, shape, cutmixAlpha, random) : mixup(pixels, count, mixupAlpha, random);
}
