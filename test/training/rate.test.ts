import { describe, expect, test } from 'vitest';
import { poolsBehindActivations } from '../../src/graph/poolOrder.js';
import type { ActivationNode, BatchNormNode, Graph } from '../../src/graph/graph.js';
import { activationParameter, parameterSpecs } from '../../src/graph/parameters.js';
import { inferShapes } from '../../src/graph/shapes.js';
import { trainingModel } from '../../src/training/models.js';
import type { TemporalConfig } from '../../src/training/temporal/options.js';
import { crossEntropyOf, denseForward, type ForwardOptions, type Values } from '../support/denseForward.js';
import { centralDifferences } from '../support/differences.js';
import { count, defaults, graphs, labels, perChannel, relativeError, runModel, setUp, type Statistics } from '../support/temporalModels.js';
import { firingRates, meanOverTime, Traces, unrolledForward } from '../support/unrolledForward.js';

const trainingOptions = { noise: 'none', activityPenalty: 0, labelSmoothing: 0 } as const;
const rate: TemporalConfig = { ...defaults, gradient: 'rate' };
const byBatch: TemporalConfig = { ...rate, batchStatistics: true };

/** What each batch normalisation measures of the mean current over time, those before it already normalising by theirs. */
function batchStatistics(graph: Graph, values: Values, images: Float64Array, config: TemporalConfig): { measured: Map<string, Statistics>; values: Values } {
  const normalised: Values = new Map(values);
  const measured = new Map<string, Statistics>();
  for (const node of graph.nodes.filter((one): one is BatchNormNode => one.op === 'batchNorm')) {
    const current = meanOverTime(unrolledForward(graph, normalised, images, count, { ...rate, timeSteps: config.timeSteps }).get(node.input)!, config.timeSteps);
    const found = perChannel(current, count, inferShapes(graph).get(node.input)![0]!);
    measured.set(node.name, found);
    normalised.set(`${node.name}.running_mean`, found.mean);
    normalised.set(`${node.name}.running_var`, found.variance);
  }
  return { measured, values: normalised };
}

/**
 * The loss as a function of the parameters with every spike kept where it is: what a neuron gives on average is
 * theta (q + clip(u, 0, 1) - clip(u0, 0, 1)), q its rate and u0 its mean current in thetas.
 */
function straightThrough(trained: Graph, at: Values, images: Float64Array, config: TemporalConfig): (values: Values) => { loss: number; rates: number } {
  const graph = poolsBehindActivations(trained);
  const traces = new Traces();
  const spiking = config.batchStatistics ? batchStatistics(graph, at, images, config).values : at;
  unrolledForward(graph, spiking, images, count, { ...rate, timeSteps: config.timeSteps }, { record: traces });
  const around = new Map<string, Float64Array>();
  const maxima = new Map<string, Int32Array>();
  return (values) => {
    let rates = 0;
    const activate = (node: ActivationNode, input: Float64Array): Float64Array => {
      const theta = values.get(activationParameter(node)!)![0]! * (node.activation.kind === 'lsq' ? node.activation.levels : 1);
      const clipped = input.map((z) => Math.min(Math.max(z / theta, 0), 1));
      if (!around.has(node.name)) around.set(node.name, clipped);
      const fired = meanOverTime(traces.get(node.name)!.spikes, config.timeSteps);
      const level = fired.map((q, i) => q + (clipped[i]! - around.get(node.name)![i]!));
      rates += level.reduce((a, b) => a + b) / level.length;
      return level.map((q) => theta * q);
    };
    // Where the maxima of rates stand is kept too: many are equal.
    const pool: NonNullable<ForwardOptions['pool']> = (node, input, _, where) => {
      if (!maxima.has(node.name)) maxima.set(node.name, where(input));
      return Float64Array.from(maxima.get(node.name)!, (at) => input[at]!);
    };
    const result = denseForward(graph, values, images, count, { training: config.batchStatistics === true, activate, pool });
    return { loss: crossEntropyOf(result.get(graph.output)!, labels), rates };
  };
}

async function expectGradients(graph: Graph, config: TemporalConfig): Promise<void> {
  const { values, images } = setUp(graph);
  const results = await runModel(trainingModel(graph, { ...trainingOptions, temporal: config }), graph, values, images);
  const of = straightThrough(graph, values, images, config);
  expect(results.get('loss')![0]).toBeCloseTo(of(values).loss, 5);
  for (const { name } of parameterSpecs(graph).filter(({ role }) => role !== 'buffer')) {
    const expected = centralDifferences(values.get(name)!, () => of(values).loss);
    // A bias before batch statistics changes nothing.
    if (Math.hypot(...expected) < 1e-8) expect(Math.hypot(...results.get(`${name}.grad`)!), name).toBeLessThan(1e-5);
    else expect(relativeError(results.get(`${name}.grad`)!, expected), name).toBeLessThan(5e-4);
  }
}

describe.each(Object.entries(graphs))('the gradient through rates: %s', (_, graph) => {
  test.each([1, 3, 8])('over %i steps', (timeSteps) => expectGradients(graph, { ...rate, timeSteps }));
  test.each([1, 3])('by batch statistics over %i steps', (timeSteps) => expectGradients(graph, { ...byBatch, timeSteps }));
});

test('the loss is that of the logits that the spiking network has on average', async () => {
  const graph = graphs['residual block with pool']!;
  const { values, images } = setUp(graph);
  const results = await runModel(trainingModel(graph, { ...trainingOptions, temporal: rate }), graph, values, images);
  const logits = meanOverTime(unrolledForward(graph, values, images, count, rate).get(graph.output)!, rate.timeSteps);
  expect(results.get('loss')![0]).toBeCloseTo(crossEntropyOf(logits, labels), 5);
});

test('running statistics are kept, or move towards those of the mean current of a batch', async () => {
  const graph = graphs['residual block with pool']!;
  const { values, images } = setUp(graph);
  const [kept, moved] = await Promise.all([rate, byBatch].map((temporal) => runModel(trainingModel(graph, { ...trainingOptions, temporal }), graph, values, images)));
  const { measured } = batchStatistics(poolsBehindActivations(graph), values, images, byBatch);
  expect(measured.size).toBe(3);
  for (const [name, { mean, variance, count: samples }] of measured) {
    const unbiased = variance.map((value) => (value * samples) / (samples - 1));
    for (const [suffix, expected] of [['running_mean', mean], ['running_var', unbiased]] as const) {
      const before = values.get(`${name}.${suffix}`)!;
      expect(kept!.get(`${name}.${suffix}.next`), name).toEqual(Float32Array.from(before));
      moved!.get(`${name}.${suffix}.next`)!.forEach((value, c) => expect(value, `${name}.${suffix}`).toBeCloseTo(0.9 * before[c]! + 0.1 * expected[c]!, 4));
    }
  }
});

test('the activity penalty adds the gradient of weight * mean spikes of a neuron and step', async () => {
  const graph = graphs['residual block with pool']!;
  const { values, images } = setUp(graph);
  const weight = 0.7;
  const models = [0, weight].map((activityPenalty) => trainingModel(graph, { ...trainingOptions, activityPenalty, temporal: rate }));
  const [plain, penalised] = await Promise.all(models.map((model) => runModel(model, graph, values, images)));
  const of = straightThrough(graph, values, images, rate);
  const traces = new Traces();
  unrolledForward(graph, values, images, count, rate, { record: traces });
  expect(of(values).rates).toBeCloseTo(firingRates(traces).reduce((a, b) => a + b), 10);
  for (const name of ['stem.weight', 'conv1.bn.weight', 'conv2.bn.bias']) {
    const expected = centralDifferences(values.get(name)!, () => weight * of(values).rates);
    const added = Float32Array.from(penalised!.get(`${name}.grad`)!, (g, i) => g - plain!.get(`${name}.grad`)![i]!);
    expect(relativeError(added, expected), name).toBeLessThan(1e-3);
  }
});
