import type { Shape } from '../graph/graph.js';
import { elementCount } from '../tensor.js';
import type { MaxPoolLayer } from './model.js';

/** Max-pooling between two time steps. */
export interface PoolState {
  readonly kind: 'maxPool';
  readonly layer: MaxPoolLayer;
  /** Spikes so far, of the source and of the outputs. */
  readonly sourceCounts: Float64Array;
  readonly counts: Float64Array;
}

export function poolState(layer: MaxPoolLayer, sourceShape: Shape): PoolState {
  return {
    kind: 'maxPool',
    layer,
    sourceCounts: new Float64Array(elementCount(sourceShape)),
    counts: new Float64Array(elementCount(layer.shape)),
  };
}

/** One time step: counts on the spikes of the source; where the largest count of a window has grown, a spike. */
export function poolSpikes({ layer, counts, sourceCounts }: PoolState, source: Float64Array, sourceShape: Shape): Float64Array {
  source.forEach((spike, i) => (sourceCounts[i]! += spike));
  const largest = largestOfWindows(layer, sourceCounts, sourceShape);
  const spikes = largest.map((count, i) => count - counts[i]!);
  counts.set(largest);
  return spikes;
}

/** The largest value of each window of a map [C, H, W]; positions in the padding are left out. */
function largestOfWindows({ shape, kernel, stride, padding }: MaxPoolLayer, values: Float64Array, sourceShape: Shape): Float64Array {
  const [channels, outHeight, outWidth] = shape as [number, number, number];
  const [, height, width] = sourceShape as [number, number, number];
  const largest = new Float64Array(elementCount(shape));
  let out = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++, out++) {
        for (let ky = 0; ky < kernel[0]; ky++) {
          const row = y * stride[0] - padding[0] + ky;
          if (row < 0 || row >= height) continue;
          for (let kx = 0; kx < kernel[1]; kx++) {
            const column = x * stride[1] - padding[1] + kx;
            if (column < 0 || column >= width) continue;
            largest[out] = Math.max(largest[out]!, values[(c * height + row) * width + column]!);
          }
        }
      }
    }
  }
  return largest;
}
