import { augmentBatch, cutoutBatch } from '../data/augment.js';
import { normalizeRange } from '../data/batches.js';
import type { Dataset, Split } from '../data/dataset.js';
import { Random } from '../random.js';
import { deriveSeed, seedUse } from './seeds.js';
import type { Batch, PixelBatch } from './stepper.js';

/** Order of the training images in an epoch: from the seed, so that a resumed run meets the same batches. */
export function epochOrder(count: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  new Random(deriveSeed(seed, seedUse.order, epoch)).shuffle(order);
  return order;
}

/** The images from `begin` up to `end`, as they are. */
export function cleanBatch(data: Dataset, split: Split, begin: number, end: number): Batch {
  const images = normalizeRange(split, begin, end, data.normalization, data.shape);
  return { images, labels: BigInt64Array.from(split.labels.subarray(begin, end), BigInt) };
}

export interface BatchAugmentation {
  readonly augment: boolean;
  /** Side of the blanked square; 0 for none. */
  readonly cutout: number;
  readonly random: Random;
}

export function pixelBatch(data: Dataset, split: Split, indices: ArrayLike<number>, { augment, cutout, random }: BatchAugmentation): PixelBatch {
  const augmentation = augment ? data.augmentation : { cropPadding: 0, flip: false };
  const pixels = augmentBatch(split, indices, data.shape, augmentation, random);
  if (cutout > 0) cutoutBatch(pixels, data.shape, cutout, data.normalization.mean, random);
  return { pixels, labels: BigInt64Array.from(indices, (index) => BigInt(split.labels[index]!)) };
}
