import type { Split } from '../../src/data/dataset.js';
import type { Simulator } from '../../src/evaluate/simulator.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { TrainedNetwork } from '../../src/graph/network.js';
import { initialParameters } from '../../src/graph/parameters.js';
import { Random } from '../../src/random.js';
import { inputName, type ConvSynapse, type SpikingModel } from '../../src/snn/model.js';
import { simulate } from '../../src/snn/reference.js';
import { elementCount } from '../../src/tensor.js';

export const normalization = { mean: [0], std: [1] };

export function convSynapse(source: string, change: Partial<ConvSynapse> & Pick<ConvSynapse, 'weight' | 'multiplier'>): ConvSynapse {
  return { kind: 'conv2d', source, stride: [1, 1], kernel: [1, 1], padding: [0, 0, 0, 0], groups: 1, shift: 0, ...change };
}

/**
 * The dense network conv 1x1 (weights 1/2 and 1/4), QCFS with theta 1 and 4 levels, flatten, linear to three classes,
 * and its exact integer counterpart, made by hand: pixels in 1/4096, potentials of the neurons in 1/16384.
 */
export function smallNetwork(): { network: TrainedNetwork; model: SpikingModel } {
  const b = new GraphBuilder('small', [1, 2, 2]);
  let x = b.conv2d(b.input, 'conv', { outChannels: 2, kernel: 1 });
  x = b.activation(x, 'act', { kind: 'qcfs', levels: 4, initialThreshold: 1 });
  const graph = b.build(b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 3 }));
  const parameters = initialParameters(graph, new Random(1));
  parameters.set('conv.weight', { shape: [2, 1, 1, 1], data: Float32Array.of(0.5, 0.25) });
  const fc = Int8Array.from({ length: 24 }, (_, i) => ((i * 7) % 11) - 5);
  parameters.set('fc.weight', { shape: [3, 8], data: Float32Array.from(fc, (w) => w / 8) });
  parameters.set('fc.bias', { shape: [3], data: Float32Array.of(1 / 8, 0, -1 / 8) });
  const classes = ['a', 'b', 'c'];
  const model: SpikingModel = {
    name: 'small',
    input: { shape: [1, 2, 2], normalization, scale: 4096 },
    layers: [
      {
        kind: 'spiking',
        name: 'act',
        shape: [2, 2, 2],
        synapses: [convSynapse(inputName, { weight: Int8Array.of(2, 1), multiplier: Int32Array.of(1, 1) })],
        bias: new Int32Array(2),
        unit: Float64Array.of(1 / 16384, 1 / 16384),
        threshold: Int32Array.of(16384, 16384),
        initialPotential: Int32Array.of(8192, 8192),
      },
      {
        kind: 'readout',
        name: 'fc',
        shape: [3, 1, 1],
        synapses: [convSynapse('act', { weight: fc, kernel: [2, 2], multiplier: Int32Array.of(1, 1, 1) })],
        bias: Int32Array.of(1, 0, -1),
        unit: Float64Array.of(1 / 8, 1 / 8, 1 / 8),
      },
    ],
    classes,
    provenance: {},
  };
  return { network: { graph, parameters, classes, normalization, provenance: {} }, model };
}

/** The reference simulator in the shape of a session. */
export function referenceSession(model: SpikingModel): Simulator {
  const size = elementCount(model.input.shape);
  return {
    model,
    isa: 'reference',
    threads: 1,
    run: (images, options) => Promise.resolve(simulate(model, images, images.length / size, options)),
  };
}

export function randomSplit(count: number, size: number, classes: number, seed = 3): Split {
  const random = new Random(seed);
  return {
    images: Uint8Array.from({ length: count * size }, () => random.integer(256)),
    labels: Uint8Array.from({ length: count }, () => random.integer(classes)),
    count,
  };
}
