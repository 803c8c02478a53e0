import { describe, expect, it } from 'vitest';
import { autoAugment } from '../../src/data/augment/autoAugment.js';
import { Canvas } from '../../src/data/augment/canvas.js';
import { colourJitter } from '../../src/data/augment/colourJitter.js';
import { cutout } from '../../src/data/augment/cutout.js';
import { cutmix } from '../../src/data/augment/cutmix.js';
import { mirror, shift } from '../../src/data/augment/geometry.js';
import { mixBatch, mixes } from '../../src/data/augment/mixing.js';
import { mixup } from '../../src/data/augment/mixup.js';
import { Augmenter, checkAugmentations, type AugmentationName, type ImageFacts } from '../../src/data/augment/pipeline.js';
import { ResizedCrop } from '../../src/data/augment/resizedCrop.js';
import type { Split } from '../../src/data/dataset.js';
import { Random } from '../../src/random.js';

function paint(shape: readonly number[], pixels: ArrayLike<number>): Canvas {
  const canvas = new Canvas(shape);
  canvas.pixels.set(pixels);
  return canvas;
}

function facts(shape: readonly number[], cropPadding: number, flip: boolean): ImageFacts {
  const mean = shape[0] === 1 ? [0.5] : [0.5, 0.25, 0.75];
  return { spec: 'test', shape, normalization: { mean, std: mean }, augmentation: { cropPadding, flip } };
}

const nine = Uint8Array.from({ length: 9 }, (_, i) => i + 1);

describe('crop and flip', () => {
  it('shift and mirror as worked out by hand', () => {
    const canvas = paint([1, 3, 3], nine);
    shift(canvas, 1, -1);
    expect([...canvas.pixels]).toEqual([0, 4, 5, 0, 7, 8, 0, 0, 0]);
    mirror(canvas);
    expect([...canvas.pixels]).toEqual([5, 4, 0, 8, 7, 0, 0, 0, 0]);
  });

  it('move all channels of an image together', () => {
    const canvas = paint([2, 2, 2], [1, 2, 3, 4, 11, 12, 13, 14]);
    shift(canvas, 0, 1);
    expect([...canvas.pixels]).toEqual([2, 0, 4, 0, 12, 0, 14, 0]);
  });

  it('draw every offset, mirror half of the time, repeat for a seed', () => {
    const split: Split = { images: nine, labels: new Uint8Array(1), count: 1 };
    const augmenter = new Augmenter(facts([1, 3, 3], 1, true), { augment: ['standard'], cutout: 0 });
    const draw = (seed: number): string[] => {
      const random = new Random(seed);
      const out = new Uint8Array(9);
      return Array.from({ length: 400 }, () => (augmenter.apply(split, [0], random, out), out.join()));
    };
    const variants = new Set<string>();
    for (const flipped of [false, true]) {
      for (let top = -1; top <= 1; top++) {
        for (let left = -1; left <= 1; left++) {
          const canvas = paint([1, 3, 3], nine);
          shift(canvas, top, left);
          if (flipped) mirror(canvas);
          variants.add(canvas.pixels.join());
        }
      }
    }
    expect(variants.size).toBe(18);
    expect(new Set(draw(1))).toEqual(variants);
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });
});

describe('cutout', () => {
  it('blanks one square of the mean pixel in all channels, cut off at the border', () => {
    const random = new Random(1);
    for (let n = 0; n < 40; n++) {
      const canvas = paint([2, 8, 8], new Uint8Array(128).fill(7));
      cutout(canvas, 4, [0.5, 0.25], random);
      const [first, second] = [canvas.pixels.subarray(0, 64), canvas.pixels.subarray(64)];
      const blanked = Array.from(first, (pixel) => pixel === 128);
      const count = blanked.filter(Boolean).length;
      expect(count).toBeGreaterThanOrEqual(4);
      expect(count).toBeLessThanOrEqual(16);
      expect(Array.from(second, (pixel) => pixel === 64)).toEqual(blanked);
      expect(first.filter((pixel) => pixel === 7)).toHaveLength(64 - count);
    }
  });
});

describe('AutoAugment', () => {
  it('changes most images, in every way that its sub-policies can, and repeats for a seed', () => {
    const picture = Uint8Array.from({ length: 3 * 400 }, (_, i) => 40 + (i * 7) % 150);
    const draw = (seed: number): string[] => {
      const random = new Random(seed);
      return Array.from({ length: 300 }, () => {
        const canvas = paint([3, 20, 20], picture);
        autoAugment(canvas, random);
        return canvas.pixels.join();
      });
    };
    const drawn = draw(4);
    expect(new Set(drawn).size).toBeGreaterThan(40);
    const unchanged = drawn.filter((image) => image === picture.join()).length;
    expect(unchanged).toBeGreaterThan(15);
    expect(unchanged).toBeLessThan(120);
    expect(draw(4)).toEqual(drawn);
  });
});

describe('RandomResizedCrop and colour jitter', () => {
  it('a crop of a ramp is a ramp over part of its range, and spans what the area allows', () => {
    const ramp = Uint8Array.from({ length: 64 * 64 }, (_, i) => 4 * (i % 64));
    const random = new Random(2);
    const resizedCrop = new ResizedCrop();
    const spans = Array.from({ length: 300 }, () => {
      const canvas = paint([1, 64, 64], ramp);
      resizedCrop.apply(canvas, random);
      const row = [...canvas.pixels.subarray(0, 64)];
      expect(row).toEqual([...row].sort((a, b) => a - b));
      expect([...canvas.pixels.subarray(63 * 64)]).toEqual(row);
      return (row[63]! - row[0]!) / 252;
    });
    // sqrt(0.08 x 3/4) of the width is the least, all of it the most.
    expect(Math.min(...spans)).toBeGreaterThan(0.22);
    expect(Math.min(...spans)).toBeLessThan(0.35);
    expect(Math.max(...spans)).toBe(1);
  });

  it('of an image too oblong for any ratio takes the central box', () => {
    const wide = Uint8Array.from({ length: 4 * 100 }, (_, i) => i % 100);
    const canvas = paint([1, 4, 100], wide);
    // Each attempt of this area is wider than 4 pixels are high.
    new ResizedCrop().apply(canvas, { uniform: () => 0.99, integer: () => 0 } as unknown as Random);
    expect(canvas.pixels[0]).toBe(47);
    expect(canvas.pixels[99]).toBe(51);
  });

  it('jitter keeps grey images grey and changes colours; a seed repeats it', () => {
    const grey = paint([3, 4, 4], new Uint8Array(48).fill(100));
    colourJitter(grey, new Random(1));
    expect(new Set(grey.pixels).size).toBe(1);
    const draw = (seed: number): string => {
      const canvas = paint([3, 4, 4], Uint8Array.from({ length: 48 }, (_, i) => 5 * i));
      colourJitter(canvas, new Random(seed));
      return canvas.pixels.join();
    };
    expect(new Set([1, 2, 3, 4].map(draw)).size).toBe(4);
    expect(draw(1)).toBe(draw(1));
  });
});

describe('Mixup', () => {
  it('mixes each image with its partner by one weight, rounded', () => {
    const pixels = Uint8Array.from({ length: 60 }, (_, i) => (37 * i) % 256);
    const before = pixels.slice();
    const { partners, weight } = mixup(pixels, 10, 0.4, new Random(3));
    expect([...partners].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const expected = Array.from({ length: 60 }, (_, i) => {
      const other = partners[Math.floor(i / 6)]! * 6 + (i % 6);
      return Math.round(weight * before[i]! + (1 - weight) * before[other]!);
    });
    expect([...pixels]).toEqual(expected);
  });

  it.each([0.05, 0.2, 1, 4])('draws weights of Beta(%f, same): mean 1/2, variance 1 / (4 (2 alpha + 1))', (alpha) => {
    const random = new Random(9);
    const count = 20_000;
    const weights = Array.from({ length: count }, () => mixup(new Uint8Array(1), 1, alpha, random).weight);
    const mean = weights.reduce((a, b) => a + b) / count;
    const variance = weights.reduce((sum, w) => sum + (w - mean) ** 2, 0) / count;
    expect(weights.every((w) => w >= 0 && w <= 1)).toBe(true);
    expect(mean).toBeCloseTo(0.5, 1);
    expect(variance * 4 * (2 * alpha + 1)).toBeGreaterThan(0.96);
    expect(variance * 4 * (2 * alpha + 1)).toBeLessThan(1.04);
  });
});

describe('cutmix', () => {
  const shape = [2, 6, 8];
  const size = 96;
  const count = 5;

  it('puts one box of each partner into each image, and its part of the image into the weight', () => {
    const random = new Random(4);
    for (let round = 0; round < 200; round++) {
      // Every pixel says which image it came from and where it was.
      const pixels = Uint8Array.from({ length: count * size }, (_, i) => Math.floor(i / size) * 48 + (i % 48));
      const { partners, weight } = cutmix(pixels, shape, 1, random);
      expect([...partners].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
      const inside = Array.from({ length: 48 }, (_, at) => [...partners].some((partner, i) => partner !== i && pixels[i * size + at] === partner * 48 + at));
      for (let i = 0; i < count * size; i++) {
        const [image, at] = [Math.floor(i / size), i % 48];
        expect(pixels[i]).toBe((inside[at] ? partners[image]! : image) * 48 + at);
      }
      const rows = [0, 1, 2, 3, 4, 5].map((y) => inside.slice(8 * y, 8 * y + 8));
      const columns = rows[0]!.map((_, x) => rows.some((row) => row[x]));
      for (const row of rows) if (row.includes(true)) expect(row).toEqual(columns);
      if (partners.some((partner, i) => partner !== i)) expect(weight).toBeCloseTo(1 - inside.filter(Boolean).length / 48, 12);
    }
  });

  it('cuts boxes of every size, the mean area of uniform lambda being under one half, since borders cut some off', () => {
    const random = new Random(8);
    const weights = Array.from({ length: 4000 }, () => cutmix(new Uint8Array(1024), [1, 32, 32], 1, random).weight);
    const mean = weights.reduce((a, b) => a + b) / weights.length;
    // The mean of f(s)^2 over s = sqrt(u), f(s) = s (1 - s / 4) being the part of a side s around a uniform centre that is inside.
    expect(1 - mean).toBeGreaterThan(0.3);
    expect(1 - mean).toBeLessThan(0.36);
    expect(Math.min(...weights)).toBeLessThan(0.2);
    expect(Math.max(...weights)).toBe(1);
  });
});

describe('mixing', () => {
  it('leaves batches alone as often as it is told, and takes either kind as often where both are asked for', () => {
    const random = new Random(2);
    const shape = [1, 4, 4];
    const kinds = { none: 0, mixup: 0, cutmix: 0 };
    for (let i = 0; i < 3000; i++) {
      const pixels = Uint8Array.from({ length: 64 }, (_, at) => (at < 16 ? 0 : at < 32 ? 80 : at < 48 ? 160 : 240));
      const { weight } = mixBatch(pixels, shape, { mixup: 4, cutmix: 4, mixProbability: 0.4 }, random);
      const whole = pixels.every((pixel) => pixel % 80 === 0);
      kinds[weight === 1 ? 'none' : whole ? 'cutmix' : 'mixup']++;
    }
    expect(kinds.none / 3000).toBeGreaterThan(0.56);
    expect(kinds.none / 3000).toBeLessThan(0.66);
    expect(Math.abs(kinds.mixup - kinds.cutmix)).toBeLessThan(200);
    expect([mixes({}), mixes({ mixup: 0.2 }), mixes({ cutmix: 1 })]).toEqual([false, true, true]);
  });

  it('mixup alone draws what it drew before there was another kind', () => {
    const [alone, mixed] = [0, 1].map(() => Uint8Array.from({ length: 60 }, (_, i) => (37 * i) % 256)) as [Uint8Array, Uint8Array];
    const expected = mixup(alone, 10, 0.4, new Random(3));
    expect(mixBatch(mixed, [1, 2, 3], { mixup: 0.4 }, new Random(3))).toEqual(expected);
    expect(mixed).toEqual(alone);
  });
});

describe('the pipeline', () => {
  const split: Split = { images: Uint8Array.from({ length: 36 }, (_, i) => i), labels: new Uint8Array(3), count: 3 };

  it('without augmentations gives the images at the indices', () => {
    const out = new Uint8Array(24);
    new Augmenter(facts([3, 2, 2], 0, false), { augment: [], cutout: 0 }).apply(split, [2, 0], new Random(0), out);
    expect([...out]).toEqual([24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it('standard does what the data set publishes: nothing, where it publishes nothing', () => {
    const out = new Uint8Array(12);
    new Augmenter(facts([3, 2, 2], 0, false), { augment: ['standard'], cutout: 0 }).apply(split, [1], new Random(0), out);
    expect([...out]).toEqual([...split.images.subarray(12, 24)]);
  });

  it('puts names in order and refuses unknown ones and pairs that do the same', () => {
    expect(checkAugmentations(['autoaugment', 'flip', 'crop'])).toEqual(['crop', 'flip', 'autoaugment']);
    expect(checkAugmentations([])).toEqual([]);
    expect(() => checkAugmentations(['randaugment'])).toThrow(/Unknown augmentation "randaugment"\. Should be one of: standard, resized-crop, crop/);
    expect(() => checkAugmentations(['standard', 'flip'])).toThrow(/standard and flip do the same twice/);
    expect(() => checkAugmentations(['crop', 'resized-crop'])).toThrow(/crop and resized-crop do the same twice/);
    expect(() => checkAugmentations(true as never)).toThrow(/list of augmentations/);
  });

  it('refuses what does not suit the data set, indices out of range and room of another size', () => {
    const open = (shape: readonly number[], ...augment: AugmentationName[]) => new Augmenter(facts(shape, 0, false), { augment, cutout: 0 });
    expect(() => open([3, 2, 2], 'crop')).toThrow(/no crop padding/);
    expect(() => open([4, 2, 2], 'autoaugment')).toThrow(/1 or 3 channels, but test has 4/);
    expect(() => open([2, 2, 2], 'colour-jitter')).toThrow(/1 or 3 channels/);
    expect(() => open([12])).toThrow(/for shape/);
    expect(() => open([3, 2, 2]).apply(split, [3], new Random(0), new Uint8Array(12))).toThrow(/Expected 0 to 2 for indices\[0\]/);
    expect(() => open([3, 2, 2]).apply(split, [0], new Random(0), new Uint8Array(11))).toThrow(/for out.length/);
  });
});
