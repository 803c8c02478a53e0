import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { resizeAndCrop, type Pixels } from '../../src/data/resample.js';
import { binding } from '../../src/native.js';
import { Random } from '../../src/random.js';
import { resizeAndCrop as reference } from '../support/resampleReference.js';

function picture(seed: number, width: number, height: number, channels: 1 | 3): Pixels {
  const random = new Random(seed);
  // Black and white pixels among others: bicubic overshoots there and must be clamped.
  const data = Uint8Array.from({ length: width * height * channels }, () => [0, 255, random.integer(256)][random.integer(3)]!);
  return { data, width, height, channels };
}

describe('resizeAndCrop', () => {
  test('is the reference, bit for bit, for any sizes', async () => {
    const sizes = fc.record({
      seed: fc.nat(1000),
      width: fc.integer({ min: 1, max: 90 }),
      height: fc.integer({ min: 1, max: 90 }),
      channels: fc.constantFrom(1 as const, 3 as const),
      crop: fc.integer({ min: 1, max: 40 }),
      more: fc.integer({ min: 0, max: 20 }),
      interpolation: fc.constantFrom('bilinear' as const, 'bicubic' as const),
    });
    await fc.assert(fc.asyncProperty(sizes, async ({ seed, width, height, channels, crop, more, interpolation }) => {
      const preprocessing = { resize: crop + more, crop, interpolation };
      const pixels = picture(seed, width, height, channels);
      expect(await resizeAndCrop(pixels, preprocessing)).toEqual(reference(pixels, preprocessing));
    }), { numRuns: 300 });
  });

  test('the addon refuses taps outside the picture, and pixels that are not as many as it says', () => {
    const addon = binding();
    const taps = (first: number, count: number, weights: number) => ({ first: Int32Array.of(first), count: Int32Array.of(count), weights: new Int32Array(weights) });
    const fine = taps(0, 2, 2);
    for (const bad of [taps(-1, 2, 2), taps(1, 2, 2), taps(0, 0, 0), taps(0, 2, 1), taps(2147483647, 2, 2)]) {
      expect(() => addon.resample(new Uint8Array(4), 2, 2, 1, bad, fine)).toThrow(/taps within the picture for columns/);
      expect(() => addon.resample(new Uint8Array(4), 2, 2, 1, fine, bad)).toThrow(/taps within the picture for rows/);
    }
    for (const [width, height, channels] of [[2, 2, 3], [2, 3, 1], [0, 2, 1], [2, 2, 2]] as const) {
      expect(() => addon.resample(new Uint8Array(4), width, height, channels, fine, fine)).toThrow(/height x width pixels of 1 or 3 channels/);
    }
  });
});
