import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { batchRanges, normalizeBatch, normalizeImages, normalizeRange } from '../src/data/batches.js';
import type { Split } from '../src/data/dataset.js';
import { readImages } from '../src/data/images.js';
import { firstImages, splitValidation, stratifiedIndices, takeImages } from '../src/data/split.js';

/** Pixels of image n are n * size + i, so that any mix-up of images, channels or pixels shows. */
function countingSplit(count: number, size: number, classes = 3): Split {
  return {
    images: Uint8Array.from({ length: count * size }, (_, i) => i % 256),
    labels: Uint8Array.from({ length: count }, (_, i) => i % classes),
    count,
  };
}

describe('normalisation', () => {
  const normalization = { mean: [0.5, 0.25], std: [0.5, 0.2] };
  const shape = [2, 1, 3];

  it('is (pixel / 255 - mean) / std per channel, rounded to float32', () => {
    const split = countingSplit(4, 6);
    const batch = normalizeBatch(split, [2, 0], normalization, shape);
    const expected = [12, 13, 14, 15, 16, 17, 0, 1, 2, 3, 4, 5].map((pixel, i) => {
      const channel = Math.floor(i / 3) % 2;
      return Math.fround((pixel / 255 - normalization.mean[channel]!) / normalization.std[channel]!);
    });
    expect([...batch]).toEqual(expected);
    expect([...normalizeRange(split, 2, 3, normalization, shape)]).toEqual(expected.slice(0, 6));
  });

  it('fills the buffer that it is given and refuses one of another length', () => {
    const split = countingSplit(2, 6);
    const out = new Float32Array(6);
    expect(normalizeBatch(split, [1], normalization, shape, out)).toBe(out);
    expect(() => normalizeBatch(split, [0, 1], normalization, shape, out)).toThrow(/Expected 12 for out.length/);
  });

  it('refuses indices, shapes and means that do not fit', () => {
    const split = countingSplit(2, 6);
    expect(() => normalizeBatch(split, [2], normalization, shape)).toThrow(/Expected 0 to 1 for indices\[0\]/);
    expect(() => normalizeImages(split.images, normalization, [5, 1, 1])).toThrow(/for shape/);
    expect(() => normalizeImages(split.images, { mean: [0], std: [1, 1] }, shape)).toThrow(/for normalization.mean/);
  });

  it('cuts ranges with a smaller last one', () => {
    expect([...batchRanges(7, 3)]).toEqual([[0, 3], [3, 6], [6, 7]]);
    expect(() => [...batchRanges(7, 0)]).toThrow(/batchSize/);
  });
});

describe('splits', () => {
  it('keeps the share of every class and loses no image', () => {
    const labels = Uint8Array.from({ length: 100 }, (_, i) => (i < 50 ? 0 : i < 80 ? 1 : 2));
    const { kept, held } = stratifiedIndices(labels, 10, 4);
    expect([...kept, ...held].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    const perClass = [0, 1, 2].map((k) => held.filter((i) => labels[i] === k).length);
    expect(perClass).toEqual([5, 3, 2]);
    expect([...stratifiedIndices(labels, 10, 5).held]).not.toEqual([...held]);
  });

  it('shares out by largest remainder', () => {
    const labels = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2];
    const { held } = stratifiedIndices(labels, 4, 0);
    expect([0, 1, 2].map((k) => held.filter((i) => labels[i] === k).length)).toEqual([1, 1, 2]);
  });

  it('splits by fraction or by count, with images still on their labels', () => {
    const split = countingSplit(30, 4);
    const { train, validation } = splitValidation(split, 0.1, 9);
    expect([train.count, validation.count]).toEqual([27, 3]);
    expect([...validation.labels].sort()).toEqual([0, 1, 2]);
    for (let i = 0; i < train.count; i++) expect((train.images[i * 4]! / 4) % 3).toBe(train.labels[i]);
    expect(splitValidation(split, 3, 9).validation).toEqual(validation);
    for (const size of [0, 30, 1.5, -1, 0.001]) expect(() => splitValidation(split, size, 0)).toThrow(/for size/);
  });

  it('takes images in the order asked for and the first of them', () => {
    const split = countingSplit(5, 2);
    expect([...takeImages(split, [4, 1]).images]).toEqual([8, 9, 2, 3]);
    expect(firstImages(split, 2).count).toBe(2);
    expect([...firstImages(split, 2).images]).toEqual([0, 1, 2, 3]);
    expect(firstImages(split, 9)).toBe(split);
    expect(() => firstImages(split, 0)).toThrow(/limit/);
  });
});

describe('pictures', () => {
  it('scales to cover, crops at the centre, makes planes, and grey where the model has one channel', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'noisefloor-pictures-'));
    try {
      const path = join(folder, 'wide.png');
      // 8 x 4: black columns left and right, a red centre of 4 x 4.
      const pixels = Buffer.alloc(8 * 4 * 3);
      for (let y = 0; y < 4; y++) for (let x = 2; x < 6; x++) pixels[(y * 8 + x) * 3] = 255;
      await sharp(pixels, { raw: { width: 8, height: 4, channels: 3 } }).png().toFile(path);
      const colour = await readImages([path], [3, 4, 4]);
      expect([...colour]).toEqual([...new Array<number>(16).fill(255), ...new Array<number>(32).fill(0)]);
      const grey = await readImages([path, path], [1, 2, 2]);
      expect(grey).toHaveLength(8);
      expect(new Set(grey).size).toBe(1);
      expect(grey[0]).toBeGreaterThan(30);
      expect(grey[0]).toBeLessThan(200);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('says what is wrong with a file or a shape', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'noisefloor-pictures-'));
    try {
      const path = join(folder, 'note.png');
      await writeFile(path, 'not a picture');
      await expect(readImages([path], [3, 4, 4])).rejects.toMatchObject({ code: 'INVALID_DATA' });
      await expect(readImages([join(folder, 'none.png')], [3, 4, 4])).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
      await expect(readImages([path], [2, 4, 4])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
