import { Augmenter } from '../data/augment/pipeline.js';
import { batchRanges, normalizeImages } from '../data/batches.js';
import type { Dataset, Split } from '../data/dataset.js';
import { Random } from '../random.js';
import { elementCount } from '../tensor.js';
import type { Evaluation } from './evaluation.js';
import type { TrainConfig } from './options.js';
import { deriveSeed, seedUse } from './seeds.js';

/**
 * Validation images that the gap is measured on at most. The variance is taken over all neurons of all of them, so a
 * thousand images fix it to well under a percent.
 */
const mostImages = 1024;
/** Part of an epoch that measuring may take; a training step counts as three forward passes, a measured image as 1 + T. */
const partOfEpoch = 0.06;

function gapImages(trainImages: number, timeSteps: number, batchSize: number): number {
  return Math.min(mostImages, Math.max(batchSize, Math.floor((3 * partOfEpoch * trainImages) / (1 + timeSteps))));
}

export interface MeasuredSigma {
  /** sqrt of the mean over batches of the variance of the gap, per activation, in units of the activation. */
  readonly sigma: Record<string, number>;
  readonly mean: Record<string, number>;
  /** What measuring took. */
  readonly seconds: number;
}

/**
 * Layer-wise error-compensating strategy of NQ: the strength of next epoch's noise, from the gap between the clean
 * quantised network and its spiking network on validation images with the training augmentation, mixing aside.
 */
export async function measureSigma(
  evaluation: Evaluation,
  config: TrainConfig,
  data: Dataset,
  { train, validation }: { readonly train: Split; readonly validation: Split },
  epoch: number,
): Promise<MeasuredSigma> {
  const began = performance.now();
  const { seed, batchSize, noiseTimeSteps } = config;
  const augmenter = new Augmenter(data, config);
  const random = new Random(deriveSeed(seed, seedUse.gap, epoch));
  const variances: Record<string, number> = {};
  const means: Record<string, number> = {};
  const available = Math.min(gapImages(train.count, noiseTimeSteps, batchSize), validation.count);
  // Whole batches, since each weighs the same; a GPU also plans its convolutions anew for each other size.
  const count = available < batchSize ? available : available - (available % batchSize);
  const ranges = [...batchRanges(count, batchSize)];
  for (const [begin, end] of ranges) {
    const indices = Array.from({ length: end - begin }, (_, i) => begin + i);
    const pixels = new Uint8Array(indices.length * elementCount(data.shape));
    augmenter.apply(validation, indices, random, pixels);
    const images = normalizeImages(pixels, data.normalization, data.shape);
    for (const [name, { mean, variance }] of Object.entries(await evaluation.gap(images))) {
      variances[name] = (variances[name] ?? 0) + variance / ranges.length;
      means[name] = (means[name] ?? 0) + mean / ranges.length;
    }
  }
  const sigma = Object.fromEntries(Object.entries(variances).map(([name, variance]) => [name, Math.sqrt(variance)]));
  return { sigma, mean: means, seconds: (performance.now() - began) / 1000 };
}
