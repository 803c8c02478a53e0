import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { Activation, Graph } from '../../src/graph/graph.js';
import { initialParameters, parameterSpecs } from '../../src/graph/parameters.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { Random } from '../../src/random.js';
import { elementCount } from '../../src/tensor.js';
import { OnnxBuilder } from '../../src/onnx/builder.js';
import { crossEntropy, emitBatchSize } from '../../src/training/loss.js';
import { trainingModel } from '../../src/training/models.js';
import { crossEntropyOf, denseForward, type Values } from '../support/denseForward.js';
import { centralDifferences } from '../support/differences.js';

const relu: Activation = { kind: 'relu' };
const qcfs: Activation = { kind: 'qcfs', levels: 4, initialThreshold: 1.3 };
const lsq: Activation = { kind: 'lsq', levels: 3, initialScale: 0.37 };
const batch = 5;
const labels = [0, 2, 1, 2, 0];

/** A linear layer before and after, so that the gradient of the layer's input is tested too. */
function mapNetwork(shape: readonly number[], body: (b: GraphBuilder, x: string) => string): Graph {
  const b = new GraphBuilder('test', shape);
  const first = b.conv2d(b.input, 'first', { outChannels: 4, kernel: 1, bias: true });
  return b.build(b.linear(b.flatten(body(b, first), 'flat'), 'last', { outFeatures: 3 }));
}
const conv = (options: Parameters<GraphBuilder['conv2d']>[2]) => mapNetwork([2, 9, 8], (b, x) => b.conv2d(x, 'layer', options));
const vectorNetwork = (body: (b: GraphBuilder, x: string) => string): Graph => {
  const b = new GraphBuilder('test', [6]);
  return b.build(b.linear(body(b, b.linear(b.input, 'first', { outFeatures: 5 })), 'last', { outFeatures: 3 }));
};

const graphs: Record<string, Graph> = {
  'conv 3x3': conv({ outChannels: 3, kernel: 3, padding: 1 }),
  'conv 3x3 on a small map': mapNetwork([2, 5, 4], (b, x) => b.conv2d(x, 'layer', { outChannels: 3, kernel: 3, padding: 1 })),
  'conv without padding, with bias': conv({ outChannels: 3, kernel: [2, 3], bias: true }),
  'conv stride 2, odd map': conv({ outChannels: 3, kernel: 3, stride: 2, padding: 1 }),
  'conv stride 2 that leaves a column': conv({ outChannels: 3, kernel: 3, stride: [2, 3] }),
  'conv 1x1 stride 2': conv({ outChannels: 3, kernel: 1, stride: 2 }),
  'conv 5x5 asymmetric padding': conv({ outChannels: 2, kernel: 5, padding: [1, 2, 3, 0] }),
  'conv padded beyond its kernel': conv({ outChannels: 2, kernel: 2, padding: 3 }),
  'conv in 2 groups': conv({ outChannels: 6, kernel: 3, padding: 1, groups: 2 }),
  'conv in 2 groups, stride 2': conv({ outChannels: 2, kernel: 3, padding: 1, stride: 2, groups: 2 }),
  'depthwise conv': conv({ outChannels: 4, kernel: 3, padding: 1, groups: 4 }),
  'depthwise conv that widens': conv({ outChannels: 8, kernel: 3, padding: 1, groups: 4 }),
  linear: vectorNetwork((b, x) => b.linear(x, 'layer', { outFeatures: 4 })),
  'linear without bias': vectorNetwork((b, x) => b.linear(x, 'layer', { outFeatures: 4, bias: false })),
  'batch norm of maps': mapNetwork([2, 5, 4], (b, x) => b.batchNorm(x, 'layer')),
  'batch norm of vectors': vectorNetwork((b, x) => b.batchNorm(x, 'layer', { epsilon: 1e-3 })),
  'batch norm of values far from 0': mapNetwork([2, 5, 4], (b, x) => b.batchNorm(b.conv2d(x, 'offset', { outChannels: 3, kernel: 1, bias: true }), 'layer')),
  relu: vectorNetwork((b, x) => b.activation(x, 'layer', relu)),
  'relu with a cap': vectorNetwork((b, x) => b.activation(x, 'layer', { kind: 'relu', cap: 0.4 })),
  qcfs: mapNetwork([2, 5, 4], (b, x) => b.activation(x, 'layer', qcfs)),
  'qcfs after batch norm': mapNetwork([2, 9, 8], (b, x) => b.activation(b.batchNorm(x, 'bn'), 'layer', qcfs)),
  lsq: mapNetwork([2, 5, 4], (b, x) => b.activation(x, 'layer', lsq)),
  'lsq after batch norm': mapNetwork([2, 9, 8], (b, x) => b.activation(b.batchNorm(x, 'bn'), 'layer', lsq)),
  'add of two branches': mapNetwork([2, 5, 4], (b, x) => b.add(b.conv2d(x, 'branch', { outChannels: 4, kernel: 3, padding: 1 }), x, 'layer')),
  'add of a value to itself': vectorNetwork((b, x) => b.add(x, x, 'layer')),
  'concat of maps': mapNetwork([2, 5, 4], (b, x) => b.concat([b.conv2d(x, 'branch', { outChannels: 3, kernel: 3, padding: 1 }), x, b.activation(x, 'act', relu)], 'layer')),
  'concat of a vector with itself': vectorNetwork((b, x) => b.concat([x, x], 'layer')),
  'average pool': mapNetwork([2, 6, 4], (b, x) => b.avgPool(x, 'layer', 2)),
  'average pool that drops a row': mapNetwork([2, 5, 4], (b, x) => b.avgPool(x, 'layer', 2)),
  'overlapping average pool': mapNetwork([2, 7, 7], (b, x) => b.avgPool(x, 'layer', 3, 2)),
  'max pool': mapNetwork([2, 6, 4], (b, x) => b.maxPool(x, 'layer', 2)),
  'overlapping max pool with uneven padding': mapNetwork([2, 7, 6], (b, x) => b.maxPool(x, 'layer', [3, 2], [2, 1], [1, 0, 2, 1])),
  'global average pool': mapNetwork([2, 5, 4], (b, x) => b.globalAvgPool(x, 'layer')),
  'residual block': mapNetwork([2, 6, 6], (b, x) => {
    const first = b.activation(b.batchNorm(b.conv2d(x, 'c1', { outChannels: 4, kernel: 3, padding: 1 }), 'b1'), 'a1', qcfs);
    const second = b.batchNorm(b.conv2d(first, 'c2', { outChannels: 4, kernel: 3, padding: 1 }), 'b2');
    return b.activation(b.add(second, x, 'sum'), 'a2', qcfs);
  }),
};

function setUp(graph: Graph): { values: Values; images: Float64Array } {
  const random = new Random(11);
  const values: Values = new Map();
  for (const [name, { data }] of initialParameters(graph, random)) {
    // Away from the symmetric start, so that no gradient is 0 by accident.
    const moved = name.endsWith('bias') || (name.includes('b') && name.endsWith('.weight') && data.every((v) => v === 1));
    const offset = name === 'offset.bias' ? 100 : 0;
    values.set(name, Float64Array.from(data, (v) => Math.fround(offset + (moved ? v + 0.3 * random.normal() : v))));
  }
  const images = Float64Array.from({ length: batch * elementCount(graph.input.shape) }, () => Math.fround(random.normal()));
  return { values, images };
}

async function runTraining(graph: Graph, values: Values, images: Float64Array, activityPenalty = 0): Promise<Map<string, Float32Array>> {
  const ort = await loadRuntime();
  const session = await openSession(trainingModel(graph, { noise: 'none', activityPenalty, labelSmoothing: 0 }), { threads: 1 });
  const feeds = Object.fromEntries(
    parameterSpecs(graph).map(({ name, shape }) => [name, new ort.Tensor('float32', Float32Array.from(values.get(name)!), [...shape])]),
  );
  const results = await session.run({
    ...Object.fromEntries(Object.entries(feeds).filter(([name]) => session.inputNames.includes(name))),
    input: new ort.Tensor('float32', Float32Array.from(images), [batch, ...graph.input.shape]),
    labels: new ort.Tensor('int64', BigInt64Array.from(labels, BigInt), [batch]),
  });
  await session.release();
  return new Map(Object.entries(results).map(([name, tensor]) => [name, tensor.data as Float32Array]));
}

/** Central differences of the float64 loss, with the rounding residuals kept: the straight-through derivative. */
function numericGradient(graph: Graph, values: Values, images: Float64Array, name: string): Float64Array {
  const frozen: Values = new Map();
  denseForward(graph, values, images, batch, { training: true, record: frozen });
  const loss = (): number => crossEntropyOf(denseForward(graph, values, images, batch, { training: true, frozen }).get(graph.output)!, labels);
  return centralDifferences(values.get(name)!, loss);
}

function relativeError(actual: ArrayLike<number>, expected: Float64Array): number {
  let [difference, size] = [0, 0];
  expected.forEach((value, i) => {
    difference += (actual[i]! - value) ** 2;
    size += value ** 2;
  });
  // A bias before a batch normalisation has gradient 0: there the error itself counts.
  return Math.sqrt(difference) / (size < 1e-12 ? 0.1 : Math.sqrt(size));
}

describe.each(Object.entries(graphs))('%s', (_, graph) => {
  test('loss and gradients equal central differences', async () => {
    const { values, images } = setUp(graph);
    const results = await runTraining(graph, values, images);
    const dense = denseForward(graph, values, images, batch, { training: true });
    expect(results.get('loss')![0]).toBeCloseTo(crossEntropyOf(dense.get(graph.output)!, labels), 5);
    for (const { name, role } of parameterSpecs(graph)) {
      if (role === 'buffer') continue;
      const expected = numericGradient(graph, values, images, name);
      const damping = name.endsWith('.scale') ? Math.sqrt(batch * lsq.levels) : 1;
      expect(relativeError(results.get(`${name}.grad`)!, expected.map((g) => g / damping)), name).toBeLessThan(1e-4);
    }
  });
});

test('label smoothing: loss and gradient of the spread targets', async () => {
  const ort = await loadRuntime();
  const onnx = new OnnxBuilder('loss');
  const loss = crossEntropy(onnx, onnx.input('logits', 'float32', ['N', 3]), onnx.input('labels', 'int64', ['N']), 3, emitBatchSize(onnx, 'labels'), 0.3);
  onnx.output(loss.value, 'loss', 'float32', []);
  onnx.output(loss.gradient(), 'gradient', 'float32', ['N', 3]);
  const session = await openSession(onnx.build(), { threads: 1 });
  const logits = [1, -0.5, 0.25];
  const results = await session.run({ logits: new ort.Tensor('float32', Float32Array.from(logits), [1, 3]), labels: new ort.Tensor('int64', BigInt64Array.of(2n), [1]) });
  const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
  const targets = [0.1, 0.1, 0.8];
  expect((results.loss!.data as Float32Array)[0]).toBeCloseTo(-targets.reduce((sum, p, i) => sum + p * (logits[i]! - Math.log(total)), 0), 5);
  (results.gradient!.data as Float32Array).forEach((g, i) => expect(g).toBeCloseTo(Math.exp(logits[i]!) / total - targets[i]!, 5));
});

test('mixed labels: loss, hits and gradient of the weighted targets', async () => {
  const ort = await loadRuntime();
  const onnx = new OnnxBuilder('loss');
  const inputs = [onnx.input('logits', 'float32', ['N', 3]), onnx.input('labels', 'int64', ['N'])] as const;
  const mixed = { labels: onnx.input('second', 'int64', ['N']), weight: onnx.input('weight', 'float32', []) };
  const loss = crossEntropy(onnx, ...inputs, 3, emitBatchSize(onnx, 'labels'), 0.3, mixed);
  onnx.output(loss.value, 'loss', 'float32', []);
  onnx.output(loss.correct, 'correct', 'float32', []);
  onnx.output(loss.gradient(), 'gradient', 'float32', ['N', 3]);
  const session = await openSession(onnx.build(), { threads: 1 });
  const logits = [1, -0.5, 0.25];
  const results = await session.run({
    logits: new ort.Tensor('float32', Float32Array.from(logits), [1, 3]),
    labels: new ort.Tensor('int64', BigInt64Array.of(2n), [1]),
    second: new ort.Tensor('int64', BigInt64Array.of(0n), [1]),
    weight: new ort.Tensor('float32', Float32Array.of(0.6), []),
  });
  const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
  // 0.6 of [0.1, 0.1, 0.8] and 0.4 of [0.8, 0.1, 0.1].
  const targets = [0.38, 0.1, 0.52];
  expect((results.loss!.data as Float32Array)[0]).toBeCloseTo(-targets.reduce((sum, p, i) => sum + p * (logits[i]! - Math.log(total)), 0), 5);
  expect((results.correct!.data as Float32Array)[0]).toBeCloseTo(0.4, 6);
  (results.gradient!.data as Float32Array).forEach((g, i) => expect(g).toBeCloseTo(Math.exp(logits[i]!) / total - targets[i]!, 5));
});

test('the activity penalty adds its own gradient: that of weight * mean(level / levels), straight through', async () => {
  const graph = graphs['qcfs after batch norm']!;
  const { values, images } = setUp(graph);
  const weight = 0.7;
  const plain = await runTraining(graph, values, images);
  const penalised = await runTraining(graph, values, images, weight);
  const activation = graph.nodes.find((node) => node.name === 'layer')!;
  const frozen: Values = new Map();
  denseForward(graph, values, images, batch, { training: true, record: frozen });
  const rate = (): number => {
    const dense = denseForward(graph, values, images, batch, { training: true, frozen });
    const theta = values.get('layer.threshold')![0]!;
    return (weight * dense.get(activation.name)!.reduce((a, b) => a + b)) / (theta * dense.get(activation.name)!.length);
  };
  for (const name of ['bn.weight', 'bn.bias', 'first.weight', 'layer.threshold']) {
    const expected = centralDifferences(values.get(name)!, rate);
    const added = penalised.get(`${name}.grad`)!.map((g, i) => g - plain.get(`${name}.grad`)![i]!);
    expect(relativeError(added, expected), name).toBeLessThan(1e-3);
  }
});
