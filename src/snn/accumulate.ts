import type { Shape } from '../graph/graph.js';
import { elementCount } from '../tensor.js';
import { pooledShape, type ConvGeometry, type IdentityGeometry } from './geometry.js';
import type { SynapsePool } from './model.js';

/** A synapse as its geometry and its weights, whatever their type. */
export type LinearMap = (ConvGeometry & { readonly weight: ArrayLike<number> }) | IdentityGeometry;

/**
 * The sum of a synapse over its window for each neuron of a layer of shape `target`: what its multiplier then scales.
 * In float64, which is exact for the integers of a spiking model.
 *
 * @param source [C, H, W], row-major.
 */
export function accumulate(map: LinearMap, source: Float64Array, sourceShape: Shape, target: Shape): Float64Array {
  const pooled = sumWindows(map.pool, source, sourceShape);
  const shape = pooledShape(map.pool, sourceShape);
  return map.kind === 'identity' ? sample(map, pooled, shape, target) : convolve(map, pooled, shape, target);
}

function sumWindows(pool: SynapsePool | undefined, source: Float64Array, sourceShape: Shape): Float64Array {
  if (!pool) return source;
  const [, height, width] = sourceShape as [number, number, number];
  const [channels, outHeight, outWidth] = pooledShape(pool, sourceShape) as [number, number, number];
  const sums = new Float64Array(channels * outHeight * outWidth);
  let out = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++, out++) {
        for (let ky = 0; ky < pool.kernel[0]; ky++) {
          for (let kx = 0; kx < pool.kernel[1]; kx++) {
            sums[out]! += source[(c * height + y * pool.stride[0] + ky) * width + x * pool.stride[1] + kx]!;
          }
        }
      }
    }
  }
  return sums;
}

function sample(map: IdentityGeometry, source: Float64Array, sourceShape: Shape, target: Shape): Float64Array {
  const [, height, width] = sourceShape as [number, number, number];
  const [channels, outHeight, outWidth] = target as [number, number, number];
  const values = new Float64Array(elementCount(target));
  let out = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++, out++) {
        values[out] = source[(c * height + y * map.stride[0]) * width + x * map.stride[1]]!;
      }
    }
  }
  return values;
}

function convolve(
  map: ConvGeometry & { readonly weight: ArrayLike<number> },
  source: Float64Array,
  sourceShape: Shape,
  target: Shape,
): Float64Array {
  const { weight, kernel, groups } = map;
  const sums = new Float64Array(elementCount(target));
  const area = target[1]! * target[2]!;
  const inputs = sourceShape[0]! / groups;
  const outputs = target[0]! / groups;
  for (let i = 0; i < sourceShape[0]!; i++) {
    const pairs = meetingPairs(map, source, sourceShape, i, target);
    const group = Math.floor(i / inputs);
    for (let o = group * outputs; o < (group + 1) * outputs; o++) {
      const filter = (o * inputs + (i % inputs)) * kernel[0] * kernel[1];
      for (let n = 0; n < pairs.value.length; n++) {
        sums[o * area + pairs.position[n]!]! += weight[filter + pairs.tap[n]!]! * pairs.value[n]!;
      }
    }
  }
  return sums;
}

/**
 * Where the non-zero values of input channel `i` go, the same for each output channel: value n meets weight tap[n] of the
 * kernel at output position[n]. Spikes are few, so this is short.
 */
interface MeetingPairs {
  readonly value: number[];
  readonly tap: number[];
  readonly position: number[];
}

function meetingPairs({ kernel, stride, padding }: ConvGeometry, source: Float64Array, sourceShape: Shape, i: number, target: Shape): MeetingPairs {
  const [, height, width] = sourceShape as [number, number, number];
  const [, outHeight, outWidth] = target as [number, number, number];
  const pairs: MeetingPairs = { value: [], tap: [], position: [] };
  for (let index = 0; index < height * width; index++) {
    const value = source[i * height * width + index]!;
    if (value === 0) continue;
    for (let ky = 0; ky < kernel[0]; ky++) {
      const y = (Math.floor(index / width) + padding[0] - ky) / stride[0];
      if (!Number.isInteger(y) || y < 0 || y >= outHeight) continue;
      for (let kx = 0; kx < kernel[1]; kx++) {
        const x = ((index % width) + padding[1] - kx) / stride[1];
        if (!Number.isInteger(x) || x < 0 || x >= outWidth) continue;
        pairs.value.push(value);
        pairs.tap.push(ky * kernel[1] + kx);
        pairs.position.push(y * outWidth + x);
      }
    }
  }
  return pairs;
}
