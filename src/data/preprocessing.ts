import { invalidArgument, unknownName } from '../errors.js';
import type { Shape } from '../graph/graph.js';

export const interpolations = ['bilinear', 'bicubic'] as const;
/** Both are antialiased when they scale down. Bicubic is Catmull-Rom, a = -0.5. */
export type Interpolation = (typeof interpolations)[number];

/** From a picture to pixels, as torchvision's Resize, CenterCrop and ToTensor; the normalisation comes after it. */
export interface Preprocessing {
  /** Pixels of the short side after scaling; the long side keeps the aspect ratio, rounded down. */
  readonly resize: number;
  /** Side of the square taken from the centre, at most `resize`: height and width of the input. */
  readonly crop: number;
  readonly interpolation: Interpolation;
}

/** Scaled to 8/7 of the input, as 256 for 224, bilinear: what torchvision's reference networks were evaluated with. */
export function usualPreprocessing(crop: number): Preprocessing {
  return { resize: Math.round((crop * 8) / 7), crop, interpolation: 'bilinear' };
}

/**
 * Refuses a preprocessing that does not give images of `shape`, [C, H, W].
 *
 * @throws NoisefloorError `INVALID_ARGUMENT`
 */
export function checkPreprocessing({ resize, crop, interpolation }: Preprocessing, shape: Shape): void {
  if (!interpolations.includes(interpolation)) throw unknownName('interpolation', String(interpolation), interpolations);
  const [, height, width] = shape;
  if (crop !== height || crop !== width) throw invalidArgument('crop', `${height} and ${width}, height and width of the input,`, crop);
  if (!Number.isInteger(resize) || resize < crop) throw invalidArgument('resize', `whole number from ${crop}, the crop,`, resize);
}

/** [width, height] of a picture scaled so that its short side is `resize` (torchvision's Resize). */
export function resizedSize(width: number, height: number, resize: number): [width: number, height: number] {
  const long = Math.floor((resize * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? [resize, long] : [long, resize];
}

/** Where a centred crop begins: halves go to the even side, as Python rounds (torchvision's CenterCrop). */
export function cropStart(size: number, crop: number): number {
  const margin = size - crop;
  const below = margin >> 1;
  return margin % 2 === 0 || below % 2 === 0 ? below : below + 1;
}
