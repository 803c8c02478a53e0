import type { Canvas } from './canvas.js';
import { blend } from './colour.js';

/** Rounded thirteenths: the smoothing kernel is 5 at its centre and 1 at the eight neighbours. */
const thirteenths = Uint8Array.from({ length: 13 * 255 + 1 }, (_, sum) => Math.floor((2 * sum + 13) / 26));

/**
 * Pillow's ImageEnhance.Sharpness; the outermost pixels stay as they are.
 *
 * @param factor 0 smoothed, 1 unchanged, above sharpened
 */
export function sharpness(canvas: Canvas, factor: number): void {
  const { pixels, spare, channels, plane, height, width } = canvas;
  const weight = Math.fround(factor);
  spare.set(pixels);
  for (let c = 0; c < channels; c++) {
    for (let y = 1; y < height - 1; y++) {
      const row = c * plane + y * width;
      let left = column(pixels, row, width);
      let centre = column(pixels, row + 1, width);
      for (let at = row + 1; at < row + width - 1; at++) {
        const right = column(pixels, at + 1, width);
        const pixel = pixels[at]!;
        spare[at] = blend(thirteenths[left + centre + right + 4 * pixel]!, pixel, weight);
        left = centre;
        centre = right;
      }
    }
  }
  canvas.swap();
}

function column(pixels: Uint8Array, at: number, width: number): number {
  return pixels[at - width]! + pixels[at]! + pixels[at + width]!;
}
