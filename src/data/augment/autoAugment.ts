import type { Random } from '../../random.js';
import type { Canvas } from './canvas.js';
import { saturation } from './colour.js';
import { rotate, shearX, shearY, shift } from './geometry.js';
import { sharpness } from './sharpness.js';
import { autoContrast, brightness, contrast, equalize, invert, posterize, solarize } from './tones.js';

/** Levels go from 0 to this. */
const topLevel = 9;

interface Operation {
  /** What the level means: a slope, pixels, degrees, a change of a factor; sometimes depends on the size of the image. */
  readonly magnitude: (level: number, canvas: Canvas) => number;
  /** Whether the magnitude is negated with probability 1/2. */
  readonly signed?: true;
  readonly apply: (canvas: Canvas, magnitude: number) => void;
}

const none = (): number => 0;
/** In float32, as torchvision has it. */
const upTo = (most: number) => (level: number): number => Math.fround((most * level) / topLevel);
const farthest = 150 / 331;

/** The operations by the paper's names, with the ranges of its table 6 (as in torchvision: black is what comes in). */
export const autoAugmentOperations = {
  ShearX: { magnitude: upTo(0.3), signed: true, apply: shearX },
  ShearY: { magnitude: upTo(0.3), signed: true, apply: shearY },
  TranslateX: {
    magnitude: (level, { width }) => Math.trunc(upTo(farthest * width)(level)),
    signed: true,
    apply: (canvas, pixels) => shift(canvas, 0, -pixels),
  },
  TranslateY: {
    magnitude: (level, { height }) => Math.trunc(upTo(farthest * height)(level)),
    signed: true,
    apply: (canvas, pixels) => shift(canvas, -pixels, 0),
  },
  Rotate: { magnitude: upTo(30), signed: true, apply: rotate },
  Brightness: { magnitude: upTo(0.9), signed: true, apply: (canvas, change) => brightness(canvas, 1 + change) },
  Color: { magnitude: upTo(0.9), signed: true, apply: (canvas, change) => saturation(canvas, 1 + change) },
  Contrast: { magnitude: upTo(0.9), signed: true, apply: (canvas, change) => contrast(canvas, 1 + change) },
  Sharpness: { magnitude: upTo(0.9), signed: true, apply: (canvas, change) => sharpness(canvas, 1 + change) },
  Posterize: { magnitude: (level) => 8 - Math.round((4 * level) / topLevel), apply: posterize },
  Solarize: { magnitude: (level) => 255 - upTo(255)(level), apply: solarize },
  AutoContrast: { magnitude: none, apply: autoContrast },
  Equalize: { magnitude: none, apply: equalize },
  Invert: { magnitude: none, apply: invert },
} as const satisfies Record<string, Operation>;

export type AutoAugmentOperation = keyof typeof autoAugmentOperations;

/** Operation, probability, level. */
type Choice = readonly [AutoAugmentOperation, number, number];

/** AutoAugment (Cubuk et al. 2019), table 7: the 25 sub-policies found on CIFAR-10. */
export const cifarPolicy: readonly (readonly [Choice, Choice])[] = [
  [['Invert', 0.1, 0], ['Contrast', 0.2, 6]],
  [['Rotate', 0.7, 2], ['TranslateX', 0.3, 9]],
  [['Sharpness', 0.8, 1], ['Sharpness', 0.9, 3]],
  [['ShearY', 0.5, 8], ['TranslateY', 0.7, 9]],
  [['AutoContrast', 0.5, 0], ['Equalize', 0.9, 0]],
  [['ShearY', 0.2, 7], ['Posterize', 0.3, 7]],
  [['Color', 0.4, 3], ['Brightness', 0.6, 7]],
  [['Sharpness', 0.3, 9], ['Brightness', 0.7, 9]],
  [['Equalize', 0.6, 0], ['Equalize', 0.5, 0]],
  [['Contrast', 0.6, 7], ['Sharpness', 0.6, 5]],
  [['Color', 0.7, 7], ['TranslateX', 0.5, 8]],
  [['Equalize', 0.3, 0], ['AutoContrast', 0.4, 0]],
  [['TranslateY', 0.4, 3], ['Sharpness', 0.2, 6]],
  [['Brightness', 0.9, 6], ['Color', 0.2, 8]],
  [['Solarize', 0.5, 2], ['Invert', 0, 0]],
  [['Equalize', 0.2, 0], ['AutoContrast', 0.6, 0]],
  [['Equalize', 0.2, 0], ['Equalize', 0.6, 0]],
  [['Color', 0.9, 9], ['Equalize', 0.6, 0]],
  [['AutoContrast', 0.8, 0], ['Solarize', 0.2, 8]],
  [['Brightness', 0.1, 3], ['Color', 0.7, 0]],
  [['Solarize', 0.4, 5], ['AutoContrast', 0.9, 0]],
  [['TranslateY', 0.9, 9], ['TranslateY', 0.7, 9]],
  [['AutoContrast', 0.9, 0], ['Solarize', 0.8, 3]],
  [['Equalize', 0.8, 0], ['Invert', 0.1, 0]],
  [['TranslateY', 0.7, 9], ['AutoContrast', 0.9, 0]],
];

/** One operation at a level of 0 to 9; `negate` where the operation knows two directions. */
export function applyOperation(canvas: Canvas, name: AutoAugmentOperation, level: number, negate: boolean): void {
  const operation: Operation = autoAugmentOperations[name];
  const magnitude = operation.magnitude(level, canvas);
  operation.apply(canvas, negate && operation.signed ? -magnitude : magnitude);
}

/** Both operations of a sub-policy drawn at random, each with its probability. */
export function autoAugment(canvas: Canvas, random: Random): void {
  for (const [name, probability, level] of cifarPolicy[random.integer(cifarPolicy.length)]!) {
    if (random.uniform() < probability) applyOperation(canvas, name, level, random.integer(2) === 1);
  }
}
