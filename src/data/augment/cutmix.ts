import type { Random } from '../../random.js';
import { elementCount } from '../../tensor.js';
import { drawPartners, type Mixture } from './mixture.js';

/**
 * CutMix (Yun et al. 2019) of a batch, in place: a box of each image comes from another image of the batch. With lambda drawn
 * from Beta(alpha, alpha) the box has sides sqrt(1 - lambda) H and sqrt(1 - lambda) W, rounded down to even numbers, around a random pixel, cut
 * off at the border; the weight is the part of the image that is left. One box a batch, as in the authors' code.
 *
 * @param pixels bytes, [count, C, H, W]
 * @param shape [C, H, W]
 */
export function cutmix(pixels: Uint8Array, shape: readonly number[], alpha: number, random: Random): Mixture {
  const [channels, height, width] = shape as [number, number, number];
  const size = elementCount(shape);
  const side = Math.sqrt(1 - random.beta(alpha));
  const [top, bottom] = range(height, side, random);
  const [left, right] = range(width, side, random);
  const partners = drawPartners(pixels.length / size, random);
  const original = pixels.slice();
  for (const [i, partner] of partners.entries()) {
    for (let c = 0; c < channels; c++) {
      for (let y = top; y < bottom; y++) {
        const row = (c * height + y) * width;
        pixels.set(original.subarray(partner * size + row + left, partner * size + row + right), i * size + row + left);
      }
    }
  }
  return { partners, weight: 1 - ((bottom - top) * (right - left)) / (height * width) };
}

function range(extent: number, side: number, random: Random): [begin: number, end: number] {
  const half = Math.floor(Math.floor(extent * side) / 2);
  const centre = random.integer(extent);
  return [Math.max(0, centre - half), Math.min(extent, centre + half)];
}
