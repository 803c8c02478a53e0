import { batchRanges, normalizeRange } from '../data/batches.js';
import type { Normalization, Split } from '../data/dataset.js';
import { invalidArgument } from '../errors.js';
import type { Shape } from '../graph/graph.js';
import { yieldToEvents } from './dense.js';
import { throwIfAborted } from './simulator.js';

/** One side of a comparison: runs a batch of normalised images, [N, C, H, W]. */
export interface Contestant {
  readonly name: string;
  readonly run: (images: Float32Array) => Promise<unknown>;
}

export interface TimingOptions {
  readonly batchSize: number;
  /** Batches measured of each contestant; images are taken in turn, again from the first where they run out. Default: one pass. */
  readonly runs?: number;
  /** Batches run first and not measured. Default 2. */
  readonly warmup?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

export interface Timing {
  readonly name: string;
  readonly batchSize: number;
  readonly runs: number;
  readonly images: number;
  /** Milliseconds a batch. */
  readonly median: number;
  readonly p95: number;
  readonly min: number;
  /** Mean milliseconds an image. */
  readonly millisecondsPerImage: number;
  readonly imagesPerSecond: number;
}

/** Images to time on, with what normalises them. */
export interface TimedImages {
  readonly split: Split;
  readonly normalization: Normalization;
  readonly shape: Shape;
}

/**
 * Times contestants on the same batches, in turn: the first goes first on even batches and last on odd ones, so that a
 * machine that slows down slows them all. Normalisation is outside the clock.
 */
export async function timeInTurn(
  contestants: readonly Contestant[],
  data: TimedImages,
  options: TimingOptions,
): Promise<Timing[]> {
  const { batchSize, warmup = 2, signal, onProgress } = options;
  const ranges = fullBatches(data.split.count, batchSize);
  const { runs = ranges.length } = options;
  if (!Number.isInteger(runs) || runs < 1) throw invalidArgument('runs', 'whole number >= 1', runs);
  const times = contestants.map((): number[] => []);
  let images = 0;
  for (let run = -warmup; run < runs; run++) {
    throwIfAborted(signal);
    const [start, end] = ranges[(run + warmup * ranges.length) % ranges.length]!;
    const batch = normalizeRange(data.split, start, end, data.normalization, data.shape);
    for (const index of turn(contestants.length, run)) {
      const began = performance.now();
      await contestants[index]!.run(batch);
      if (run >= 0) times[index]!.push(performance.now() - began);
    }
    await yieldToEvents();
    if (run < 0) continue;
    images += end - start;
    onProgress?.({ done: run + 1, total: runs });
  }
  return contestants.map((contestant, i) => summarize(contestant.name, batchSize, images, times[i]!));
}

/** Value below which a share `q` of the sorted values lies: the nearest rank. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))]!;
}

/** A smaller last batch would blur the median, so it is left out unless it is the only one. */
function fullBatches(count: number, batchSize: number): (readonly [number, number])[] {
  const ranges = [...batchRanges(count, batchSize)];
  const full = ranges.filter(([start, end]) => end - start === batchSize);
  return full.length > 0 ? full : ranges;
}

function turn(count: number, run: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  return run % 2 === 0 ? order : order.reverse();
}

function summarize(name: string, batchSize: number, images: number, times: readonly number[]): Timing {
  const sorted = [...times].sort((a, b) => a - b);
  const total = times.reduce((sum, time) => sum + time, 0);
  const middle = sorted.length / 2;
  const median = Number.isInteger(middle) ? (sorted[middle - 1]! + sorted[middle]!) / 2 : sorted[Math.floor(middle)]!;
  return {
    name,
    batchSize,
    runs: times.length,
    images,
    median,
    p95: quantile(sorted, 0.95),
    min: sorted[0]!,
    millisecondsPerImage: total / images,
    imagesPerSecond: (images * 1000) / total,
  };
}
