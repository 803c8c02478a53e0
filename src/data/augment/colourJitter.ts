import type { Random } from '../../random.js';
import type { Canvas } from './canvas.js';
import { hue, saturation } from './colour.js';
import { brightness, contrast } from './tones.js';

/** Brightness, contrast and saturation by a factor of 0.6 to 1.4, hue by -0.1 to 0.1 of the circle, in a random order. */
const steps: readonly ((canvas: Canvas, random: Random) => void)[] = [
  (canvas, random) => brightness(canvas, 1 + between(random, 0.4)),
  (canvas, random) => contrast(canvas, 1 + between(random, 0.4)),
  (canvas, random) => saturation(canvas, 1 + between(random, 0.4)),
  (canvas, random) => hue(canvas, between(random, 0.1)),
];

/** torchvision's ColorJitter(0.4, 0.4, 0.4, 0.1). */
export function colourJitter(canvas: Canvas, random: Random): void {
  const order = Uint32Array.from(steps.keys());
  random.shuffle(order);
  for (const step of order) steps[step]!(canvas, random);
}

function between(random: Random, most: number): number {
  return most * (2 * random.uniform() - 1);
}
