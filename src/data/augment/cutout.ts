import type { Random } from '../../random.js';
import type { Canvas } from './canvas.js';

/**
 * Cutout (DeVries and Taylor 2017): blanks a square of side `side` around a random pixel, cut off at the border. The
 * paper blanks with 0 after normalisation, which is the mean pixel; we blank with the mean pixel, rounded to a byte, before.
 *
 * @param mean per channel, of pixels in [0, 1]
 */
export function cutout(canvas: Canvas, side: number, mean: readonly number[], random: Random): void {
  const { pixels, channels, height, width } = canvas;
  const top = random.integer(height) - Math.floor(side / 2);
  const left = random.integer(width) - Math.floor(side / 2);
  const [x0, x1] = [Math.max(0, left), Math.min(width, left + side)];
  for (let c = 0; c < channels; c++) {
    const blank = Math.round(mean[c]! * 255);
    for (let y = Math.max(0, top); y < Math.min(height, top + side); y++) {
      const row = (c * height + y) * width;
      pixels.fill(blank, row + x0, row + x1);
    }
  }
}
