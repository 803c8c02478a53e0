import { describe, expect, it } from 'vitest';
import { convert } from '../src/convert/convert.js';
import { NoisefloorError } from '../src/errors.js';
import { GraphBuilder } from '../src/graph/builder.js';
import type { Graph } from '../src/graph/graph.js';
import type { TrainedNetwork } from '../src/graph/network.js';
import { constructedNetwork, randomNetwork } from './support/trainedNetworks.js';

const qcfs = { kind: 'qcfs', levels: 4, initialThreshold: 1 } as const;

function errorOf(run: () => unknown): NoisefloorError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(NoisefloorError);
    return error as NoisefloorError;
  }
  throw new Error('accepted');
}

function networkOf(build: (b: GraphBuilder) => string): TrainedNetwork {
  const b = new GraphBuilder('errors', [2, 8, 8]);
  return randomNetwork(b.build(build(b)), 1);
}

function neurons(b: GraphBuilder, name = 'act'): string {
  return b.activation(b.conv2d(b.input, `${name}.conv`, { outChannels: 3, kernel: 3, padding: 1 }), name, qcfs);
}

function logits(b: GraphBuilder, x: string): string {
  return b.linear(b.flatten(x, 'flat'), 'fc', { outFeatures: 4 });
}

describe('what has no exact spiking counterpart', () => {
  const cases: [string, (b: GraphBuilder) => string, RegExp][] = [
    [
      'relu',
      (b) => logits(b, b.activation(b.conv2d(b.input, 'conv', { outChannels: 3, kernel: 3 }), 'rectifier', { kind: 'relu' })),
      /node "rectifier": relu has no threshold\. Calibrate it on images first: calibrate\(\), or --calibrate/,
    ],
    [
      'convolution after convolution',
      (b) => logits(b, b.conv2d(b.batchNorm(b.conv2d(neurons(b), 'one', { outChannels: 3, kernel: 1 }), 'bn'), 'two', { outChannels: 3, kernel: 1 })),
      /node "two": it follows another convolution .* of "act".* Put an activation between/,
    ],
    [
      'linear after convolution',
      (b) => logits(b, b.conv2d(neurons(b), 'one', { outChannels: 3, kernel: 1 })),
      /node "fc": it follows another convolution/,
    ],
    [
      'zero padding of a map with an offset',
      (b) => logits(b, neuronsAfter(b, b.conv2d(b.batchNorm(neurons(b), 'bn'), 'conv', { outChannels: 3, kernel: 3, padding: 1 }))),
      /node "conv": it pads with zeros a map that has an offset/,
    ],
    [
      'batch norm of a flattened map',
      (b) => b.linear(b.batchNorm(b.flatten(neurons(b), 'flat'), 'bn'), 'fc', { outFeatures: 4 }),
      /node "bn": it scales features of a flattened map apart.*before the flatten/,
    ],
    [
      'average of overlapping averages',
      (b) => logits(b, b.avgPool(b.avgPool(neurons(b), 'inner', 3, 1), 'outer', 2)),
      /node "outer": it pools windows of an earlier pool that overlap/,
    ],
    [
      'average of averages with gaps',
      (b) => logits(b, b.avgPool(b.avgPool(neurons(b), 'inner', 1, 2), 'outer', 2)),
      /node "outer": .* or leave gaps/,
    ],
    [
      'a map as logits',
      (b) => b.flatten(neurons(b), 'flat'),
      /node "flat": its logits are a flattened map\. End the network in a linear layer/,
    ],
    [
      'a node that nothing reads',
      (b) => {
        const x = neurons(b);
        b.avgPool(x, 'forgotten', 2);
        return logits(b, x);
      },
      /node "forgotten": the output does not depend on it\. Remove it/,
    ],
  ];
  it.each(cases)('%s', (_, build, message) => {
    const error = errorOf(() => convert(networkOf(build)));
    expect(error.code).toBe('CONVERSION');
    expect(error.message).toMatch(message);
  });

  it('an offset without padding is exact, so it is not refused', () => {
    const network = networkOf((b) => logits(b, neuronsAfter(b, b.conv2d(b.batchNorm(neurons(b), 'bn'), 'conv', { outChannels: 3, kernel: 3 }))));
    expect(convert(network).report.observed!.spikeCountDifference).toBeLessThan(0.03);
  });
});

function neuronsAfter(b: GraphBuilder, x: string): string {
  return b.activation(x, 'act2', qcfs);
}

describe('parameters that cannot be converted', () => {
  const name = 'residual identity, projection, global pool';
  const change = (change: (network: TrainedNetwork) => TrainedNetwork | void): NoisefloorError => {
    const network = constructedNetwork(name, 2);
    const copy = { ...network, parameters: new Map(network.parameters) };
    return errorOf(() => convert(change(copy) ?? copy));
  };
  const put = (parameter: string, index: number, value: number) => (network: TrainedNetwork) => {
    network.parameters.get(parameter)!.data[index] = value;
  };
  it.each<[string, (network: TrainedNetwork) => TrainedNetwork | void, RegExp]>([
    ['missing', (n) => void n.parameters.delete('conv2.weight'), /node "conv2": its parameter "conv2.weight" is missing/],
    ['of another size', (n) => void n.parameters.set('fc.bias', { shape: [1], data: new Float32Array(1) }), /"fc.bias" has 1 elements instead of 4/],
    ['NaN', put('conv1.weight', 3, NaN), /"conv1.weight" holds NaN or infinity/],
    ['a threshold of 0', put('act1.threshold', 0, 0), /node "act1": its threshold 0 is not positive/],
    ['a negative scale', put('act3.scale', 0, -1), /node "act3": its threshold -3 is not positive/],
    ['a negative variance', put('conv1.bn.running_var', 0, -1), /node "conv1.bn": a running variance plus epsilon is not positive/],
    ['too few class names', (n) => ({ ...n, classes: ['a'] }), /node "fc": it gives 4 logits for 1 classes/],
    ['a normalization of other channels', (n) => ({ ...n, normalization: { mean: [0], std: [1] } }), /has 2 channels, the normalization 1/],
    ['a node with the name of the input', renameFirstActivation, /node "input": "input" names the image/],
    ['currents of thousands of thresholds', put('conv4.bn.weight', 2, 1e5), /node "act4": the largest current of channel 2 .* Convert for fewer time steps/],
  ])('%s', (_, edit, message) => {
    const error = change(edit);
    expect(error.code).toBe('CONVERSION');
    expect(error.message).toMatch(message);
  });

  it('strong currents convert for fewer time steps, and the report says so', () => {
    const network = constructedNetwork(name, 2);
    network.parameters.get('conv4.bn.weight')!.data[2] = 4000;
    expect(errorOf(() => convert(network)).code).toBe('CONVERSION');
    const { report } = convert(network, { timeSteps: 8 });
    expect(report.largestTimeSteps).toBeGreaterThanOrEqual(8);
    expect(report.largestTimeSteps).toBeLessThan(64);
    expect(Math.max(...report.layers.map((layer) => layer.membraneError))).toBeLessThan(0.01);
  });
});

function renameFirstActivation(network: TrainedNetwork): TrainedNetwork {
  const rename = (text: string) => text.replaceAll('"input"}', '"image"}').replaceAll('"name":"input"', '"name":"image"');
  const graph = JSON.parse(rename(JSON.stringify(network.graph)).replaceAll('"input":"input"', '"input":"image"').replaceAll('"act0"', '"input"')) as Graph;
  const parameters = new Map([...network.parameters].map(([key, tensor]) => [key.replace(/^act0\./, 'input.'), tensor]));
  return { ...network, graph, parameters };
}

describe('options', () => {
  const network = constructedNetwork('linear only', 1);
  it.each<[string, object, RegExp]>([
    ['unknown width', { weights: 'int4' }, /Unknown weights "int4"\. Should be one of: int7, int8, int16/],
    ['empty name', { name: '' }, /non-empty string for name/],
    ['no time steps', { timeSteps: 0 }, /whole number from 1 to 1024 for timeSteps/],
    ['too many time steps', { timeSteps: 1025 }, /whole number from 1 to 1024 for timeSteps/],
  ])('%s', (_, options, message) => {
    const error = errorOf(() => convert(network, options));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toMatch(message);
  });

  it('names the model and keeps its provenance', () => {
    const { model, report } = convert(network, { name: 'mine' });
    expect(model.name).toBe('mine');
    expect(model.provenance).toEqual({ seed: 1, conversion: report });
    expect(convert(network).model.name).toBe('constructed');
  });
});
