import { Random } from '../random.js';
import type { DrawLaw } from './method.js';
import { deriveSeed, seedUse } from './seeds.js';

/** Room beyond the largest layer, so that even its draws begin at over a million places. */
const spare = 2 ** 20;

/**
 * Samples of a noise law that every layer reads at offsets of its own, drawn anew for each step; filled anew each
 * epoch. Within a step the values of one layer are independent.
 */
export class NoisePool {
  readonly samples: Float32Array;

  /** @param sizes elements of each noisy activation for a whole batch */
  constructor(
    readonly law: DrawLaw,
    readonly sizes: readonly number[],
    readonly seed: number,
  ) {
    this.samples = new Float32Array(Math.max(...sizes) + spare);
  }

  /** @param share of the law's full scale */
  fill(epoch: number, share = 1): void {
    const random = new Random(deriveSeed(this.seed, seedUse.noise, epoch));
    const { samples } = this;
    const scale = this.law.scale * share;
    if (this.law.shape === 'normal') for (let i = 0; i < samples.length; i++) samples[i] = scale * random.normal();
    else for (let i = 0; i < samples.length; i++) samples[i] = scale * (2 * random.uniform() - 1);
  }

  /** Where each activation's draw of this step begins. */
  offsets(epoch: number, step: number): BigInt64Array {
    const random = new Random(deriveSeed(this.seed, seedUse.noiseOffsets, epoch, step));
    return BigInt64Array.from(this.sizes, (size) => BigInt(random.integer(this.samples.length - size + 1)));
  }
}
