/** A 32-bit seed for one purpose, from the run's seed and what it is for (epoch, step, use). */
export function deriveSeed(...parts: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (const part of parts) {
    for (const word of [part >>> 0, Math.floor(part / 2 ** 32) >>> 0]) {
      hash = Math.imul(hash ^ word, 0x85ebca6b);
      hash ^= hash >>> 15;
      hash = Math.imul(hash, 0xc2b2ae35);
      hash ^= hash >>> 13;
    }
  }
  return hash >>> 0;
}

/** Keeps the streams of one step apart. */
export const seedUse = { parameters: 1, validation: 2, order: 3, augmentation: 4, noise: 5, noiseOffsets: 6, gap: 7, replica: 8 } as const;
