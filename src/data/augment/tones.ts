// Operations that give each pixel value another one, by a table of 256 entries; those of Pillow's ImageOps and ImageEnhance.
import type { Canvas } from './canvas.js';
import { blend, luma } from './colour.js';

const table = new Uint8Array(256);
const histogram = new Uint32Array(256);

export function invert(canvas: Canvas): void {
  for (let v = 0; v < 256; v++) table[v] = 255 - v;
  mapAll(canvas);
}

/** Inverts the pixels from `threshold` on. */
export function solarize(canvas: Canvas, threshold: number): void {
  for (let v = 0; v < 256; v++) table[v] = v < threshold ? v : 255 - v;
  mapAll(canvas);
}

/** Keeps the upper `bits` of each pixel. */
export function posterize(canvas: Canvas, bits: number): void {
  const mask = 256 - 2 ** (8 - bits);
  for (let v = 0; v < 256; v++) table[v] = v & mask;
  mapAll(canvas);
}

/** @param factor 0 black, 1 unchanged, above brighter */
export function brightness(canvas: Canvas, factor: number): void {
  fillBlend(0, factor);
  mapAll(canvas);
}

/** @param factor 0 the mean grey, 1 unchanged, above more contrast */
export function contrast(canvas: Canvas, factor: number): void {
  const { pixels, channels, plane } = canvas;
  let sum = 0;
  if (channels === 1) for (let i = 0; i < plane; i++) sum += pixels[i]!;
  else for (let i = 0; i < plane; i++) sum += luma(pixels[i]!, pixels[plane + i]!, pixels[2 * plane + i]!);
  fillBlend(Math.floor(sum / plane + 0.5), factor);
  mapAll(canvas);
}

/** Stretches each channel to 0 to 255. */
export function autoContrast(canvas: Canvas): void {
  for (let channel = 0; channel < canvas.channels; channel++) {
    countPixels(canvas, channel);
    const low = histogram.findIndex((count) => count > 0);
    const high = histogram.findLastIndex((count) => count > 0);
    if (high <= low) continue;
    const scale = 255 / (high - low);
    for (let v = low; v <= high; v++) table[v] = Math.min(255, Math.max(0, Math.trunc(v * scale - low * scale)));
    mapChannel(canvas, channel);
  }
}

/** Makes the histogram of each channel as flat as a table can. */
export function equalize(canvas: Canvas): void {
  for (let channel = 0; channel < canvas.channels; channel++) {
    countPixels(canvas, channel);
    const high = histogram.findLastIndex((count) => count > 0);
    const step = Math.floor((canvas.plane - histogram[high]!) / 255);
    if (step === 0) continue;
    let below = step >> 1;
    for (let v = 0; v < 256; v++) {
      table[v] = Math.min(255, Math.floor(below / step));
      below += histogram[v]!;
    }
    mapChannel(canvas, channel);
  }
}

function fillBlend(from: number, factor: number): void {
  const weight = Math.fround(factor);
  for (let v = 0; v < 256; v++) table[v] = blend(from, v, weight);
}

function countPixels({ pixels, plane }: Canvas, channel: number): void {
  histogram.fill(0);
  for (let i = channel * plane; i < (channel + 1) * plane; i++) histogram[pixels[i]!]!++;
}

function mapAll({ pixels }: Canvas): void {
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[pixels[i]!]!;
}

function mapChannel({ pixels, plane }: Canvas, channel: number): void {
  for (let i = channel * plane; i < (channel + 1) * plane; i++) pixels[i] = table[pixels[i]!]!;
}
