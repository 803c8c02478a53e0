import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { Graph } from '../../src/graph/graph.js';
import { parameterSpecs } from '../../src/graph/parameters.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { trainingModel } from '../../src/training/models.js';
import type { TemporalConfig } from '../../src/training/temporal/options.js';
import { initialImages, initialValue, relativeError, type Summary } from '../vectors/formula.js';

interface Vectors {
  readonly inputShape: readonly number[];
  readonly classes: number;
  readonly labels: readonly number[];
  readonly cases: Record<
    string,
    { readonly settings: Omit<TemporalConfig, 'trainThresholds'>; readonly seed: number; readonly loss: number; readonly gradients: Record<string, Summary> }
  >;
}

/** Written by benchmarks/peers/make_temporal_vectors.py: PyTorch in float64. */
const vectors = JSON.parse(readFileSync(new URL('../vectors/temporal_step.json', import.meta.url), 'utf8')) as Vectors;
const { inputShape, classes, labels } = vectors;

/** The residual network of the vectors: two stages of one block, 4 and 6 channels. */
function residualNetwork(): Graph {
  const b = new GraphBuilder('residual', inputShape);
  const convBn = (x: string, name: string, outChannels: number, kernel: number, stride: number): string =>
    b.batchNorm(b.conv2d(x, `${name}.conv`, { outChannels, kernel, stride, padding: (kernel - 1) / 2 }), `${name}.bn`);
  const neurons = (x: string, name: string): string => b.activation(x, name, { kind: 'qcfs', levels: 4, initialThreshold: 1 });
  const block = (x: string, name: string, channels: number, stride: number, projects: boolean): string => {
    const second = convBn(neurons(convBn(x, `${name}.1`, channels, 3, stride), `${name}.1.act`), `${name}.2`, channels, 3, 1);
    return neurons(b.add(second, projects ? convBn(x, `${name}.shortcut`, channels, 1, stride) : x, `${name}.add`), `${name}.act`);
  };
  const stem = neurons(convBn(b.input, 'stem', 4, 3, 1), 'stem.act');
  const features = block(block(stem, 'stage1.0', 4, 1, false), 'stage2.0', 6, 2, true);
  return b.build(b.linear(b.flatten(b.globalAvgPool(features, 'pool'), 'flatten'), 'fc', { outFeatures: classes }));
}

test.each(Object.entries(vectors.cases))('loss and gradients over time equal PyTorch: %s', async (_, { settings, seed, loss, gradients }) => {
  const { Tensor } = await loadRuntime();
  const graph = residualNetwork();
  const temporal = { ...settings, trainThresholds: true };
  const session = await openSession(trainingModel(graph, { noise: 'none', activityPenalty: 0, labelSmoothing: 0, temporal }), { threads: 1 });
  const shape = [labels.length, ...inputShape];
  const results = await session.run({
    ...Object.fromEntries(
      parameterSpecs(graph).map((spec) => {
        const value = initialValue(spec.name, spec.shape, seed);
        return [spec.name, new Tensor('float32', spec.role === 'threshold' ? value.map((v) => v / 4) : value, [...spec.shape])];
      }),
    ),
    input: new Tensor('float32', initialImages(shape, seed), shape),
    labels: new Tensor('int64', BigInt64Array.from(labels, BigInt), [labels.length]),
  });
  await session.release();
  expect((results.loss!.data as Float32Array)[0]).toBeCloseTo(loss, 5);
  const trained = parameterSpecs(graph).filter(({ role }) => role !== 'buffer').map(({ name }) => name);
  expect(Object.keys(gradients).sort()).toEqual([...trained].sort());
  for (const name of trained) expect(relativeError(name, results[`${name}.grad`]!.data as Float32Array, gradients[name]!), name).toBeLessThan(1e-4);
});
