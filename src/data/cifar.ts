import { join } from 'node:path';
import { NoisefloorError } from '../errors.js';
import { readWholeFile } from '../files.js';
import type { Dataset, Split } from './dataset.js';
import { cifar100Classes, cifar10Classes } from './cifarClasses.js';
import { sharedBytes } from './shared.js';

const shape = [3, 32, 32] as const;
const pixels = 3 * 32 * 32;
const augmentation = { cropPadding: 4, flip: true } as const;

interface Layout {
  readonly title: string;
  /** Bytes in front of the pixels of a record; the last of them is the label. */
  readonly labelBytes: number;
  readonly classes: readonly string[];
  readonly namesFile: string;
  readonly trainFiles: readonly string[];
  readonly testFile: string;
  readonly archive: string;
}

const cifar10: Layout = {
  title: 'CIFAR-10',
  labelBytes: 1,
  classes: cifar10Classes,
  namesFile: 'batches.meta.txt',
  trainFiles: [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`),
  testFile: 'test_batch.bin',
  archive: 'cifar-10-binary.tar.gz',
};

const cifar100: Layout = {
  title: 'CIFAR-100',
  labelBytes: 2,
  classes: cifar100Classes,
  namesFile: 'fine_label_names.txt',
  trainFiles: ['train.bin'],
  testFile: 'test.bin',
  archive: 'cifar-100-binary.tar.gz',
};

/** CIFAR-10, binary version: records of 1 label byte and 3 x 32 x 32 pixels. Mean and std as the field uses them. */
export async function openCifar10(spec: string, folder: string): Promise<Dataset> {
  const normalization = { mean: [0.4914, 0.4822, 0.4465], std: [0.2023, 0.1994, 0.201] };
  return { spec, shape, normalization, augmentation, ...(await readLayout(cifar10, folder)) };
}

/** CIFAR-100, binary version: records of a coarse and a fine label byte, of which the fine one is the class. */
export async function openCifar100(spec: string, folder: string): Promise<Dataset> {
  const normalization = {
    mean: [129.3, 124.1, 112.4].map((x) => x / 255),
    std: [68.2, 65.4, 70.4].map((x) => x / 255),
  };
  return { spec, shape, normalization, augmentation, ...(await readLayout(cifar100, folder)) };
}

async function readLayout(layout: Layout, folder: string): Promise<Pick<Dataset, 'classes' | 'train' | 'test'>> {
  const trainFiles: Uint8Array[] = [];
  for (const name of layout.trainFiles) trainFiles.push(await readRecords(layout, join(folder, name)));
  const testFile = await readRecords(layout, join(folder, layout.testFile));
  return {
    classes: await readClasses(layout, folder),
    train: splitRecords(layout, trainFiles),
    test: splitRecords(layout, [testFile]),
  };
}

async function readRecords(layout: Layout, path: string): Promise<Uint8Array> {
  const bytes = await readWholeFile(path, `file of ${layout.title}`).catch((error: unknown) => {
    if (error instanceof NoisefloorError && error.code === 'FILE_NOT_FOUND') {
      throw new NoisefloorError('FILE_NOT_FOUND', `${error.message} ${source(layout)}`, { cause: error });
    }
    throw error;
  });
  const record = layout.labelBytes + pixels;
  if (bytes.length === 0 || bytes.length % record !== 0) {
    throw invalid(layout, path, `a multiple of ${record} bytes (one record an image)`, `${bytes.length} bytes`);
  }
  for (let at = layout.labelBytes - 1; at < bytes.length; at += record) {
    if (bytes[at]! >= layout.classes.length) {
      const image = Math.floor(at / record);
      throw invalid(layout, path, `labels from 0 to ${layout.classes.length - 1}`, `${bytes[at]} at image ${image}`);
    }
  }
  return bytes;
}

function splitRecords(layout: Layout, files: readonly Uint8Array[]): Split {
  const record = layout.labelBytes + pixels;
  const count = files.reduce((sum, file) => sum + file.length / record, 0);
  const images = sharedBytes(count * pixels);
  const labels = new Uint8Array(count);
  let image = 0;
  for (const file of files) {
    for (let at = 0; at < file.length; at += record, image++) {
      labels[image] = file[at + layout.labelBytes - 1]!;
      images.set(file.subarray(at + layout.labelBytes, at + record), image * pixels);
    }
  }
  return { images, labels, count };
}

/** The file of names is optional: without it the published names are used. */
async function readClasses(layout: Layout, folder: string): Promise<readonly string[]> {
  const path = join(folder, layout.namesFile);
  const text = await readWholeFile(path, 'class names').catch((error: unknown) => {
    if (error instanceof NoisefloorError && error.code === 'FILE_NOT_FOUND') return undefined;
    throw error;
  });
  if (text === undefined) return layout.classes;
  const names = text.toString('utf8').split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== '');
  if (names.length !== layout.classes.length) {
    throw invalid(layout, path, `${layout.classes.length} names, one a line`, `${names.length}`);
  }
  return names;
}

function invalid(layout: Layout, path: string, expected: string, actual: string): NoisefloorError {
  return new NoisefloorError('INVALID_DATA', `${path}: expected ${expected} but found ${actual}. ${source(layout)}`);
}

function source(layout: Layout): string {
  return (
    `Get ${layout.archive} from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it, ` +
    `and name the folder that holds ${layout.trainFiles[0]}.`
  );
}
