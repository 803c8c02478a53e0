// Pillow's arithmetic of colours: float32 where it has float32, so that the bytes agree.
import type { Canvas } from './canvas.js';

/** Grey value of a colour, ITU-R 601-2 in 16-bit fixed point. */
export function luma(red: number, green: number, blue: number): number {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

/** from + weight (to - from), cut off at 0 and 255, truncated. `weight` must be a float32. */
export function blend(from: number, to: number, weight: number): number {
  const mixed = Math.fround(from + Math.fround(weight * (to - from)));
  return mixed <= 0 ? 0 : mixed >= 255 ? 255 : mixed | 0;
}

/** @param factor 0 grey, 1 unchanged, above more colourful; grey images stay as they are */
export function saturation({ pixels, channels, plane }: Canvas, factor: number): void {
  if (channels !== 3) return;
  const weight = Math.fround(factor);
  for (let r = 0, g = plane, b = 2 * plane; r < plane; r++, g++, b++) {
    const grey = luma(pixels[r]!, pixels[g]!, pixels[b]!);
    pixels[r] = blend(grey, pixels[r]!, weight);
    pixels[g] = blend(grey, pixels[g]!, weight);
    pixels[b] = blend(grey, pixels[b]!, weight);
  }
}

/** Turns the hue by `turn` of the circle, -0.5 to 0.5, in bytes of HSV as torchvision does; grey images stay as they are. */
export function hue({ pixels, channels, plane }: Canvas, turn: number): void {
  if (channels !== 3) return;
  const shift = Math.trunc(turn * 255) & 255;
  for (let r = 0, g = plane, b = 2 * plane; r < plane; r++, g++, b++) {
    const red = pixels[r]!;
    const green = pixels[g]!;
    const blue = pixels[b]!;
    const value = Math.max(red, green, blue);
    const range = value - Math.min(red, green, blue);
    if (range === 0) continue;
    const turned = (hueByte(red, green, blue, value, range) + shift) & 255;
    const s = Math.fround(((Math.fround(range / value) * 255) | 0) / 255);
    const sector = Math.floor((turned * 6) / 255);
    const rest = Math.fround((turned * 6) / 255 - sector);
    const low = Math.round(value * (1 - s));
    const falling = Math.round(value * (1 - Math.fround(s * rest)));
    const rising = Math.round(value * (1 - s * (1 - rest)));
    const at = sector % 6;
    pixels[r] = at === 0 || at === 5 ? value : at === 1 ? falling : at === 4 ? rising : low;
    pixels[g] = at === 1 || at === 2 ? value : at === 3 ? falling : at === 0 ? rising : low;
    pixels[b] = at === 3 || at === 4 ? value : at === 5 ? falling : at === 2 ? rising : low;
  }
}

function hueByte(red: number, green: number, blue: number, value: number, range: number): number {
  const rc = Math.fround((value - red) / range);
  const gc = Math.fround((value - green) / range);
  const bc = Math.fround((value - blue) / range);
  const sixths = Math.fround(red === value ? bc - gc : green === value ? 2 + rc - bc : 4 + gc - rc);
  // From -1/6 on, so that the fraction is that of a positive number.
  const turn = sixths / 6 + 1;
  return (Math.fround(turn >= 1 ? turn - 1 : turn) * 255) | 0;
}
