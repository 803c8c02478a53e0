import type { Random } from '../../random.js';
import type { Canvas } from './canvas.js';
import { mirror, shift } from './geometry.js';

/** Random crop of the image padded with black by `padding` on each side, as torchvision's RandomCrop. */
export function randomCrop(canvas: Canvas, padding: number, random: Random): void {
  const top = random.integer(2 * padding + 1) - padding;
  const left = random.integer(2 * padding + 1) - padding;
  shift(canvas, top, left);
}

/** Left-right mirror with probability 1/2. */
export function randomFlip(canvas: Canvas, random: Random): void {
  if (random.integer(2) === 1) mirror(canvas);
}
