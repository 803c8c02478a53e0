import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { Activation, Graph } from '../../src/graph/graph.js';
import { initialParameters, parameterSpecs } from '../../src/graph/parameters.js';
import { effectiveWeight, withWeightBits, type WeightedNode } from '../../src/graph/weights.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { Random } from '../../src/random.js';
import { elementCount } from '../../src/tensor.js';
import { inferShapes } from '../../src/graph/shapes.js';
import { drawLaw, resolveMethod, type MethodOptions } from '../../src/training/method.js';
import { noisyActivations, trainingModel } from '../../src/training/models.js';
import { NoisePool } from '../../src/training/noisePool.js';
import { crossEntropyOf, denseForward, type Values } from '../support/denseForward.js';
import { centralDifferences } from '../support/differences.js';
import { MethodForward, type Noise } from '../support/methodForward.js';

const batch = 6;
const labels = [0, 2, 1, 2, 0, 1];
const images = ((): Float64Array => {
  const random = new Random(21);
  return Float64Array.from({ length: batch * 2 * 5 * 4 }, () => Math.fround(random.normal()));
})();

/** Two activations, one behind a batch normalisation and one behind a sum. */
function network(activation: Activation): Graph {
  const b = new GraphBuilder('test', [2, 5, 4]);
  const first = b.activation(b.batchNorm(b.conv2d(b.input, 'c1', { outChannels: 4, kernel: 1 }), 'bn'), 'a1', activation);
  const second = b.activation(b.add(b.conv2d(first, 'c2', { outChannels: 4, kernel: 3, padding: 1, bias: true }), first, 'sum'), 'a2', activation);
  return b.build(b.linear(b.flatten(second, 'flat'), 'fc', { outFeatures: 3 }));
}

function startingValues(graph: Graph): Values {
  const random = new Random(13);
  const moved = (name: string, v: number): number => (name.startsWith('bn.weight') || name.endsWith('bias') ? v + 0.3 * random.normal() : v);
  return new Map([...initialParameters(graph, random)].map(([name, { data }]) => [name, Float64Array.from(data, (v) => Math.fround(moved(name, v)))]));
}

interface Drawn {
  readonly noise: Noise;
  readonly feeds: { readonly samples: Float32Array; readonly offsets: BigInt64Array } | undefined;
}

/** A draw of the noise for one step, for ONNX Runtime and by activation. */
function draw(graph: Graph, options: MethodOptions): Drawn {
  const shapes = inferShapes(graph);
  const noisy = noisyActivations(graph, options.noise);
  if (noisy.length === 0) return { noise: new Map(), feeds: undefined };
  const sizes = noisy.map(({ name }) => batch * elementCount(shapes.get(name)!));
  const pool = new NoisePool(drawLaw(resolveMethod(options)), sizes, 5);
  pool.fill(0);
  const offsets = pool.offsets(0, 0);
  const noise = new Map(noisy.map(({ name }, i) => [name, pool.samples.subarray(Number(offsets[i]), Number(offsets[i]) + sizes[i]!)]));
  return { noise, feeds: { samples: pool.samples, offsets } };
}

async function runStep(graph: Graph, options: MethodOptions, values: Values, { feeds }: Drawn): Promise<Map<string, Float32Array>> {
  const ort = await loadRuntime();
  const session = await openSession(trainingModel(graph, { ...options, labelSmoothing: 0 }), { threads: 1 });
  const parameters = parameterSpecs(graph)
    .filter(({ name }) => session.inputNames.includes(name))
    .map(({ name, shape }) => [name, new ort.Tensor('float32', Float32Array.from(values.get(name)!), [...shape])] as const);
  const results = await session.run({
    ...Object.fromEntries(parameters),
    input: new ort.Tensor('float32', Float32Array.from(images), [batch, ...graph.input.shape]),
    labels: new ort.Tensor('int64', BigInt64Array.from(labels, BigInt), [batch]),
    ...(feeds && {
      noise: new ort.Tensor('float32', feeds.samples, [feeds.samples.length]),
      noise_offsets: new ort.Tensor('int64', feeds.offsets, [feeds.offsets.length]),
    }),
  });
  await session.release();
  return new Map(Object.entries(results).map(([name, tensor]) => [name, tensor.data as Float32Array]));
}

function forwardOf(graph: Graph, values: Values, method: MethodForward): Values {
  return denseForward(graph, values, images, batch, { training: true, activate: (node, input) => method.activate(node, input) });
}

function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  const norm = (values: readonly number[]): number => Math.hypot(...values);
  const wanted = Array.from(expected);
  return norm(wanted.map((value, i) => actual[i]! - value)) / Math.max(norm(wanted), 1e-6);
}

function damping(name: string, levels: number): number {
  return name.endsWith('.scale') ? Math.sqrt(batch * levels) : 1;
}

const qcfs: Activation = { kind: 'qcfs', levels: 4, initialThreshold: 1.3 };
const lsq: Activation = { kind: 'lsq', levels: 3, initialScale: 0.37 };
const spike: Activation = { kind: 'spike', initialThreshold: 0.9, trainable: true };
const tcl: Activation = { kind: 'tcl', initialThreshold: 0.8 };
const slip: Activation = { kind: 'slip-relu', levels: 3, slope: 0.3, initialThreshold: 1.1 };

const cases: Record<string, readonly [Activation, MethodOptions]> = {
  tcl: [tcl, { noise: 'none' }],
  'slip-relu': [slip, { noise: 'none' }],
  'nq of a fixed strength': [qcfs, { noise: 'nq', noiseSigma: 0.2 }],
  'adaptor A': [lsq, { noise: 'adaptor' }],
  'adaptor A, amplitude 0.2': [lsq, { noise: 'adaptor', noiseAmplitude: 0.2 }],
  'adaptor B': [lsq, { noise: 'adaptor', noiseVariant: 'B' }],
  'adaptor C': [lsq, { noise: 'adaptor', noiseVariant: 'C' }],
  'spike without noise, Gaussian': [spike, { noise: 'none' }],
  'spike without noise, rectangle': [spike, { noise: 'none', surrogate: 'rectangle' }],
  'spike without noise, arctan': [spike, { noise: 'none', surrogate: 'arctan' }],
  'single-step, Gaussian': [spike, { noise: 'single-step' }],
  'single-step, Gaussian, narrow': [spike, { noise: 'single-step', noiseSigma: 0.15 }],
  'single-step, sigma 0': [spike, { noise: 'single-step', noiseSigma: 0 }],
  'single-step, Gaussian law, arctan': [spike, { noise: 'single-step', surrogate: 'arctan' }],
  'single-step, uniform law, rectangle': [spike, { noise: 'single-step', noiseLaw: 'uniform', surrogate: 'rectangle' }],
  'single-step, uniform law, half the strength': [spike, { noise: 'single-step', noiseLaw: 'uniform', noiseStrength: 0.5, surrogate: 'arctan' }],
};

describe.each(Object.entries(cases))('%s', (_, [activation, options]) => {
  test('loss and gradients equal central differences of the formula', async () => {
    const graph = network(activation);
    const values = startingValues(graph);
    const drawn = draw(graph, options);
    const results = await runStep(graph, options, values, drawn);
    const method = new MethodForward(resolveMethod(options), values, drawn.noise);
    const loss = (): number => crossEntropyOf(forwardOf(graph, values, method).get('fc')!, labels);
    expect(results.get('loss')![0]).toBeCloseTo(loss(), 5);
    for (const { name, role } of parameterSpecs(graph)) {
      if (role === 'buffer') continue;
      const levels = 'levels' in activation ? activation.levels : 1;
      const expected = centralDifferences(values.get(name)!, loss).map((g) => g / damping(name, levels));
      expect(relativeError(results.get(`${name}.grad`)!, expected), name).toBeLessThan(2e-4);
    }
  });
});

const penalties: Record<string, { options: Partial<MethodOptions>; of: (levels: Float64Array, most: number) => number }> = {
  l1: { options: {}, of: (l, most) => mean(l) / most },
  'a budget below the rate': { options: { spikeBudget: 0.05 }, of: (l, most) => mean(l) / most },
  'a budget above the rate': { options: { spikeBudget: 0.95 }, of: () => 0 },
  hoyer: { options: { penalty: 'hoyer' }, of: (l) => l.reduce((a, b) => a + b) ** 2 / l.reduce((a, b) => a + b * b, 0) / l.length },
};

function mean(values: Float64Array): number {
  return values.reduce((a, b) => a + b) / values.length;
}

describe.each(Object.entries(penalties))('activity penalty: %s', (_, { options: extra, of }) => {
  test.each([
    ['qcfs', qcfs, { noise: 'none' }],
    ['tcl', tcl, { noise: 'none' }],
    ['adaptor B', lsq, { noise: 'adaptor', noiseVariant: 'B' }],
    ['single-step', spike, { noise: 'single-step' }],
  ] as const)('adds its own gradient to %s', async (_, activation, options: MethodOptions) => {
    const graph = network(activation);
    const values = startingValues(graph);
    const drawn = draw(graph, options);
    const weight = 3;
    const plain = await runStep(graph, options, values, drawn);
    const penalised = await runStep(graph, { ...options, activityPenalty: weight, ...extra }, values, drawn);
    const method = new MethodForward(resolveMethod(options), values, drawn.noise);
    const penalty = (): number => {
      forwardOf(graph, values, method);
      return weight * ['a1', 'a2'].reduce((sum, name) => sum + of(method.levels.get(name)!, 'levels' in activation ? activation.levels : 1), 0);
    };
    for (const { name, role } of parameterSpecs(graph)) {
      if (role === 'buffer') continue;
      const added = penalised.get(`${name}.grad`)!.map((g, i) => g - plain.get(`${name}.grad`)![i]!);
      const expected = centralDifferences(values.get(name)!, penalty).map((g) => g / damping(name, 3));
      expect(relativeError(added, expected), name).toBeLessThan(expected.some((g) => Math.abs(g) > 1e-9) ? 1e-3 : 1);
    }
  });
});

test('the uniform law with the rectangle is variant A with one level: the same forward, the same gradients', async () => {
  const [spiking, rounding] = [network({ kind: 'spike', initialThreshold: 0.8, trainable: true }), network({ kind: 'lsq', levels: 1, initialScale: 0.8 })];
  const single: MethodOptions = { noise: 'single-step', noiseLaw: 'uniform', surrogate: 'rectangle' };
  const adaptor: MethodOptions = { noise: 'adaptor', noiseVariant: 'A' };
  const drawn = draw(spiking, single);
  const drawnForA = draw(rounding, adaptor).noise;
  for (const [name, eps] of drawn.noise) expect(drawnForA.get(name), name).toEqual(eps);
  const a = await runStep(spiking, single, startingValues(spiking), drawn);
  const b = await runStep(rounding, adaptor, startingValues(rounding), drawn);
  expect(a.get('loss')).toEqual(b.get('loss'));
  for (const name of ['c1.weight', 'bn.weight', 'bn.bias', 'c2.weight', 'fc.weight']) expect(a.get(`${name}.grad`), name).toEqual(b.get(`${name}.grad`));
  const undamped = b.get('a1.scale.grad')![0]! * Math.sqrt(batch);
  expect(Math.abs(a.get('a1.threshold.grad')![0]! - undamped)).toBeLessThan(1e-6 * Math.abs(undamped));
});

test('a fixed threshold has no gradient and stays', async () => {
  const graph = network({ ...spike, trainable: false });
  const results = await runStep(graph, { noise: 'none' }, startingValues(graph), { noise: new Map(), feeds: undefined });
  expect(results.has('a1.threshold.grad')).toBe(false);
  expect(results.get('a1.threshold.next')).toEqual(Float32Array.of(0.9));
});

test('weights of 8 bits: gradients are those of the network with the rounded weights, straight through', async () => {
  const plain = network(qcfs);
  const graph = withWeightBits(plain, 8);
  const values = startingValues(graph);
  const rounded: Values = new Map(values);
  for (const node of graph.nodes) {
    if (node.op !== 'conv2d' && node.op !== 'linear') continue;
    const name = `${node.name}.weight`;
    rounded.set(name, effectiveWeight(node satisfies WeightedNode, Float32Array.from(values.get(name)!)));
  }
  const quiet: Drawn = { noise: new Map(), feeds: undefined };
  const results = await runStep(graph, { noise: 'none' }, values, quiet);
  const expected = await runStep(plain, { noise: 'none' }, rounded, quiet);
  expect(rounded.get('c2.weight')).not.toEqual(values.get('c2.weight'));
  expect(results.get('loss')![0]).toBeCloseTo(expected.get('loss')![0]!, 6);
  for (const name of ['c1.weight', 'bn.weight', 'c2.weight', 'c2.bias', 'fc.weight', 'a1.threshold']) {
    expect(relativeError(results.get(`${name}.grad`)!, expected.get(`${name}.grad`)!), name).toBeLessThan(1e-5);
  }
});
