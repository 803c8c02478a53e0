import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Activation, Graph } from '../../src/graph/graph.js';
import { buildNetwork } from '../../src/graph/networks/index.js';
import { parameterSpecs } from '../../src/graph/parameters.js';
import { loadRuntime, openSession, type OrtTensor } from '../../src/onnx/runtime.js';
import type { Parameters } from '../../src/tensor.js';
import { trainingModel } from '../../src/training/models.js';
import { optimizerModel, stateSuffixes, type OptimizerOptions } from '../../src/training/optimizers.js';
import { initialImages, initialValue, relativeError, type Summary } from '../vectors/formula.js';

type Summaries = Record<string, Summary>;
interface OptimizerVectors {
  readonly settings: OptimizerOptions & { readonly learningRate: number; readonly step?: number };
  /** Value after the step minus the one before it. */
  readonly updates: Summaries;
  /** After the step. */
  readonly states: Summaries;
}
interface CaseVectors {
  readonly activation: 'qcfs' | 'lsq';
  readonly levels: number;
  readonly seed: number;
  readonly sums: { readonly images: number; readonly tensors: number };
  readonly loss: number;
  readonly correct: number;
  readonly gradients: Summaries;
  readonly bufferUpdates: Summaries;
  readonly optimizers: Record<string, OptimizerVectors>;
}
interface Vectors {
  readonly inputShape: readonly number[];
  readonly classes: number;
  readonly labels: readonly number[];
  readonly cases: Record<string, CaseVectors>;
}

/** Written by benchmarks/peers/make_training_vectors.py: PyTorch in float64. */
const vectors = JSON.parse(readFileSync(new URL('../vectors/resnet20_step.json', import.meta.url), 'utf8')) as Vectors;
const { inputShape, classes, labels } = vectors;
const tolerance = 1e-4;
/** Of float32, which the parameters are kept in: an update cannot be finer. */
const unitRoundoff = 2 ** -24;

type Named = ReadonlyMap<string, ArrayLike<number>>;

function networkOf({ activation, levels }: CaseVectors): Graph {
  const quantiser: Activation = activation === 'qcfs' ? { kind: 'qcfs', levels, initialThreshold: 4 } : { kind: 'lsq', levels, initialScale: 2 / 3 };
  return buildNetwork('resnet20', { inputShape, classes, activation: quantiser });
}

function initialTensors(graph: Graph, seed: number): Parameters {
  return new Map(parameterSpecs(graph).map(({ name, shape }) => [name, { shape, data: initialValue(name, shape, seed) }]));
}

async function runModel(model: Uint8Array, feeds: Record<string, OrtTensor>): Promise<Map<string, Float32Array>> {
  const session = await openSession(model, { threads: 1 });
  try {
    const wanted = Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!]));
    const results = await session.run(wanted);
    return new Map(Object.entries(results).map(([name, tensor]) => [name, tensor.data as Float32Array]));
  } finally {
    await session.release();
  }
}

async function toFeeds(parameters: Parameters): Promise<Record<string, OrtTensor>> {
  const { Tensor } = await loadRuntime();
  return Object.fromEntries([...parameters].map(([name, { shape, data }]) => [name, new Tensor('float32', data, [...shape])]));
}

async function runTraining(graph: Graph, expected: CaseVectors, tensors: Parameters): Promise<Map<string, Float32Array>> {
  const { Tensor } = await loadRuntime();
  const shape = [labels.length, ...inputShape];
  return runModel(trainingModel(graph, { noise: 'none', activityPenalty: 0, labelSmoothing: 0 }), {
    ...(await toFeeds(tensors)),
    input: new Tensor('float32', initialImages(shape, expected.seed), shape),
    labels: new Tensor('int64', BigInt64Array.from(labels, BigInt), [labels.length]),
  });
}

/** Parameters and states after a step from the formula's states, with the gradients given. */
async function runOptimizer(graph: Graph, { settings }: OptimizerVectors, tensors: Parameters, gradients: Named, seed: number): Promise<Map<string, Float32Array>> {
  const { Tensor } = await loadRuntime();
  const specs = parameterSpecs(graph);
  const trained = specs.filter(({ role }) => role !== 'buffer');
  const inputs: Parameters = new Map(tensors);
  for (const { name, shape } of trained) {
    inputs.set(`${name}.grad`, { shape, data: Float32Array.from(gradients.get(name)!) });
    for (const suffix of stateSuffixes(settings.kind)) {
      const state = `${name}.${suffix}`;
      inputs.set(state, { shape, data: initialValue(state, shape, seed) });
    }
  }
  return runModel(optimizerModel(specs, settings), {
    ...(await toFeeds(inputs)),
    learning_rate: new Tensor('float32', [settings.learningRate], []),
    step: new Tensor('float32', [settings.step ?? 0], []),
  });
}

function withSuffix(results: ReadonlyMap<string, Float32Array>, suffix: string): Map<string, Float32Array> {
  return new Map([...results].filter(([name]) => name.endsWith(suffix)).map(([name, data]) => [name.slice(0, -suffix.length), data]));
}

function updatesOf(tensors: Parameters, next: Named, names: readonly string[]): Map<string, Float64Array> {
  return new Map(names.map((name) => [name, Float64Array.from(tensors.get(name)!.data, (before, i) => next.get(name)![i]! - before)]));
}

/** Names of the tensors that differ, with their errors; every expected tensor must be there, and no other. */
function deviating(actual: Named, expected: Summaries, allowed: (name: string) => number = () => tolerance): string[] {
  expect([...actual.keys()].sort()).toEqual(Object.keys(expected).sort());
  return [...actual]
    .map(([name, values]) => ({ name, error: relativeError(name, values, expected[name]!) }))
    .filter(({ name, error }) => !(error < allowed(name)))
    .map(({ name, error }) => `${name}: ${error.toExponential(1)}`);
}

/** 1e-4 of the update, plus the rounding of the stored parameter. */
function updateTolerance(tensors: Parameters, expected: Summaries): (name: string) => number {
  return (name) => tolerance + (unitRoundoff * Math.hypot(...tensors.get(name)!.data)) / expected[name]!.norm;
}

describe.each(Object.values(vectors.cases))('ResNet-20 with $activation', (expected) => {
  const graph = networkOf(expected);
  const specs = parameterSpecs(graph);
  const trained = specs.filter(({ role }) => role !== 'buffer').map(({ name }) => name);
  const buffers = specs.filter(({ role }) => role === 'buffer').map(({ name }) => name);
  const tensors = initialTensors(graph, expected.seed);
  let results: ReadonlyMap<string, Float32Array>;
  beforeAll(async () => {
    results = await runTraining(graph, expected, tensors);
  });

  test('starts from the same values as PyTorch', () => {
    const sum = (values: Float32Array): number => values.reduce((total, value) => total + value, 0);
    expect(sum(initialImages([labels.length, ...inputShape], expected.seed))).toBe(expected.sums.images);
    expect([...tensors.values()].reduce((total, { data }) => total + sum(data), 0)).toBe(expected.sums.tensors);
  });

  test('loss, gradients and running statistics equal PyTorch', () => {
    expect(Math.abs(results.get('loss')![0]! - expected.loss) / expected.loss).toBeLessThan(tolerance);
    expect(results.get('correct')![0]).toBe(expected.correct);
    expect(deviating(withSuffix(results, '.grad'), expected.gradients)).toEqual([]);
    const bufferUpdates = updatesOf(tensors, withSuffix(results, '.next'), buffers);
    expect(deviating(bufferUpdates, expected.bufferUpdates, updateTolerance(tensors, expected.bufferUpdates))).toEqual([]);
  });

  test.each(Object.entries(expected.optimizers))('a step of %s equals PyTorch', async (_, step) => {
    const next = withSuffix(await runOptimizer(graph, step, tensors, withSuffix(results, '.grad'), expected.seed), '.next');
    const updates = updatesOf(tensors, next, trained);
    expect(deviating(updates, step.updates, updateTolerance(tensors, step.updates))).toEqual([]);
    const states = new Map([...next].filter(([name]) => !tensors.has(name)));
    expect(deviating(states, step.states)).toEqual([]);
  });
});
