import type { Random } from '../../random.js';
import type { Canvas } from './canvas.js';

const area = [0.08, 1] as const;
const ratio = [3 / 4, 4 / 3] as const;
const attempts = 10;
/** Of the fixed-point weights, as in Pillow: 8 bits of pixel and 2 of room stay free of 32. */
const precision = 22;

export interface Box {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** Weights of the input pixels that make each output pixel along one axis. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** `size` places for each output pixel. */
  readonly weights: Int32Array;
  readonly size: number;
}

/** RandomResizedCrop to the image's own size: area 8 to 100 %, ratio 3/4 to 4/3, bilinear, as in torchvision. */
export class ResizedCrop {
  readonly #taps = new Map<number, Taps>();
  #rows = new Uint8Array(0);
  #sums = new Int32Array(0);

  apply(canvas: Canvas, random: Random): void {
    this.resize(canvas, drawBox(canvas, random));
  }

  /** Scales `box` to the whole image: bilinear, over the area of a pixel where it shrinks, as Pillow's `resize`. */
  resize(canvas: Canvas, box: Box): void {
    const { pixels, spare, channels, plane, height, width } = canvas;
    const horizontal = this.#tapsOf(box.width, width);
    const vertical = this.#tapsOf(box.height, height);
    if (this.#rows.length !== plane) this.#rows = new Uint8Array(plane);
    if (this.#sums.length !== width) this.#sums = new Int32Array(width);
    for (let c = 0; c < channels; c++) {
      const corner = c * plane + box.top * width + box.left;
      for (let y = 0; y < box.height; y++) resampleRow(pixels, corner + y * width, this.#rows, y * width, horizontal);
      resampleColumns(this.#rows, spare, c * plane, this.#sums, vertical);
    }
    canvas.swap();
  }

  #tapsOf(from: number, to: number): Taps {
    const key = from * 65536 + to;
    let taps = this.#taps.get(key);
    if (!taps) this.#taps.set(key, (taps = bilinearTaps(from, to)));
    return taps;
  }
}

function drawBox({ height, width }: Canvas, random: Random): Box {
  const between = (low: number, high: number): number => low + (high - low) * random.uniform();
  for (let i = 0; i < attempts; i++) {
    const target = height * width * between(...area);
    const aspect = Math.exp(between(Math.log(ratio[0]), Math.log(ratio[1])));
    const [w, h] = [Math.round(Math.sqrt(target * aspect)), Math.round(Math.sqrt(target / aspect))];
    if (w < 1 || h < 1 || w > width || h > height) continue;
    return { top: random.integer(height - h + 1), left: random.integer(width - w + 1), height: h, width: w };
  }
  return centralBox(height, width);
}

/** The largest box at the centre whose ratio is allowed. */
function centralBox(height: number, width: number): Box {
  const h = width / height < ratio[0] ? Math.round(width / ratio[0]) : height;
  const w = width / height > ratio[1] ? Math.round(height * ratio[1]) : width;
  return { top: Math.floor((height - h) / 2), left: Math.floor((width - w) / 2), height: h, width: w };
}

function bilinearTaps(from: number, to: number): Taps {
  const scale = from / to;
  const support = Math.max(1, scale);
  const size = Math.ceil(support) * 2 + 1;
  const taps: Taps = { first: new Int32Array(to), count: new Int32Array(to), weights: new Int32Array(to * size), size };
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(from, Math.trunc(centre + support + 0.5)) - first;
    const exact = Array.from({ length: count }, (_, k) => Math.max(0, 1 - Math.abs((k + first - centre + 0.5) / support)));
    const sum = exact.reduce((a, b) => a + b, 0);
    taps.first[i] = first;
    taps.count[i] = count;
    exact.forEach((weight, k) => (taps.weights[i * size + k] = Math.trunc((weight / sum) * 2 ** precision + 0.5)));
  }
  return taps;
}

function resampleRow(from: Uint8Array, start: number, to: Uint8Array, row: number, { first, count, weights, size }: Taps): void {
  for (let x = 0; x < first.length; x++) {
    let sum = 1 << (precision - 1);
    const at = start + first[x]!;
    for (let k = 0; k < count[x]!; k++) sum += from[at + k]! * weights[x * size + k]!;
    to[row + x] = clip(sum >> precision);
  }
}

/** Row by row, since neighbours in a row lie together. */
function resampleColumns(from: Uint8Array, to: Uint8Array, start: number, sums: Int32Array, { first, count, weights, size }: Taps): void {
  const width = sums.length;
  for (let y = 0; y < first.length; y++) {
    sums.fill(1 << (precision - 1));
    for (let k = 0; k < count[y]!; k++) {
      const row = (first[y]! + k) * width;
      const weight = weights[y * size + k]!;
      for (let x = 0; x < width; x++) sums[x]! += from[row + x]! * weight;
    }
    for (let x = 0; x < width; x++) to[start + y * width + x] = clip(sums[x]! >> precision);
  }
}

/** Rounded weights may add up to a little over 1. */
function clip(value: number): number {
  return value > 255 ? 255 : value;
}
