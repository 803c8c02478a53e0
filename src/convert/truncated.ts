import type { ReadoutLayer, SnnLayer, SpikingModel } from '../snn/model.js';
import type { FoldedLayer, FoldedNetwork } from './folded.js';
import { assembleModel, quantize } from './quantize.js';

/** A layer with int8 weights, as conversion makes it. */
export function integerLayer(folded: FoldedNetwork, layer: FoldedLayer, timeSteps: number): SnnLayer {
  return quantize({ ...folded, layers: [layer] }, { weights: 'int8', timeSteps }).layers[0]!.layer;
}

/** The first layers of a network, with a read-out that reads nothing. */
export function truncatedModel(folded: FoldedNetwork, layers: readonly SnnLayer[]): SpikingModel {
  const { name, shape } = layers.at(-1)!;
  const [channels, height, width] = shape as [number, number, number];
  const readout: ReadoutLayer = {
    kind: 'readout',
    name: `${name}.nothing`,
    shape: [1, 1, 1],
    synapses: [
      {
        kind: 'conv2d',
        source: name,
        kernel: [1, 1],
        stride: [height, width],
        padding: [0, 0, 0, 0],
        groups: 1,
        shift: 0,
        weight: new Int8Array(channels),
        multiplier: Int32Array.of(1),
      },
    ],
    bias: new Int32Array(1),
    unit: Float64Array.of(1),
  };
  const { inputScale } = quantize({ ...folded, layers: [] }, { weights: 'int8', timeSteps: 1 });
  const model = assembleModel({ ...folded, classes: ['nothing'] }, { inputScale, layers: [] }, name, {});
  return { ...model, layers: [...layers, readout] };
}
