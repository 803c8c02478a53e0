import { Augmenter, type ImageAugmentations, type ImageFacts } from '../data/augment/pipeline.js';
import { mixBatch, mixes, type MixingOptions } from '../data/augment/mixing.js';
import type { Mixture } from '../data/augment/mixture.js';
import { batchRanges, normalizeRange } from '../data/batches.js';
import type { Dataset, Split } from '../data/dataset.js';
import { Random } from '../random.js';
import { elementCount } from '../tensor.js';
import { deriveSeed, seedUse } from './seeds.js';
import type { Batch, PixelBatch } from './step.js';

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

/** What one training batch is made of. */
export interface BatchPlan {
  readonly epoch: number;
  /** Of the epoch. */
  readonly step: number;
  readonly indices: Uint32Array;
}

export interface PlanOptions {
  readonly seed: number;
  readonly batchSize: number;
  readonly epochs: number;
}

/** Every batch from a position on to the end of training, in order. */
export function* batchPlans(count: number, options: PlanOptions, from: Pick<BatchPlan, 'epoch' | 'step'>): Generator<BatchPlan, undefined> {
  const { seed, batchSize, epochs } = options;
  for (let epoch = from.epoch; epoch < epochs; epoch++) {
    const order = epochOrder(count, seed, epoch);
    for (const [step, [begin, end]] of [...batchRanges(count, batchSize)].entries()) {
      if (epoch > from.epoch || step >= from.step) yield { epoch, step, indices: order.slice(begin, end) };
    }
  }
  return undefined;
}

export interface BatchOptions extends ImageAugmentations, MixingOptions {
  readonly seed: number;
}

/** Makes training batches; one depends on its plan and the seed only, so it matters not in which thread it is made. */
export class BatchMaker {
  readonly #augmenter: Augmenter;
  readonly #size: number;

  constructor(
    readonly facts: ImageFacts,
    readonly split: Split,
    readonly options: BatchOptions,
  ) {
    this.#augmenter = new Augmenter(facts, options);
    this.#size = elementCount(facts.shape);
  }

  /** @param room used for the pixels where it has their length */
  make({ epoch, step, indices }: BatchPlan, room?: Uint8Array): PixelBatch {
    const { options } = this;
    const random = new Random(deriveSeed(options.seed, seedUse.augmentation, epoch, step));
    const length = indices.length * this.#size;
    const pixels = room?.length === length ? room : new Uint8Array(length);
    this.#augmenter.apply(this.split, indices, random, pixels);
    const labels = BigInt64Array.from(indices, (index) => BigInt(this.split.labels[index]!));
    if (!mixes(options)) return { pixels, labels };
    return { pixels, labels, mixed: mixLabels(labels, mixBatch(pixels, this.facts.shape, options, random)) };
  }
}

function mixLabels(labels: BigInt64Array, { partners, weight }: Mixture): PixelBatch['mixed'] {
  return { labels: BigInt64Array.from(partners, (partner) => labels[partner]!), weight };
}
