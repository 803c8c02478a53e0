import { invalidArgument } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import { elementCount } from '../tensor.js';
import type { Normalization, Split } from './dataset.js';

/**
 * Pixels to network input: (pixel / 255 - mean) / std per channel, rounded to float32.
 *
 * @param images bytes, [N, C, H, W]
 * @param shape of one image, [C, H, W]
 * @param out filled and returned when given; its length must be that of `images`
 */
export function normalizeImages(
  images: Uint8Array,
  normalization: Normalization,
  shape: Shape,
  out: Float32Array = new Float32Array(images.length),
): Float32Array {
  if (out.length !== images.length) throw invalidArgument('out.length', String(images.length), out.length);
  const [channels, plane] = checkShape(images.length, normalization, shape);
  const tables = lookupTables(normalization, channels);
  for (let at = 0, channel = 0; at < images.length; at += plane, channel = (channel + 1) % channels) {
    const table = tables[channel]!;
    for (let i = at; i < at + plane; i++) out[i] = table[images[i]!]!;
  }
  return out;
}

/** {@link normalizeImages} of the images at `indices`, [indices.length, C, H, W]. */
export function normalizeBatch(
  split: Split,
  indices: ArrayLike<number>,
  normalization: Normalization,
  shape: Shape,
  out?: Float32Array,
): Float32Array {
  return normalizeImages(gatherImages(split, indices, elementCount(shape)), normalization, shape, out);
}

/** {@link normalizeImages} of the images from `start` up to `end`, without a copy of the bytes. */
export function normalizeRange(
  split: Split,
  start: number,
  end: number,
  normalization: Normalization,
  shape: Shape,
): Float32Array {
  const size = elementCount(shape);
  return normalizeImages(split.images.subarray(start * size, end * size), normalization, shape);
}

/** Indices 0 to count - 1 in slices of `batchSize`, the last one smaller. */
export function* batchRanges(count: number, batchSize: number): Generator<readonly [start: number, end: number]> {
  if (!Number.isInteger(batchSize) || batchSize < 1) throw invalidArgument('batchSize', 'whole number >= 1', batchSize);
  for (let start = 0; start < count; start += batchSize) yield [start, Math.min(count, start + batchSize)];
}

function gatherImages(split: Split, indices: ArrayLike<number>, size: number): Uint8Array {
  const images = new Uint8Array(indices.length * size);
  for (let i = 0; i < indices.length; i++) {
    const from = indices[i]!;
    if (!(from >= 0 && from < split.count)) throw invalidArgument(`indices[${i}]`, `0 to ${split.count - 1}`, from);
    images.set(split.images.subarray(from * size, (from + 1) * size), i * size);
  }
  return images;
}

function checkShape(length: number, normalization: Normalization, shape: Shape): [channels: number, plane: number] {
  const channels = shape[0] ?? 0;
  if (shape.length !== 3 || length % elementCount(shape) !== 0) {
    throw invalidArgument('shape', `[C, H, W] that divides ${length} pixels`, [...shape]);
  }
  for (const name of ['mean', 'std'] as const) {
    if (normalization[name].length !== channels) {
      throw invalidArgument(`normalization.${name}`, `${channels} values, one a channel`, [...normalization[name]]);
    }
  }
  return [channels, elementCount(shape) / channels];
}

function lookupTables(normalization: Normalization, channels: number): Float32Array[] {
  return Array.from({ length: channels }, (_, c) =>
    Float32Array.from({ length: 256 }, (_, pixel) => (pixel / 255 - normalization.mean[c]!) / normalization.std[c]!),
  );
}
