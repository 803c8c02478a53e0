import type { Dataset, Split } from '../data/dataset.js';
import { specKind } from '../data/spec.js';
import { firstImages, splitValidation } from '../data/split.js';
import { refused } from '../errors.js';
import type { TrainConfig } from './options.js';
import { deriveSeed, seedUse } from './seeds.js';

/** What decides which images are held out. */
export type SplitOptions = Pick<TrainConfig, 'seed' | 'validation' | 'limit'>;

/** Which images were held out, of which kind of data set ({@link specKind}). */
export interface KnownSplit extends SplitOptions {
  readonly data: string;
}

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
 * @throws NoisefloorError `INVALID_ARGUMENT` where it was not trained here, on another kind of data set or with no image held out,
 * or where it was calibrated, which takes training images whether held out or not
 */
export function heldOutImages(data: Dataset, provenance: Readonly<Record<string, unknown>>): Split {
  const split = splitOf(provenance);
  if (!split) throw refused('The model does not say which images were held out of its training: give one that was trained here.');
  if (provenance['calibration'] !== undefined) throw refused('The model was calibrated on training images, those held out of training among them: give one that needs no calibration.');
  if (split.data !== specKind(data.spec)) throw refused(`The model was trained on ${split.data}, not on ${specKind(data.spec)}: other images were held out. Give the data set it was trained on.`);
  const { validation } = takeParts(data, split);
  if (!validation) throw refused('The model was trained with no image held out (validation 0): choose with one that held some out.');
  return validation;
}

/** Undefined for a network of elsewhere. */
export function splitOf({ data, training }: Readonly<Record<string, unknown>>): KnownSplit | undefined {
  const { seed, validation, limit } = (training ?? {}) as Partial<SplitOptions>;
  if (typeof data !== 'string' || typeof seed !== 'number' || typeof validation !== 'number') return undefined;
  return { data: specKind(data), seed, validation, ...(typeof limit === 'number' ? { limit } : {}) };
}
