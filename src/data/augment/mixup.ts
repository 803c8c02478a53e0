import type { Random } from '../../random.js';
import { drawPartners, type Mixture } from './mixture.js';

/**
 * Mixup (Zhang et al. 2018) of a batch, in place: weight x + (1 - weight) x', rounded to bytes, x' another image of the
 * batch and the weight drawn from Beta(alpha, alpha), one a batch as in the authors' code.
 *
 * @param pixels bytes, [count, C, H, W]
 */
export function mixup(pixels: Uint8Array, count: number, alpha: number, random: Random): Mixture {
  const weight = random.beta(alpha);
  const partners = drawPartners(count, random);
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
