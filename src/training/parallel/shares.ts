import type { PixelBatch } from '../step.js';

/** Images `begin` up to `end` of a batch, and their part of it. */
export interface Share {
  readonly begin: number;
  readonly end: number;
  readonly weight: number;
}

/** Divides `count` images among at most `parts`, none of them empty, as evenly as can be. */
export function shares(count: number, parts: number): Share[] {
  const used = Math.min(count, parts);
  const bound = (part: number): number => Math.floor((part * count) / used);
  return Array.from({ length: used }, (_, part) => {
    const [begin, end] = [bound(part), bound(part + 1)];
    return { begin, end, weight: (end - begin) / count };
  });
}

/** Every array of a batch has equally many elements an image. */
export function partOf(batch: PixelBatch, { begin, end }: Share): PixelBatch {
  const count = batch.labels.length;
  const cut = (value: unknown): unknown => {
    if (value instanceof Uint8Array || value instanceof BigInt64Array) return value.slice((value.length / count) * begin, (value.length / count) * end);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, cut(inner)]));
  };
  return cut(batch) as PixelBatch;
}
