import { invalidArgument } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import type { Random } from '../random.js';
import { elementCount } from '../tensor.js';
import type { Dataset, Split } from './dataset.js';

/**
 * Random crop of the image padded with black (pixel 0) by `cropPadding` on each side, then, where `flip` allows it, a
 * left-right mirror with probability 1/2. Works on bytes, before normalisation, as torchvision's RandomCrop and
 * RandomHorizontalFlip do.
 *
 * @param indices which images of `split`
 * @param shape of one image, [C, H, W]
 * @param out filled and returned when given
 * @returns bytes, [indices.length, C, H, W]
 */
export function augmentBatch(
  split: Split,
  indices: ArrayLike<number>,
  shape: Shape,
  augmentation: Dataset['augmentation'],
  random: Random,
  out: Uint8Array = new Uint8Array(indices.length * elementCount(shape)),
): Uint8Array {
  const size = elementCount(shape);
  const { cropPadding, flip } = augmentation;
  if (!Number.isInteger(cropPadding) || cropPadding < 0) {
    throw invalidArgument('cropPadding', 'whole number >= 0', cropPadding);
  }
  if (out.length !== indices.length * size) throw invalidArgument('out.length', `${indices.length * size}`, out.length);
  for (let i = 0; i < indices.length; i++) {
    const from = indices[i]!;
    const image = split.images.subarray(from * size, (from + 1) * size);
    const top = random.integer(2 * cropPadding + 1) - cropPadding;
    const left = random.integer(2 * cropPadding + 1) - cropPadding;
    const mirror = flip && random.integer(2) === 1;
    shiftImage(image, shape, top, left, mirror, out.subarray(i * size, (i + 1) * size));
  }
  return out;
}

/**
 * Cutout: blanks a square of side `side` around a random pixel of each image, cut off at the border, in place. The
 * blank is the mean pixel, which normalisation turns into 0.
 *
 * @param pixels bytes, [N, C, H, W]
 * @param mean per channel, of pixels in [0, 1]
 */
export function cutoutBatch(pixels: Uint8Array, shape: Shape, side: number, mean: readonly number[], random: Random): void {
  const [channels, height, width] = shape as readonly [number, number, number];
  const size = elementCount(shape);
  for (let start = 0; start < pixels.length; start += size) {
    const top = random.integer(height) - Math.floor(side / 2);
    const left = random.integer(width) - Math.floor(side / 2);
    const [x0, x1] = [Math.max(0, left), Math.min(width, left + side)];
    for (let c = 0; c < channels; c++) {
      const blank = Math.round(mean[c]! * 255);
      for (let y = Math.max(0, top); y < Math.min(height, top + side); y++) {
        const row = start + (c * height + y) * width;
        pixels.fill(blank, row + x0, row + x1);
      }
    }
  }
}

/** out[y][x] = image[y + top][x + left], 0 outside; mirrored left-right after the shift. */
export function shiftImage(
  image: Uint8Array,
  shape: Shape,
  top: number,
  left: number,
  mirror: boolean,
  out: Uint8Array,
): void {
  const [channels, height, width] = shape as readonly [number, number, number];
  const [first, last] = [Math.max(0, -left), Math.min(width, width - left)];
  out.fill(0);
  for (let c = 0; c < channels; c++) {
    for (let y = Math.max(0, -top); y < Math.min(height, height - top); y++) {
      const from = (c * height + y + top) * width + left;
      const row = (c * height + y) * width;
      if (mirror) for (let x = first; x < last; x++) out[row + width - 1 - x] = image[from + x]!;
      else for (let x = first; x < last; x++) out[row + x] = image[from + x]!;
    }
  }
}
