import type { Pixels } from '../../src/data/resample.js';
import { cropStart, resizedSize, type Interpolation, type Preprocessing } from '../../src/data/preprocessing.js';

/** Of weights as integers, as in Pillow: 32 - 8 bits of a pixel - 2 of headroom. */
const precision = 22;
const half = 2 ** (precision - 1);

const filters: Readonly<Record<Interpolation, { readonly support: number; readonly weight: (x: number) => number }>> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: (x) => cubic(Math.abs(x)) },
};

/** Keys' cubic convolution, a = -0.5. */
function cubic(x: number): number {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** What an output pixel takes: weights of the inputs from `first` on. */
interface Taps {
  readonly first: number;
  readonly weights: Int32Array;
}

/**
 * What the addon's resampling must give, written down without it. torchvision's Resize and CenterCrop of a Pillow image: Pillow's resampling (Resample.c) in integers, first
 * along rows, then along columns, of only what the crop keeps. libvips rounds in other places, which changes the answer of
 * a network on 1 of 150 pictures.
 *
 * @returns bytes, [channels, crop, crop]
 */
export function resizeAndCrop(pixels: Pixels, { resize, crop, interpolation }: Preprocessing): Uint8Array {
  const { width, height, channels } = pixels;
  const [scaledWidth, scaledHeight] = resizedSize(width, height, resize);
  const columns = tapsOf(width, scaledWidth, interpolation, cropStart(scaledWidth, crop), crop);
  const rows = tapsOf(height, scaledHeight, interpolation, cropStart(scaledHeight, crop), crop);
  const top = rows[0]!.first;
  const last = rows[crop - 1]!;
  const strips = alongRows(pixels, columns, top, last.first + last.weights.length);
  return alongColumns(strips, rows, top, crop, channels);
}

/** Of `count` output pixels from `start` on, where `from` pixels become `to`. */
function tapsOf(from: number, to: number, interpolation: Interpolation, start: number, count: number): Taps[] {
  const { support, weight } = filters[interpolation];
  const scale = from / to;
  const stretch = Math.max(scale, 1); // antialiasing
  return Array.from({ length: count }, (_, i) => {
    const centre = (start + i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const end = Math.min(from, Math.trunc(centre + support * stretch + 0.5));
    const weights = Float64Array.from({ length: end - first }, (__, k) => weight((first + k - centre + 0.5) / stretch));
    const sum = weights.reduce((all, one) => all + one, 0);
    return { first, weights: Int32Array.from(weights, (one) => roundAway((one / sum) * 2 ** precision)) };
  });
}

/** The rows from `top` up to `bottom`, scaled: [bottom - top, columns, channels]. */
function alongRows(pixels: Pixels, columns: readonly Taps[], top: number, bottom: number): Uint8ClampedArray {
  const strips = new Uint8ClampedArray((bottom - top) * columns.length * pixels.channels);
  const row = pixels.channels === 3 ? colourRow : greyRow;
  for (let y = top, out = 0; y < bottom; y++, out += columns.length * pixels.channels) {
    row(pixels.data, y * pixels.width * pixels.channels, columns, strips, out);
  }
  return strips;
}

/** Three sums at a time: a weight is loaded once. */
function colourRow(data: Uint8Array, row: number, columns: readonly Taps[], strips: Uint8ClampedArray, start: number): void {
  for (let x = 0, out = start; x < columns.length; x++, out += 3) {
    const { first, weights } = columns[x]!;
    let red = half;
    let green = half;
    let blue = half;
    for (let k = 0, at = row + first * 3; k < weights.length; k++, at += 3) {
      const weight = weights[k]!;
      red += data[at]! * weight;
      green += data[at + 1]! * weight;
      blue += data[at + 2]! * weight;
    }
    strips[out] = red >> precision;
    strips[out + 1] = green >> precision;
    strips[out + 2] = blue >> precision;
  }
}

function greyRow(data: Uint8Array, row: number, columns: readonly Taps[], strips: Uint8ClampedArray, start: number): void {
  for (let x = 0; x < columns.length; x++) {
    const { first, weights } = columns[x]!;
    let sum = half;
    for (let k = 0; k < weights.length; k++) sum += data[row + first + k]! * weights[k]!;
    strips[start + x] = sum >> precision;
  }
}

/** @returns planes, [channels, rows, width] */
function alongColumns(strips: Uint8ClampedArray, rows: readonly Taps[], top: number, width: number, channels: number): Uint8Array {
  const planes = new Uint8ClampedArray(channels * rows.length * width);
  const length = width * channels;
  const sums = new Int32Array(length);
  rows.forEach(({ first, weights }, y) => {
    sums.fill(half);
    for (let k = 0; k < weights.length; k++) {
      const weight = weights[k]!;
      const from = (first - top + k) * length;
      for (let i = 0; i < length; i++) sums[i]! += strips[from + i]! * weight;
    }
    for (let c = 0; c < channels; c++) {
      const out = (c * rows.length + y) * width;
      for (let x = 0, i = c; x < width; x++, i += channels) planes[out + x] = sums[i]! >> precision;
    }
  });
  return new Uint8Array(planes.buffer);
}

function roundAway(value: number): number {
  return Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
}
