import { binding, type NativeTaps } from '../native.js';
import { cropStart, resizedSize, type Interpolation, type Preprocessing } from './preprocessing.js';

/** Bytes, [height, width, channels]. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
}

/** Of weights as integers, as in Pillow: 32 - 8 bits of a pixel - 2 of headroom. */
const precision = 22;

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

/**
 * torchvision's Resize and CenterCrop of a Pillow image, bit for bit: Pillow's resampling (Resample.c) in integers, first
 * along rows, then along columns, of only what the crop keeps; in the addon, off the JavaScript thread. libvips rounds in other
 * places, which changes the answer of a network on 1 of 150 pictures.
 *
 * @returns bytes, [channels, crop, crop]
 */
export function resizeAndCrop({ data, width, height, channels }: Pixels, { resize, crop, interpolation }: Preprocessing): Promise<Uint8Array> {
  const [scaledWidth, scaledHeight] = resizedSize(width, height, resize);
  const columns = tapsOf(width, scaledWidth, interpolation, cropStart(scaledWidth, crop), crop);
  const rows = tapsOf(height, scaledHeight, interpolation, cropStart(scaledHeight, crop), crop);
  return binding().resample(data, width, height, channels, columns, rows);
}

/** Of `count` output pixels from `start` on, where `from` pixels become `to`. */
export function tapsOf(from: number, to: number, interpolation: Interpolation, start: number, count: number): NativeTaps {
  const { support, weight } = filters[interpolation];
  const scale = from / to;
  const stretch = Math.max(scale, 1); // antialiasing
  const first = new Int32Array(count);
  const counts = new Int32Array(count);
  const weights: number[] = [];
  for (let i = 0; i < count; i++) {
    const centre = (start + i + 0.5) * scale;
    first[i] = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    counts[i] = Math.min(from, Math.trunc(centre + support * stretch + 0.5)) - first[i]!;
    const found = Array.from({ length: counts[i]! }, (_, k) => weight((first[i]! + k - centre + 0.5) / stretch));
    const sum = found.reduce((all, one) => all + one, 0);
    for (const one of found) weights.push(roundAway((one / sum) * 2 ** precision));
  }
  return { first, count: counts, weights: Int32Array.from(weights) };
}

function roundAway(value: number): number {
  return Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
}
