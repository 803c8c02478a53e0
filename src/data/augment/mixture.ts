import type { Random } from '../../random.js';

/** Which image each image of a batch was mixed with, and the weight of the image itself; the labels mix alike. */
export interface Mixture {
  readonly partners: Uint32Array;
  readonly weight: number;
}

/** A random permutation of the images of a batch. */
export function drawPartners(count: number, random: Random): Uint32Array {
  const { partners } = unmixed(count);
  random.shuffle(partners);
  return partners;
}

export function unmixed(count: number): Mixture {
  return { partners: Uint32Array.from({ length: count }, (_, i) => i), weight: 1 };
}
