import { invalidArgument, NoisefloorError, unknownName } from '../../errors.js';
import type { Random } from '../../random.js';
import type { Dataset, Split } from '../dataset.js';
import { autoAugment } from './autoAugment.js';
import { Canvas } from './canvas.js';
import { colourJitter } from './colourJitter.js';
import { randomCrop, randomFlip } from './crop.js';
import { cutout } from './cutout.js';
import { ResizedCrop } from './resizedCrop.js';

/** In the order in which they are applied; Cutout follows, then Mixup or CutMix. */
export const augmentationNames = ['standard', 'resized-crop', 'crop', 'flip', 'autoaugment', 'colour-jitter'] as const;
export type AugmentationName = (typeof augmentationNames)[number];

/** What of a data set the augmentation depends on. */
export type ImageFacts = Pick<Dataset, 'spec' | 'shape' | 'normalization' | 'augmentation'>;

export interface ImageAugmentations {
  readonly augment: readonly AugmentationName[];
  /** Side of the blanked square in pixels; 0 for none. */
  readonly cutout: number;
}

type Step = (canvas: Canvas, random: Random) => void;

/** In {@link augmentationNames} order, each once. Errors: `INVALID_ARGUMENT` unknown name, or two that do the same. */
export function checkAugmentations(names: readonly string[]): AugmentationName[] {
  const given: unknown = names;
  if (!Array.isArray(given)) throw invalidArgument('augment', `list of augmentations: ${augmentationNames.join(', ')}`, names);
  for (const name of names) {
    if (!(augmentationNames as readonly string[]).includes(name)) throw unknownName('augmentation', String(name), augmentationNames);
  }
  for (const alike of [['standard', 'crop', 'resized-crop'], ['standard', 'flip']]) {
    const both = alike.filter((name) => names.includes(name));
    if (both.length > 1) {
      throw new NoisefloorError(
        'INVALID_ARGUMENT',
        `The augmentations ${both.join(' and ')} do the same twice: take one of them. standard is the published crop and flip.`,
      );
    }
  }
  return augmentationNames.filter((name) => names.includes(name));
}

/** Augments images of one data set, one after the other, bytes to bytes. */
export class Augmenter {
  readonly #canvas: Canvas;
  readonly #steps: readonly Step[];

  /** Errors: `INVALID_ARGUMENT` where an augmentation does not suit the data set. */
  constructor(facts: ImageFacts, { augment, cutout: side }: ImageAugmentations) {
    this.#canvas = new Canvas(facts.shape);
    const steps = augment.flatMap((name) => stepsOf(name, facts));
    if (side > 0) steps.push((canvas, random) => cutout(canvas, side, facts.normalization.mean, random));
    this.#steps = steps;
  }

  /**
   * @param indices which images of `split`
   * @param out filled: bytes, [indices.length, C, H, W]
   */
  apply(split: Split, indices: ArrayLike<number>, random: Random, out: Uint8Array): void {
    const canvas = this.#canvas;
    const size = canvas.pixels.length;
    if (out.length !== indices.length * size) throw invalidArgument('out.length', `${indices.length * size}`, out.length);
    for (let i = 0; i < indices.length; i++) {
      const from = indices[i]!;
      if (!(from >= 0 && from < split.count)) throw invalidArgument(`indices[${i}]`, `0 to ${split.count - 1}`, from);
      canvas.pixels.set(split.images.subarray(from * size, (from + 1) * size));
      for (const step of this.#steps) step(canvas, random);
      out.set(canvas.pixels, i * size);
    }
  }
}

function stepsOf(name: AugmentationName, facts: ImageFacts): Step[] {
  const { cropPadding, flip } = facts.augmentation;
  const channels = facts.shape[0]!;
  switch (name) {
    case 'standard':
      return [...(cropPadding > 0 ? [crop(cropPadding)] : []), ...(flip ? [randomFlip] : [])];
    case 'crop':
      if (cropPadding > 0) return [crop(cropPadding)];
      throw new NoisefloorError('INVALID_ARGUMENT', `${facts.spec} has no crop padding: leave out the augmentation crop.`);
    case 'flip':
      return [randomFlip];
    case 'resized-crop': {
      const resizedCrop = new ResizedCrop();
      return [(canvas, random) => resizedCrop.apply(canvas, random)];
    }
    case 'autoaugment':
    case 'colour-jitter':
      if (channels === 1 || channels === 3) return [name === 'autoaugment' ? autoAugment : colourJitter];
      throw new NoisefloorError(
        'INVALID_ARGUMENT',
        `The augmentation ${name} needs images of 1 or 3 channels, but ${facts.spec} has ${channels}: leave it out.`,
      );
  }
}

function crop(padding: number): Step {
  return (canvas, random) => randomCrop(canvas, padding, random);
}
