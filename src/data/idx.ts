import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { NoisefloorError } from '../errors.js';
import { readWholeFile } from '../files.js';
import type { Dataset, Split } from './dataset.js';
import { mnistFacts } from './mnist.js';
import { sharedBytes } from './shared.js';

const source =
  'Get the four files of MNIST (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, ' +
  't10k-labels-idx1-ubyte.gz) from https://yann.lecun.com/exdb/mnist/ or a mirror, and name their folder.';

/** An idx file: unsigned bytes with their dimensions, as specified on the page of MNIST. */
export interface IdxArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** MNIST, or a set of the same layout, from the four idx files in a folder, each with or without .gz. */
export async function openMnistFolder(spec: string, folder: string): Promise<Dataset> {
  const train = await readSplit(folder, 'train');
  const test = await readSplit(folder, 't10k');
  return { spec, ...mnistFacts, train, test };
}

/**
 * @param bytes magic number 0x0000080n for n dimensions of unsigned bytes, n sizes as big-endian uint32, the data
 * @param path named in errors
 */
export function parseIdx(bytes: Uint8Array, dimensions: number, path: string): IdxArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = 4 + 4 * dimensions;
  const magic = 0x800 + dimensions;
  if (bytes.length < header) throw invalid(path, `a header of ${header} bytes`, `${bytes.length} bytes`);
  if (view.getUint32(0) !== magic) throw invalid(path, `magic number ${hex(magic)}`, hex(view.getUint32(0)));
  const shape = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i));
  const length = shape.reduce((a, b) => a * b, 1);
  if (bytes.length - header !== length) {
    throw invalid(path, `${length} bytes of data for [${shape.join(', ')}]`, `${bytes.length - header}`);
  }
  return { shape, data: bytes.subarray(header) };
}

async function readSplit(folder: string, prefix: 'train' | 't10k'): Promise<Split> {
  const imagesPath = await findFile(folder, `${prefix}-images`, 'idx3-ubyte');
  const labelsPath = await findFile(folder, `${prefix}-labels`, 'idx1-ubyte');
  const images = parseIdx(await readMaybeGzip(imagesPath), 3, imagesPath);
  const labels = parseIdx(await readMaybeGzip(labelsPath), 1, labelsPath);
  const [count = 0, height, width] = images.shape;
  const [, wantedHeight, wantedWidth] = mnistFacts.shape;
  if (count === 0 || height !== wantedHeight || width !== wantedWidth) {
    throw invalid(imagesPath, `images of ${wantedHeight} x ${wantedWidth}`, `[${images.shape.join(', ')}]`);
  }
  if (labels.shape[0] !== count) throw invalid(labelsPath, `${count} labels`, `${labels.shape[0]}`);
  const wrong = labels.data.findIndex((label) => label >= mnistFacts.classes.length);
  if (wrong >= 0) throw invalid(labelsPath, 'labels from 0 to 9', `${labels.data[wrong]} at image ${wrong}`);
  const shared = sharedBytes(images.data.length);
  shared.set(images.data);
  return { images: shared, labels: labels.data, count };
}

/** The names differ between mirrors: `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, plain or .gz. */
async function findFile(folder: string, stem: string, ending: string): Promise<string> {
  const names = ['-', '.'].flatMap((dash) => [`${stem}${dash}${ending}`, `${stem}${dash}${ending}.gz`]);
  for (const name of names) {
    const path = join(folder, name);
    if (await stat(path).then((found) => found.isFile(), () => false)) return path;
  }
  throw new NoisefloorError('FILE_NOT_FOUND', `No ${names[0]} or ${names[1]} in ${folder}. ${source}`);
}

async function readMaybeGzip(path: string): Promise<Uint8Array> {
  const bytes = await readWholeFile(path, 'MNIST file');
  if (!path.endsWith('.gz')) return bytes;
  try {
    return await promisify(gunzip)(bytes);
  } catch (error) {
    throw new NoisefloorError('INVALID_DATA', `${path} is not a gzip file: ${(error as Error).message}. ${source}`, {
      cause: error,
    });
  }
}

function invalid(path: string, expected: string, actual: string): NoisefloorError {
  return new NoisefloorError('INVALID_DATA', `${path}: expected ${expected} but found ${actual}. ${source}`);
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
