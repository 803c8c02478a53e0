import { invalidArgument } from '../errors.js';
import { Random } from '../random.js';
import type { Split } from './dataset.js';
import { sharedBytes } from './shared.js';

/** The images at `indices`, copied, in that order; the bytes are shared between threads. */
export function takeImages(split: Split, indices: ArrayLike<number>): Split {
  const size = split.count === 0 ? 0 : split.images.length / split.count;
  const images = sharedBytes(indices.length * size);
  const labels =
    split.labels instanceof Uint8Array ? new Uint8Array(indices.length) : new Uint16Array(indices.length);
  for (let i = 0; i < indices.length; i++) {
    const from = indices[i]!;
    images.set(split.images.subarray(from * size, (from + 1) * size), i * size);
    labels[i] = split.labels[from]!;
  }
  return { images, labels, count: indices.length };
}

/**
 * Draws `heldOut` of the images so that each class keeps its share (largest remainder; a tie goes to the lower class).
 * Both parts come shuffled, and depend on the labels and the seed only.
 */
export function stratifiedIndices(
  labels: ArrayLike<number>,
  heldOut: number,
  seed: number,
): { kept: Uint32Array; held: Uint32Array } {
  const random = new Random(seed);
  const classes = groupByClass(labels);
  for (const members of classes) random.shuffle(members);
  const shares = largestRemainder(classes.map((members) => members.length), heldOut);
  const kept = concatenate(classes.map((members, k) => members.subarray(shares[k])));
  const held = concatenate(classes.map((members, k) => members.subarray(0, shares[k])));
  random.shuffle(kept);
  random.shuffle(held);
  return { kept, held };
}

/**
 * Takes a stratified validation part out of a training split.
 *
 * @param size a fraction in (0, 1) or a number of images from 1 to count - 1
 * @param seed decides the draw; the same seed gives the same parts
 * @param name of `size` in an error, where the caller calls it otherwise
 */
export function splitValidation(split: Split, size: number, seed: number, name = 'size'): { train: Split; validation: Split } {
  const count = size < 1 ? Math.round(split.count * size) : size;
  if (!Number.isInteger(count) || count < 1 || count >= split.count) {
    throw invalidArgument(name, `fraction in (0, 1) or number of images from 1 to ${split.count - 1}`, size);
  }
  const { kept, held } = stratifiedIndices(split.labels, count, seed);
  return { train: takeImages(split, kept), validation: takeImages(split, held) };
}

/** The first `limit` images; all of them without a limit. */
export function firstImages(split: Split, limit?: number): Split {
  if (limit === undefined || limit >= split.count) return split;
  if (!Number.isInteger(limit) || limit < 1) throw invalidArgument('limit', 'whole number >= 1', limit);
  const size = split.images.length / split.count;
  return { images: split.images.subarray(0, limit * size), labels: split.labels.subarray(0, limit), count: limit };
}

function groupByClass(labels: ArrayLike<number>): Uint32Array[] {
  const groups: number[][] = [];
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    while (groups.length <= label) groups.push([]);
    groups[label]!.push(i);
  }
  return groups.map((group) => Uint32Array.from(group));
}

function largestRemainder(sizes: readonly number[], total: number): number[] {
  const sum = sizes.reduce((a, b) => a + b, 0);
  const exact = sizes.map((size) => (size * total) / sum);
  const shares = exact.map(Math.floor);
  const missing = total - shares.reduce((a, b) => a + b, 0);
  const byRemainder = exact.map((value, k) => ({ k, rest: value - Math.floor(value) }));
  byRemainder.sort((a, b) => b.rest - a.rest || a.k - b.k);
  for (const { k } of byRemainder.slice(0, missing)) shares[k]!++;
  return shares;
}

function concatenate(parts: readonly Uint32Array[]): Uint32Array {
  const all = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
