import type { Random } from '../../random.js';

/** Which image each image of a batch was mixed with, and the weight of the image itself; the labels mix alike. */
export interface Mixture {
  readonly partners: Uint32Array;
  readonly weight: number;
}

/**
 * Mixup (Zhang et al. 2018) of a batch, in place: weight x + (1 - weight) x', rounded to bytes, x' another image of the
 * batch and the weight drawn from Beta(alpha, alpha), one a batch as in the authors' code.
 *
 * @param pixels bytes, [count, C, H, W]
 */
export function mixup(pixels: Uint8Array, count: number, alpha: number, random: Random): Mixture {
  const weight = drawBeta(alpha, random);
  const partners = Uint32Array.from({ length: count }, (_, i) => i);
  random.shuffle(partners);
  const size = pixels.length / count;
  const original = pixels.slice();
  for (let i = 0; i < count; i++) {
    const shift = (partners[i]! - i) * size;
    for (let at = i * size; at < (i + 1) * size; at++) {
      pixels[at] = weight * original[at]! + (1 - weight) * original[at + shift]! + 0.5;
    }
  }
  return { partners, weight };
}

function drawBeta(alpha: number, random: Random): number {
  const [a, b] = [drawLogGamma(alpha, random), drawLogGamma(alpha, random)];
  return 1 / (1 + Math.exp(b - a));
}

/** Logarithm of a gamma variate of the given shape (Marsaglia and Tsang 2000): a small shape would underflow without it. */
function drawLogGamma(shape: number, random: Random): number {
  if (shape < 1) return drawLogGamma(shape + 1, random) + Math.log(1 - random.uniform()) / shape;
  const d = shape - 1 / 3;
  for (;;) {
    const x = random.normal();
    const v = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && Math.log(1 - random.uniform()) < (x * x) / 2 + d - d * v + d * Math.log(v)) return Math.log(d * v);
  }
}
