import type { Shape } from '../graph/graph.js';
import { poolArea, pooledShape } from '../snn/geometry.js';
import { inputName, type SnnLayer, type SpikingModel, type Synapse } from '../snn/model.js';
import { elementCount } from '../tensor.js';

/** What a synapse costs whatever the input: the ground against which effective operations are seen. */
export interface SynapseCost {
  readonly layer: string;
  readonly source: string;
  readonly kind: Synapse['kind'];
  /** Fed by the analog input: multiplied and added once an image, not added at each spike. */
  readonly analog: boolean;
  /** Pairs of a source element and a weight, zeros included and padding left out: one time step with every neuron firing. */
  readonly dense: number;
  /** Multiply-accumulates of the same layer in the dense network, which pools first. */
  readonly denseMacs: number;
  readonly weights: number;
  readonly zeroWeights: number;
}

/** One entry per synapse: layers and their synapses in model order, as in `RunStatistics.synapticOperations`. */
export function synapseCosts(model: SpikingModel): SynapseCost[] {
  const shapes = new Map<string, Shape>([[inputName, model.input.shape]]);
  return model.layers.flatMap((layer) => {
    shapes.set(layer.name, layer.shape);
    return layer.synapses.map((synapse) => synapseCost(layer, synapse, shapes.get(synapse.source)!));
  });
}

/**
 * Bytes of everything that a run keeps (NeuroBench's footprint: parameters and buffers): weights, multipliers, biases,
 * thresholds, initial potentials, one int32 potential a neuron, and one int32 count of each spike train that is max-pooled.
 */
export function footprintBytes(model: SpikingModel): number {
  const shapes = new Map(model.layers.map((layer) => [layer.name, layer.shape]));
  let bytes = 0;
  for (const layer of model.layers) {
    if (layer.kind === 'maxPool') {
      bytes += Int32Array.BYTES_PER_ELEMENT * elementCount(shapes.get(layer.source)!);
      continue;
    }
    bytes += layer.bias.byteLength + Int32Array.BYTES_PER_ELEMENT * elementCount(layer.shape);
    if (layer.kind === 'spiking') bytes += layer.threshold.byteLength + layer.initialPotential.byteLength;
    for (const synapse of layer.synapses) {
      bytes += synapse.multiplier.byteLength + (synapse.kind === 'conv2d' ? synapse.weight.byteLength : 0);
    }
  }
  return bytes;
}

function synapseCost(layer: SnnLayer, synapse: Synapse, source: Shape): SynapseCost {
  const window = poolArea(synapse);
  const common = { layer: layer.name, source: synapse.source, kind: synapse.kind, analog: synapse.source === inputName };
  if (synapse.kind === 'identity') {
    const elements = elementCount(layer.shape);
    return { ...common, dense: elements * window, denseMacs: 0, weights: 0, zeroWeights: 0 };
  }
  const pairs = convolutionPairs(layer.shape, synapse, source);
  let zeroWeights = 0;
  for (const weight of synapse.weight) if (weight === 0) zeroWeights++;
  return { ...common, dense: pairs * window, denseMacs: pairs, weights: synapse.weight.length, zeroWeights };
}

function convolutionPairs(shape: Shape, synapse: Synapse & { kind: 'conv2d' }, source: Shape): number {
  const [outChannels, outHeight, outWidth] = shape as readonly [number, number, number];
  const [inChannels, height, width] = pooledShape(synapse.pool, source) as readonly [number, number, number];
  const { kernel, stride, padding, groups } = synapse;
  const rows = tapsInside(outHeight, kernel[0], stride[0], padding[0], height);
  const columns = tapsInside(outWidth, kernel[1], stride[1], padding[1], width);
  return outChannels * (inChannels / groups) * rows * columns;
}

/** Over all outputs of an axis, the kernel taps that meet the map and not its padding. */
function tapsInside(outputs: number, kernel: number, stride: number, before: number, size: number): number {
  let taps = 0;
  for (let out = 0; out < outputs; out++) {
    const start = out * stride - before;
    taps += Math.max(0, Math.min(size, start + kernel) - Math.max(0, start));
  }
  return taps;
}
