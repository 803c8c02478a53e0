import type { Pair, Padding, Shape } from '../graph/graph.js';
import { windowOutput } from '../graph/shapes.js';
import type { SynapsePool } from './model.js';

/** The window part of a synapse, of integer and float weights alike. */
export interface ConvGeometry {
  readonly kind: 'conv2d';
  readonly pool?: SynapsePool;
  readonly stride: Pair;
  readonly kernel: Pair;
  readonly padding: Padding;
  readonly groups: number;
}
export interface IdentityGeometry {
  readonly kind: 'identity';
  readonly pool?: SynapsePool;
  readonly stride: Pair;
}
export type SynapseGeometry = ConvGeometry | IdentityGeometry;

/** Shape of the source [C, H, W] behind the synapse's pool. Windows that do not fit are dropped. */
export function pooledShape(pool: SynapsePool | undefined, source: Shape): Shape {
  if (!pool) return source;
  const [channels, height, width] = source as [number, number, number];
  return [
    channels,
    windowOutput(height, pool.kernel[0], pool.stride[0]),
    windowOutput(width, pool.kernel[1], pool.stride[1]),
  ];
}

/** Height and width of the map that the synapse makes of a source [C, H, W]; below 1 where its windows do not fit. */
export function synapseOutput(synapse: SynapseGeometry, source: Shape): Pair {
  const [, height, width] = pooledShape(synapse.pool, source) as [number, number, number];
  const [kernelHeight, kernelWidth] = synapse.kind === 'conv2d' ? synapse.kernel : [1, 1];
  const [top, left, bottom, right] = synapse.kind === 'conv2d' ? synapse.padding : [0, 0, 0, 0];
  return [
    windowOutput(height, kernelHeight, synapse.stride[0], top + bottom),
    windowOutput(width, kernelWidth, synapse.stride[1], left + right),
  ];
}

export function poolArea(synapse: { readonly pool?: SynapsePool }): number {
  return synapse.pool ? synapse.pool.kernel[0] * synapse.pool.kernel[1] : 1;
}
