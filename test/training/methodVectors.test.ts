import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { Activation, ActivationKind, Graph, WeightBits } from '../../src/graph/graph.js';
import { parameterSpecs } from '../../src/graph/parameters.js';
import { withWeightBits } from '../../src/graph/weights.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { drawLaw, resolveMethod, type MethodOptions } from '../../src/training/method.js';
import { trainingModel } from '../../src/training/models.js';
import { initialImages, initialNoise, initialValue, relativeError, type Summary } from '../vectors/formula.js';

interface CaseVectors {
  readonly options: MethodOptions & { readonly activation: ActivationKind; readonly weightBits?: WeightBits };
  readonly seed: number;
  readonly loss: number;
  readonly gradients: Record<string, Summary>;
}

/** Written by benchmarks/peers/make_method_vectors.py: PyTorch in float64. */
const { labels, slope, cases } = JSON.parse(readFileSync(new URL('../vectors/method_steps.json', import.meta.url), 'utf8')) as {
  readonly labels: readonly number[];
  readonly slope: number;
  readonly cases: Record<string, CaseVectors>;
};
const inputShape = [2, 5, 4];
const neurons = labels.length * 4 * 5 * 4;

const activations: Partial<Record<ActivationKind, Activation>> = {
  qcfs: { kind: 'qcfs', levels: 4, initialThreshold: 1 },
  lsq: { kind: 'lsq', levels: 3, initialScale: 1 },
  'slip-relu': { kind: 'slip-relu', levels: 4, slope, initialThreshold: 1 },
  tcl: { kind: 'tcl', initialThreshold: 1 },
  spike: { kind: 'spike', initialThreshold: 1, trainable: true },
};

function networkOf({ activation, weightBits }: CaseVectors['options']): Graph {
  const b = new GraphBuilder('vectors', inputShape);
  const act = (x: string, name: string): string => b.activation(x, name, activations[activation]!);
  const first = act(b.batchNorm(b.conv2d(b.input, 'c1', { outChannels: 4, kernel: 3, padding: 1 }), 'bn'), 'a1');
  const second = act(b.add(b.conv2d(first, 'c2', { outChannels: 4, kernel: 3, padding: 1, bias: true }), first, 'sum'), 'a2');
  const graph = b.build(b.linear(b.flatten(second, 'flat'), 'fc', { outFeatures: 3 }));
  return weightBits === undefined ? graph : withWeightBits(graph, weightBits);
}

async function runStep({ options, seed }: CaseVectors): Promise<Map<string, Float32Array>> {
  const { Tensor } = await loadRuntime();
  const graph = networkOf(options);
  const session = await openSession(trainingModel(graph, { ...options, labelSmoothing: 0 }), { threads: 1 });
  const values = parameterSpecs(graph)
    .filter(({ name }) => session.inputNames.includes(name))
    .map(({ name, shape }) => {
      const value = initialValue(name, shape, seed).map((v) => (name.endsWith('threshold') ? v / 8 : v));
      return [name, new Tensor('float32', value, [...shape])] as const;
    });
  const { scale } = drawLaw(resolveMethod(options));
  const noise = Float32Array.from([...initialNoise('a1', neurons, seed), ...initialNoise('a2', neurons, seed)], (v) => v * scale);
  const feeds = {
    ...Object.fromEntries(values),
    input: new Tensor('float32', initialImages([labels.length, ...inputShape], seed), [labels.length, ...inputShape]),
    labels: new Tensor('int64', BigInt64Array.from(labels, BigInt), [labels.length]),
    noise: new Tensor('float32', noise, [noise.length]),
    noise_offsets: new Tensor('int64', BigInt64Array.of(0n, BigInt(neurons)), [2]),
  };
  const results = await session.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => session.inputNames.includes(name))));
  await session.release();
  return new Map(Object.entries(results).map(([name, tensor]) => [name, tensor.data as Float32Array]));
}

describe.each(Object.entries(cases))('%s', (_, expected) => {
  test('loss and gradients equal PyTorch', async () => {
    const results = await runStep(expected);
    expect(Math.abs(results.get('loss')![0]! - expected.loss) / expected.loss).toBeLessThan(1e-5);
    expect([...results.keys()].filter((name) => name.endsWith('.grad')).sort()).toEqual(Object.keys(expected.gradients).map((name) => `${name}.grad`).sort());
    for (const [name, gradient] of Object.entries(expected.gradients)) {
      expect(relativeError(name, results.get(`${name}.grad`)!, gradient), name).toBeLessThan(1e-4);
    }
  });
});
