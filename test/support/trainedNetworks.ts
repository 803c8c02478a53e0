import type { Graph } from '../../src/graph/graph.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { TrainedNetwork } from '../../src/graph/network.js';
import { initialParameters } from '../../src/graph/parameters.js';
import { Random } from '../../src/random.js';
import { elementCount } from '../../src/tensor.js';

/** A graph with random parameters of the size that training gives, batch statistics included; `samples` random images. */
export function randomNetwork(graph: Graph, seed: number, samples = 2): TrainedNetwork {
  const random = new Random(seed);
  const parameters = initialParameters(graph, random);
  for (const [name, { data }] of parameters) {
    const suffix = name.slice(name.lastIndexOf('.') + 1);
    if (suffix === 'running_var') data.forEach((_, i) => (data[i] = 0.3 + 2 * random.uniform()));
    else if (suffix === 'running_mean' || suffix === 'bias') data.forEach((_, i) => (data[i] = 0.3 * random.normal()));
    else if (name.endsWith('.weight') && isBatchNorm(graph, name)) data.forEach((_, i) => (data[i] = 0.6 + random.uniform()));
    else if (suffix === 'threshold' || suffix === 'scale') data[0] = data[0]! * (0.8 + 0.4 * random.uniform());
  }
  const output = graph.nodes.find((node) => node.name === graph.output)!;
  const classes = output.op === 'linear' ? output.outFeatures : 4;
  const channels = graph.input.shape[0]!;
  const images = Float32Array.from({ length: samples * elementCount(graph.input.shape) }, () => 2 * random.uniform() - 0.8);
  return {
    graph,
    parameters,
    classes: Array.from({ length: classes }, (_, i) => `class ${i}`),
    normalization: { mean: new Array<number>(channels).fill(0.45), std: new Array<number>(channels).fill(0.5) },
    samples: { images, count: samples },
    provenance: { seed },
  };
}

function isBatchNorm(graph: Graph, parameter: string): boolean {
  return graph.nodes.some((node) => node.op === 'batchNorm' && parameter === `${node.name}.weight`);
}

const qcfs = { kind: 'qcfs', levels: 4, initialThreshold: 1.3 } as const;
const lsq = { kind: 'lsq', levels: 3, initialScale: 0.4 } as const;

/** One small graph for each construction that conversion must fold, by what it shows. */
export const constructions: Record<string, (b: GraphBuilder) => string> = {
  'linear only': (b) => b.linear(b.flatten(b.input, 'flat'), 'fc', { outFeatures: 4 }),
  'multi-layer perceptron': (b) => {
    const x = b.activation(b.linear(b.flatten(b.input, 'flat'), 'fc1', { outFeatures: 20 }), 'act1', qcfs);
    const y = b.activation(b.batchNorm(b.linear(x, 'fc2', { outFeatures: 15, bias: false }), 'bn'), 'act2', lsq);
    return b.linear(y, 'fc3', { outFeatures: 4 });
  },
  'residual identity, projection, global pool': (b) => {
    const convBn = (x: string, name: string, outChannels: number, kernel: number, stride: number) =>
      b.batchNorm(b.conv2d(x, name, { outChannels, kernel, stride, padding: (kernel - 1) / 2 }), `${name}.bn`);
    const x = b.activation(convBn(b.input, 'stem', 6, 3, 1), 'act0', qcfs);
    const first = b.activation(convBn(x, 'conv1', 6, 3, 1), 'act1', qcfs);
    const block = b.activation(b.add(convBn(first, 'conv2', 6, 3, 1), x, 'add1'), 'act2', qcfs);
    const down = b.activation(convBn(block, 'conv3', 8, 3, 2), 'act3', lsq);
    const wide = b.add(convBn(block, 'shortcut', 8, 1, 2), convBn(down, 'conv4', 8, 3, 1), 'add2');
    const features = b.flatten(b.globalAvgPool(b.activation(wide, 'act4', qcfs), 'pool'), 'flat');
    return b.linear(features, 'fc', { outFeatures: 4 });
  },
  'groups, bias, asymmetric padding and stride': (b) => {
    const x = b.activation(b.conv2d(b.input, 'conv1', { outChannels: 6, kernel: [3, 2], padding: [1, 0, 2, 1], bias: true }), 'act1', qcfs);
    const y = b.activation(b.conv2d(x, 'conv2', { outChannels: 9, kernel: 3, stride: [2, 1], groups: 3, bias: true }), 'act2', qcfs);
    const z = b.activation(b.conv2d(y, 'depthwise', { outChannels: 9, kernel: 2, groups: 9 }), 'act3', qcfs);
    return b.linear(b.flatten(z, 'flat'), 'fc', { outFeatures: 4 });
  },
  'pool before convolution': (b) => {
    const x = b.activation(b.conv2d(b.input, 'conv1', { outChannels: 5, kernel: 3, padding: 1 }), 'act1', qcfs);
    const y = b.activation(b.conv2d(b.avgPool(x, 'pool1', 2), 'conv2', { outChannels: 6, kernel: 3, padding: 1 }), 'act2', qcfs);
    return b.linear(b.flatten(b.avgPool(y, 'pool2', 3, 1), 'flat'), 'fc', { outFeatures: 4 });
  },
  'pool between convolution and activation': (b) => {
    const conv = b.conv2d(b.input, 'conv1', { outChannels: 5, kernel: 3, padding: 1 });
    const x = b.activation(b.batchNorm(b.avgPool(conv, 'pool1', 2), 'bn1'), 'act1', qcfs);
    const y = b.avgPool(b.batchNorm(b.conv2d(x, 'conv2', { outChannels: 6, kernel: 2, stride: [1, 2], padding: 1 }), 'bn2'), 'pool2', [2, 1], [2, 1]);
    return b.linear(b.flatten(b.activation(y, 'act2', qcfs), 'flat'), 'fc', { outFeatures: 4 });
  },
  'global pool behind the last convolution': (b) => {
    const x = b.activation(b.conv2d(b.input, 'conv1', { outChannels: 5, kernel: 3, padding: 1 }), 'act1', qcfs);
    return b.flatten(b.globalAvgPool(b.conv2d(x, 'conv2', { outChannels: 4, kernel: 3, padding: 1, bias: true }), 'pool'), 'flat');
  },
  'nested pools': (b) => {
    const x = b.activation(b.conv2d(b.input, 'conv1', { outChannels: 5, kernel: 3, padding: 1 }), 'act1', qcfs);
    const pooled = b.avgPool(b.avgPool(b.avgPool(x, 'pool1', 2), 'pool2', 2, 1), 'pool3', 1, 2);
    return b.linear(b.flatten(pooled, 'flat'), 'fc', { outFeatures: 4 });
  },
  'batch norm after an add and on an identity': (b) => {
    const x = b.activation(b.conv2d(b.input, 'conv1', { outChannels: 5, kernel: 3, padding: 1 }), 'act1', qcfs);
    const sum = b.add(b.conv2d(x, 'conv2', { outChannels: 5, kernel: 3, padding: 1 }), b.batchNorm(x, 'bn.identity'), 'add');
    const y = b.activation(b.batchNorm(sum, 'bn.sum'), 'act2', qcfs);
    return b.linear(b.flatten(b.batchNorm(y, 'bn.features'), 'flat'), 'fc', { outFeatures: 4 });
  },
  'tree of adds with the image, a pooled branch and the same spikes twice': (b) => {
    const x = b.activation(b.conv2d(b.input, 'conv1', { outChannels: 2, kernel: 3, padding: 1 }), 'act1', qcfs);
    const y = b.conv2d(x, 'conv2', { outChannels: 2, kernel: 3, padding: 1 });
    const sum = b.add(b.add(y, x, 'add1'), b.add(b.input, x, 'add2'), 'add3');
    const z = b.activation(sum, 'act2', qcfs);
    const small = b.add(b.conv2d(z, 'conv3', { outChannels: 2, kernel: 2, stride: 2 }), b.avgPool(x, 'pool', 2), 'add4');
    return b.linear(b.flatten(b.activation(small, 'act3', qcfs), 'flat'), 'fc', { outFeatures: 4 });
  },
  'convolution of a sum of spikes': (b) => {
    const x = b.activation(b.conv2d(b.input, 'conv1', { outChannels: 5, kernel: 3 }), 'act1', qcfs);
    const y = b.activation(b.conv2d(x, 'conv2', { outChannels: 5, kernel: 3, padding: 1 }), 'act2', lsq);
    const z = b.activation(b.conv2d(b.add(x, y, 'add'), 'conv3', { outChannels: 6, kernel: 3 }), 'act3', qcfs);
    return b.linear(b.flatten(z, 'flat'), 'fc', { outFeatures: 4 });
  },
  'max-pooling of concatenated layers, with padding and behind a batch norm': (b) => {
    const x = b.activation(b.conv2d(b.input, 'conv1', { outChannels: 4, kernel: 3, padding: 1 }), 'act1', qcfs);
    const y = b.activation(b.conv2d(x, 'conv2', { outChannels: 3, kernel: 1, bias: true }), 'act2', lsq);
    const joined = b.concat([b.batchNorm(y, 'bn'), x], 'joined');
    const pooled = b.maxPool(joined, 'pool', 3, 2, [1, 1, 0, 1]);
    const z = b.activation(b.conv2d(pooled, 'conv3', { outChannels: 6, kernel: 2, bias: true }), 'act3', qcfs);
    const flat = b.flatten(b.maxPool(z, 'pool2', 2, 1), 'flat');
    return b.linear(flat, 'fc', { outFeatures: 4 });
  },
  'max-pooling in front of an activation, and in front of another': (b) => {
    const x = b.activation(b.maxPool(b.conv2d(b.input, 'conv1', { outChannels: 4, kernel: 3, padding: 1 }), 'pool1', 2), 'act1', qcfs);
    const y = b.add(x, b.activation(b.maxPool(b.conv2d(x, 'conv2', { outChannels: 4, kernel: 3, padding: 1, bias: true }), 'pool2', 3, 1, 1), 'act2', lsq), 'add');
    return b.linear(b.flatten(b.activation(b.conv2d(y, 'conv3', { outChannels: 3, kernel: 2 }), 'act3', qcfs), 'flat'), 'fc', { outFeatures: 4 });
  },
  'concatenated vectors': (b) => {
    const flat = b.flatten(b.input, 'flat');
    const x = b.activation(b.linear(flat, 'fc1', { outFeatures: 5 }), 'act1', qcfs);
    const y = b.activation(b.linear(x, 'fc2', { outFeatures: 7 }), 'act2', lsq);
    return b.linear(b.concat([y, x], 'joined'), 'fc3', { outFeatures: 4 });
  },
  'concatenation in front of a grouped convolution, an average pool and neurons': (b) => {
    const x = b.activation(b.conv2d(b.input, 'conv1', { outChannels: 4, kernel: 3, padding: 1 }), 'act1', qcfs);
    const grouped = b.conv2d(x, 'conv2', { outChannels: 2, kernel: 3, padding: 1, groups: 2 });
    const joined = b.concat([grouped, x, b.activation(b.conv2d(x, 'conv3', { outChannels: 2, kernel: 1 }), 'act2', lsq)], 'joined');
    const y = b.activation(b.batchNorm(joined, 'bn'), 'act3', qcfs);
    const again = b.concat([b.avgPool(x, 'avg', 2), b.avgPool(y, 'avg2', 2)], 'again');
    const z = b.activation(b.conv2d(again, 'conv4', { outChannels: 6, kernel: 3, groups: 6 }), 'act4', qcfs);
    return b.linear(b.flatten(z, 'flat'), 'fc', { outFeatures: 4 });
  },
  'activation of a flattened map, and neurons as the output': (b) => {
    const x = b.activation(b.flatten(b.conv2d(b.input, 'conv1', { outChannels: 3, kernel: 3 }), 'flat'), 'act1', qcfs);
    return b.activation(b.linear(x, 'fc', { outFeatures: 4 }), 'act2', qcfs);
  },
};

export function constructedNetwork(name: string, seed: number, samples = 2): TrainedNetwork {
  const b = new GraphBuilder('constructed', [2, 8, 8]);
  return randomNetwork(b.build(constructions[name]!(b)), seed, samples);
}
