import { tapsOf, type Pixels } from '../../src/data/resample.js';
import type { NativeTaps } from '../../src/native.js';
import { cropStart, resizedSize, type Preprocessing } from '../../src/data/preprocessing.js';

const precision = 22;
const half = 2 ** (precision - 1);

/**
 * What the addon's resampling must give, written down without it: rows first, rounded to bytes, then columns. The weights
 * themselves are held to torchvision's pixels by pictures.test.ts.
 *
 * @returns bytes, [channels, crop, crop]
 */
export function resizeAndCrop({ data, width, height, channels }: Pixels, { resize, crop, interpolation }: Preprocessing): Uint8Array {
  const [scaledWidth, scaledHeight] = resizedSize(width, height, resize);
  const columns = tapsOf(width, scaledWidth, interpolation, cropStart(scaledWidth, crop), crop);
  const rows = tapsOf(height, scaledHeight, interpolation, cropStart(scaledHeight, crop), crop);
  const planes = Array.from({ length: channels }, (_, c) => {
    const lines = Array.from({ length: height }, (__, y) => weighted(columns, (x) => data[(y * width + x) * channels + c]!));
    const across = Array.from({ length: crop }, (__, x) => weighted(rows, (y) => lines[y]![x]!));
    return Array.from({ length: crop }, (__, y) => across.map((column) => column[y]!));
  });
  return Uint8Array.from(planes.flat(2));
}

/** One byte for each output pixel. */
function weighted({ first, count, weights }: NativeTaps, pixel: (i: number) => number): Uint8ClampedArray {
  let at = 0;
  return Uint8ClampedArray.from(first, (start, i) => {
    let sum = half;
    for (let k = 0; k < count[i]!; k++) sum += pixel(start + k) * weights[at++]!;
    return sum >> precision;
  });
}
