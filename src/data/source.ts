import { invalidArgument, NoisefloorError } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import { elementCount } from '../tensor.js';
import { batchRanges } from './batches.js';
import type { Split } from './dataset.js';

/** An image that could not be decoded. */
export interface DamagedImage {
  readonly name: string;
  readonly reason: string;
}

/** Images `start` to `end` of a source, without the damaged ones. */
export interface ImageBatch {
  readonly start: number;
  readonly end: number;
  /** Positions in the source of the images that are here. */
  readonly positions: readonly number[];
  /** Bytes, [positions.length, C, H, W]. */
  readonly images: Uint8Array;
  readonly labels: Uint8Array | Uint16Array;
  readonly damaged: readonly DamagedImage[];
}

export interface BatchOptions {
  readonly batchSize: number;
  /** Position of the first image. Default 0. */
  readonly start?: number;
  /** Position behind the last one. Default: all. */
  readonly end?: number;
}

/**
 * Labelled images in a fixed order, whole in memory or decoded while they are read: what evaluation and calibration take.
 * Memory does not grow with `count`.
 */
export interface ImageSource {
  /** The SPEC it was opened by. */
  readonly spec: string;
  /** Shape of one image, [C, H, W]. */
  readonly shape: Shape;
  /** Absent where only labels are known. */
  readonly classes?: readonly string[];
  /** Damaged ones included: those are found while decoding. */
  readonly count: number;
  /** Changes with order, names and labels of the images: sources with the same one give the same result. */
  fingerprint(): string;
  nameOf(position: number): string;
  batches(options: BatchOptions): AsyncIterable<ImageBatch>;
}

/** Start and end of a read, checked. */
export function readRange({ start = 0, end }: BatchOptions, count: number): [start: number, end: number] {
  const last = end ?? count;
  if (!Number.isInteger(start) || start < 0 || start > count) throw invalidArgument('start', `whole number from 0 to ${count}`, start);
  if (!Number.isInteger(last) || last < start || last > count) throw invalidArgument('end', `whole number from ${start} to ${count}`, last);
  return [start, last];
}

/** Positions from `start` up to `end` in batches, the last one smaller. */
export function* positionBatches(options: BatchOptions, count: number): Generator<readonly [start: number, end: number]> {
  const [first, last] = readRange(options, count);
  for (const [start, end] of batchRanges(last - first, options.batchSize)) yield [first + start, first + end];
}

/** The first `limit` images of a source; all of them without a limit. */
export function firstOf(source: ImageSource, limit?: number): ImageSource {
  if (limit === undefined || limit >= source.count) return source;
  if (!Number.isInteger(limit) || limit < 1) throw invalidArgument('limit', 'whole number >= 1', limit);
  return {
    spec: source.spec,
    shape: source.shape,
    ...(source.classes && { classes: source.classes }),
    count: limit,
    fingerprint: () => `${source.fingerprint()}-${limit}`,
    nameOf: (position) => source.nameOf(position),
    batches: (options) => {
      const [start, end] = readRange(options, limit);
      return source.batches({ ...options, start, end });
    },
  };
}

/**
 * The first `count` readable images in memory, for calibration and timing.
 *
 * @throws NoisefloorError `INVALID_DATA` no image of the source is readable
 */
export async function readSplit(source: ImageSource, count: number): Promise<Split> {
  const size = elementCount(source.shape);
  const most = Math.min(count, source.count);
  const images = new Uint8Array(most * size);
  const labels = new Uint16Array(most);
  let taken = 0;
  for await (const batch of source.batches({ batchSize: Math.min(64, Math.max(1, most)) })) {
    const wanted = Math.min(most - taken, batch.positions.length);
    images.set(batch.images.subarray(0, wanted * size), taken * size);
    labels.set(batch.labels.subarray(0, wanted), taken);
    taken += wanted;
    if (taken === most) break;
  }
  if (taken === 0) throw new NoisefloorError('INVALID_DATA', `No image of ${source.spec} could be read.`);
  return { images: images.subarray(0, taken * size), labels: labels.subarray(0, taken), count: taken };
}
