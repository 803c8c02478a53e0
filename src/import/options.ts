import type { Normalization } from '../data/dataset.js';
import { invalidArgument } from '../errors.js';
import type { ChannelAffine } from './writer.js';

/** What a file of others does not say. */
export interface ReadOptions {
  /**
   * How the images that the file takes were made from pixels in [0, 1]: (x - mean) / std per channel. Default: not at all,
   * mean 0 and std 1. A file does not say it, and a wrong one costs most of the accuracy.
   */
  readonly normalization?: Normalization;
  /** Names of the classes, one a logit. Default: `class 0`, `class 1`, ... */
  readonly classes?: readonly string[];
}

export function classesOf(given: readonly string[] | undefined, logits: number): readonly string[] {
  if (given === undefined) return Array.from({ length: logits }, (_, i) => `class ${i}`);
  if (given.length === logits) return given;
  throw invalidArgument('classes.length', `${logits}, the number of logits,`, given.length);
}

/** The normalisation of pixels before the network, with what the file itself does to its input: a ((x - mean) / std) + b. */
export function normalizationOf(given: Normalization | undefined, channels: number, affine?: ChannelAffine): Normalization {
  const all = (value: number): number[] => new Array<number>(channels).fill(value);
  const { mean, std } = given ?? { mean: all(0), std: all(1) };
  for (const [name, values] of [['mean', mean], ['std', std]] as const) {
    if (values.length !== channels) throw invalidArgument(`normalization.${name}.length`, `${channels}, one for each channel,`, values.length);
  }
  if (!std.every((s) => s > 0) || ![...mean, ...std].every(Number.isFinite)) throw invalidArgument('normalization', 'finite means and standard deviations above 0', std);
  if (!affine) return { mean, std };
  const { gain, offset } = affine;
  return { mean: mean.map((m, c) => m - (offset[c]! * std[c]!) / gain[c]!), std: std.map((s, c) => s / gain[c]!) };
}
