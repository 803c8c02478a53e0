import { elementCount } from '../../src/tensor.js';

/**
 * Numbers that Python and TypeScript compute alike; twin of benchmarks/peers/formula.py, which describes them.
 * Every value is exact in float32.
 */
const sampleCount = 8;
const smallTensor = 8;
const projectionCount = 4;

/** What the vectors keep of a tensor: norm, projections on vectors of signs, some elements (all of a small tensor). */
export interface Summary {
  readonly norm: number;
  readonly projections: readonly number[];
  readonly samples: readonly number[];
}

function fnv1a32(key: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) value = Math.imul(value ^ key.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

/** Element `index` of the sequence that starts at `seed`: 32 bits through the finaliser of MurmurHash3. */
function hash(seed: number, index: number): number {
  let h = (seed + Math.imul(index, 0x9e3779b9)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** In [-1, 1), multiples of 2^-15. */
function grid(key: string, count: number, spread: (v: number) => number): Float32Array {
  const seed = fnv1a32(key);
  return Float32Array.from({ length: count }, (_, i) => spread((hash(seed, i) >>> 16) / 32768 - 1));
}

/** Parameter, buffer or optimiser state `name` before the step, by its suffix. */
export function initialValue(name: string, shape: readonly number[], seed: number): Float32Array {
  return grid(`${seed}:${name}`, elementCount(shape), spreadOf(name.slice(name.lastIndexOf('.') + 1), shape));
}

export function initialImages(shape: readonly number[], seed: number): Float32Array {
  return grid(`${seed}:images`, elementCount(shape), (v) => 2 * v);
}

/** Noise of the activation `name`, uniform in [-1, 1). */
export function initialNoise(name: string, count: number, seed: number): Float32Array {
  return grid(`${seed}:noise:${name}`, count, (v) => v);
}

function spreadOf(suffix: string, shape: readonly number[]): (v: number) => number {
  switch (suffix) {
    case 'threshold':
      return (v) => 3 + v;
    case 'scale':
      return (v) => 9 / 16 + (v * 3) / 16;
    case 'running_var':
      return (v) => 1 + v / 2;
    case 'momentum':
    case 'moment1':
      return (v) => v / 64;
    case 'moment2':
      return (v) => (1 + v / 2) / 2 ** 20;
    case 'weight':
      return shape.length > 1 ? weightSpread(elementCount(shape.slice(1))) : (v) => 1 + v / 4;
    default:
      return (v) => v / 4;
  }
}

/** v / 2^e with the smallest e for which 4^e >= fanIn. */
function weightSpread(fanIn: number): (v: number) => number {
  let e = 0;
  while (4 ** e < fanIn) e++;
  return (v) => v / 2 ** e;
}

/**
 * Error of `actual` relative to the tensor that `expected` sums up: the largest of three estimates of
 * |actual - expected| / |expected|, namely the difference of the norms (a lower bound), the root mean square of the
 * projections' differences over the norm (random signs: right on average), and the root mean square of the samples'
 * differences over that of the tensor's elements.
 */
export function relativeError(name: string, actual: ArrayLike<number>, expected: Summary): number {
  const values = Float64Array.from(actual);
  const norm = Math.hypot(...values);
  const projections = Array.from({ length: projectionCount }, (_, k) => project(values, `signs${k}:${name}`));
  const samples = sampleIndices(name, values.length).map((i) => values[i]!);
  const errors = [
    Math.abs(norm - expected.norm) / expected.norm,
    rootMeanSquare(projections, expected.projections) / expected.norm,
    rootMeanSquare(samples, expected.samples) / (expected.norm / Math.sqrt(values.length)),
  ];
  return errors.some(Number.isNaN) ? Infinity : Math.max(...errors);
}

function project(values: Float64Array, key: string): number {
  const seed = fnv1a32(key);
  return values.reduce((sum, value, i) => sum + (hash(seed, i) >>> 31 ? -value : value), 0);
}

function sampleIndices(name: string, count: number): number[] {
  if (count <= smallTensor) return Array.from({ length: count }, (_, i) => i);
  const seed = fnv1a32(`samples:${name}`);
  return Array.from({ length: sampleCount }, (_, i) => hash(seed, i) % count);
}

/** Of the differences. */
function rootMeanSquare(actual: readonly number[], expected: readonly number[]): number {
  if (actual.length !== expected.length) return NaN;
  return Math.sqrt(actual.reduce((sum, value, i) => sum + (value - expected[i]!) ** 2, 0) / actual.length);
}
