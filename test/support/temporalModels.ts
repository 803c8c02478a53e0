import { expect } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { Activation, Graph } from '../../src/graph/graph.js';
import { parameterSpecs } from '../../src/graph/parameters.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { elementCount } from '../../src/tensor.js';
import type { TemporalConfig } from '../../src/training/temporal/options.js';
import type { Values } from './denseForward.js';
import { randomNetwork } from './trainedNetworks.js';

export const qcfs: Activation = { kind: 'qcfs', levels: 4, initialThreshold: 0.6 };
const lsq: Activation = { kind: 'lsq', levels: 3, initialScale: 0.2 };
export const defaults: TemporalConfig = { timeSteps: 3, surrogate: 'rectangle', detachReset: true, lossPerStep: 0, trainThresholds: true };
export const count = 4;
export const labels = [0, 2, 1, 2];

export type Results = Map<string, Float32Array>;

export async function runModel(model: Uint8Array, graph: Graph, values: Values, images: ArrayLike<number>, batchLabels = labels): Promise<Results> {
  const ort = await loadRuntime();
  const session = await openSession(model, { threads: 1 });
  const tensor = (data: ArrayLike<number>, shape: readonly number[]) => new ort.Tensor('float32', Float32Array.from(data), [...shape]);
  const n = images.length / elementCount(graph.input.shape);
  const feeds = {
    ...Object.fromEntries(parameterSpecs(graph).map(({ name, shape }) => [name, tensor(values.get(name)!, shape)])),
    input: tensor(images, [n, ...graph.input.shape]),
    labels: new ort.Tensor('int64', BigInt64Array.from(batchLabels, BigInt), [batchLabels.length]),
  };
  const results = await session.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => session.inputNames.includes(name))));
  await session.release();
  return new Map(Object.entries(results).map(([name, { data }]) => [name, data as Float32Array]));
}

export function setUp(graph: Graph, seed = 3): { values: Values; images: Float64Array } {
  const { parameters, samples } = randomNetwork(graph, seed, count);
  return {
    values: new Map([...parameters].map(([name, { data }]) => [name, Float64Array.from(data)])),
    images: Float64Array.from(samples!.images),
  };
}

export function relativeError(actual: ArrayLike<number>, expected: Float64Array): number {
  expect(actual).toHaveLength(expected.length);
  return Math.hypot(...expected.map((value, i) => actual[i]! - value)) / Math.hypot(...expected);
}

/** Of each channel, of `count` values, the variance that of the batch. */
export interface Statistics {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
  readonly count: number;
}

/** @param values [images, channels, ...] */
export function perChannel(values: Float64Array, images: number, channels: number): Statistics {
  const area = values.length / images / channels;
  const of = (channel: number): Float64Array => values.filter((_, i) => Math.floor(i / area) % channels === channel);
  const average = (list: Float64Array): number => list.reduce((a, b) => a + b) / list.length;
  const mean = Float64Array.from({ length: channels }, (_, channel) => average(of(channel)));
  const variance = mean.map((centre, channel) => average(of(channel).map((value) => (value - centre) ** 2)));
  return { mean, variance, count: images * area };
}

/** Networks whose forward and backward passes have every rule of training over time. */
export const graphs: Record<string, Graph> = {
  'two layers of neurons': (() => {
    const b = new GraphBuilder('mlp', [6]);
    const first = b.activation(b.linear(b.input, 'fc1', { outFeatures: 9 }), 'act1', qcfs);
    const second = b.activation(b.batchNorm(b.linear(first, 'fc2', { outFeatures: 8, bias: false }), 'bn2'), 'act2', lsq);
    return b.build(b.linear(second, 'fc3', { outFeatures: 3 }));
  })(),
  'residual block with pool': (() => {
    const b = new GraphBuilder('residual', [1, 4, 3]);
    const convBn = (x: string, name: string): string => b.batchNorm(b.conv2d(x, name, { outChannels: 2, kernel: 3, padding: 1 }), `${name}.bn`);
    const stem = b.activation(convBn(b.input, 'stem'), 'act0', qcfs);
    const inner = b.activation(convBn(stem, 'conv1'), 'act1', lsq);
    const block = b.activation(b.add(convBn(inner, 'conv2'), stem, 'sum'), 'act2', qcfs);
    return b.build(b.linear(b.flatten(b.avgPool(block, 'pool', 2), 'flat'), 'fc', { outFeatures: 3 }));
  })(),
  'a threshold that is fixed and one that is not': (() => {
    const b = new GraphBuilder('spikes', [6]);
    const first = b.activation(b.linear(b.input, 'fc1', { outFeatures: 9 }), 'act1', { kind: 'spike', initialThreshold: 0.6, trainable: false });
    const second = b.activation(b.linear(first, 'fc2', { outFeatures: 8 }), 'act2', { kind: 'spike', initialThreshold: 0.6, trainable: true });
    return b.build(b.linear(second, 'fc3', { outFeatures: 3 }));
  })(),
  'overlapping max-pooling of spikes, and of a steady value': (() => {
    const b = new GraphBuilder('pooled', [2, 6, 5]);
    const still = b.maxPool(b.conv2d(b.input, 'conv0', { outChannels: 3, kernel: 1, bias: true }), 'pool0', 2, 1);
    const spikes = b.activation(still, 'act1', qcfs);
    const pooled = b.maxPool(b.batchNorm(spikes, 'bn'), 'pool1', [3, 2], [2, 1], [1, 0, 1, 1]);
    const second = b.activation(b.conv2d(b.concat([pooled, pooled], 'both'), 'conv1', { outChannels: 2, kernel: 2 }), 'act2', qcfs);
    return b.build(b.linear(b.flatten(second, 'flat'), 'fc', { outFeatures: 3 }));
  })(),
  'a steady value added to spikes': (() => {
    const b = new GraphBuilder('steady', [2, 4, 3]);
    const still = b.batchNorm(b.conv2d(b.input, 'conv0', { outChannels: 2, kernel: 1, bias: true }), 'bn0');
    const spikes = b.activation(still, 'act1', qcfs);
    const sum = b.add(b.add(b.conv2d(spikes, 'conv1', { outChannels: 2, kernel: 3, padding: 1 }), still, 'add1'), b.input, 'add2');
    return b.build(b.linear(b.flatten(b.activation(sum, 'act2', qcfs), 'flat'), 'fc', { outFeatures: 3 }));
  })(),
};
