import type { Dataset, Split } from '../data/dataset.js';
import { firstImages, splitValidation } from '../data/split.js';
import { refused } from '../errors.js';
import type { TrainConfig } from './options.js';
import { deriveSeed, seedUse } from './seeds.js';

/** What decides which images are held out. */
export type SplitOptions = Pick<TrainConfig, 'seed' | 'validation' | 'limit'>;

export interface Parts {
  readonly train: Split;
  /** Undefined where nothing is held out. */
  readonly validation: Split | undefined;
}

/** The training images of a data set in those that train and those held out. */
export function takeParts(data: Dataset, { limit, validation, seed }: SplitOptions): Parts {
  const images = firstImages(data.train, limit);
  if (validation === 0) return { train: images, validation: undefined };
  return splitValidation(images, validation, deriveSeed(seed, seedUse.validation), 'validation');
}

/**
 * The images that were held out while a network was trained: to choose between networks, thresholds or numbers of steps, which
 * the test images must not.
 *
 * @param provenance of the trained network, or of the spiking model converted from it
 * @throws NoisefloorError `INVALID_ARGUMENT` where it was not trained here, or with no image held out
 */
export function heldOutImages(data: Dataset, provenance: Readonly<Record<string, unknown>>): Split {
  const options = splitOf(provenance);
  if (!options) throw refused('The model does not say which images were held out of its training: give one that was trained here.');
  const { validation } = takeParts(data, options);
  if (!validation) throw refused('The model was trained with no image held out (validation 0): choose with one that held some out.');
  return validation;
}

/** Undefined for a network of elsewhere. */
export function splitOf({ training }: Readonly<Record<string, unknown>>): SplitOptions | undefined {
  const { seed, validation, limit } = (training ?? {}) as Partial<SplitOptions>;
  if (typeof seed !== 'number' || typeof validation !== 'number') return undefined;
  return { seed, validation, ...(typeof limit === 'number' ? { limit } : {}) };
}
