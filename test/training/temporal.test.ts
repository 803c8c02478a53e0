import { poolsBehindActivations } from '../../src/graph/poolOrder.js';
import { describe, expect, test } from 'vitest';
import { fold } from '../../src/convert/fold.js';
import { simulateFolded } from '../../src/convert/simulate.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { BatchNormNode, Graph } from '../../src/graph/graph.js';
import { parameterSpecs } from '../../src/graph/parameters.js';
import { inferShapes } from '../../src/graph/shapes.js';
import { OnnxBuilder } from '../../src/onnx/builder.js';
import { elementCount } from '../../src/tensor.js';
import { emitForward } from '../../src/training/gradients.js';
import { declareInputs, trainingModel } from '../../src/training/models.js';
import type { TemporalConfig } from '../../src/training/temporal/options.js';
import { temporalRule } from '../../src/training/temporal/rules.js';
import { spikingEvalModel, temporalContext } from '../../src/training/temporal/step.js';
import { surrogateKinds } from '../../src/training/layers/surrogate.js';
import { crossEntropyOf, type Values } from '../support/denseForward.js';
import { centralDifferences } from '../support/differences.js';
import { count, defaults, graphs, labels, perChannel, qcfs, relativeError, runModel, setUp, type Results } from '../support/temporalModels.js';
import { constructedNetwork, constructions } from '../support/trainedNetworks.js';
import { firingRates, meanOverTime, surrogates, Traces, unrolledForward } from '../support/unrolledForward.js';

/** The values of all activations over time. */
function activationModel(trained: Graph, timeSteps: number): Uint8Array {
  const graph = poolsBehindActivations(trained);
  const onnx = new OnnxBuilder('activations');
  declareInputs(onnx, graph);
  const context = temporalContext(onnx, graph, {});
  const forward = emitForward(context, graph, temporalRule(graph, { ...defaults, timeSteps }));
  for (const { name, op } of graph.nodes) if (op === 'activation') onnx.output(forward.valueOf(name), `${name}.value`, 'float32', ['M']);
  onnx.output(forward.logits, 'logits', 'float32', ['M', inferShapes(graph).get(graph.output)![0]!]);
  return onnx.build();
}

describe.each(Object.keys(constructions).filter((name) => name !== 'linear only'))('forward: %s', (name) => {
  test('spikes as the float simulation of the converted network does, spike for spike', async () => {
    const network = constructedNetwork(name, 5, count);
    const { graph } = network;
    const values: Values = new Map([...network.parameters].map(([key, { data }]) => [key, Float64Array.from(data)]));
    const images = network.samples!.images;
    const timeSteps = 4;
    const results = await runModel(activationModel(graph, timeSteps), graph, values, images);
    const folded = fold(network);
    const spiking = folded.layers.filter((layer) => layer.kind === 'spiking');
    const simulated = Array.from({ length: timeSteps }, (_, t) => simulateFolded(folded, images, count, t + 1));
    for (const [l, layer] of spiking.entries()) {
      const value = results.get(`${layer.name}.value`)!;
      const size = value.length / timeSteps;
      for (let t = 0; t < timeSteps; t++) {
        const before = t === 0 ? new Uint16Array(size) : simulated[t - 1]!.counts[l]!;
        const expected = simulated[t]!.counts[l]!.map((fired, i) => fired - before[i]!);
        expect(Array.from(value.subarray(t * size, (t + 1) * size), (x) => (x > 0 ? 1 : 0)), `${layer.name}, step ${t + 1}`).toEqual(Array.from(expected));
      }
    }
    const evaluated = await runModel(spikingEvalModel(graph, { ...defaults, timeSteps }), graph, values, images);
    const sums = simulated[timeSteps - 1]!.logits.subarray((timeSteps - 1) * count * network.classes.length);
    evaluated.get('logits')!.forEach((logit, i) => expect(logit).toBeCloseTo(sums[i]! / timeSteps, 4));
    const neurons = spiking.reduce((sum, { shape }) => sum + elementCount(shape), 0);
    const fired = simulated[timeSteps - 1]!.counts.reduce((sum, counts) => sum + counts.reduce((a, b) => a + b, 0), 0);
    expect(evaluated.get('spikes')![0]).toBeCloseTo(fired / (neurons * count), 5);
  });
});

function lossOf(logits: Float64Array, { timeSteps, lossPerStep }: TemporalConfig): number {
  const repeated = Array.from({ length: timeSteps }, () => labels).flat();
  return (1 - lossPerStep) * crossEntropyOf(meanOverTime(logits, timeSteps), labels) + lossPerStep * crossEntropyOf(logits, repeated);
}

/** Central differences of a function of the network with its spikes linearised: the surrogate gradient. */
function surrogateGradient(
  graph: Graph,
  values: Values,
  images: Float64Array,
  config: TemporalConfig,
  name: string,
  measure: (result: Values, traces: Traces) => number,
): Float64Array {
  const around = new Traces();
  unrolledForward(graph, values, images, count, config, { record: around });
  return centralDifferences(values.get(name)!, () => {
    const record = new Traces();
    return measure(unrolledForward(graph, values, images, count, config, { around, record }), record);
  });
}

const trainingOptions = { noise: 'none', activityPenalty: 0, labelSmoothing: 0 } as const;

async function expectGradients(graph: Graph, change: Partial<TemporalConfig>): Promise<void> {
  const config = { ...defaults, ...change };
  const { values, images } = setUp(graph);
  const results = await runModel(trainingModel(graph, { ...trainingOptions, temporal: config }), graph, values, images);
  const logits = unrolledForward(graph, values, images, count, config).get(graph.output)!;
  expect(results.get('loss')![0]).toBeCloseTo(lossOf(logits, config), 5);
  for (const { name, role } of parameterSpecs(graph)) {
    if (role === 'buffer') {
      if (!config.batchStatistics) expect(results.get(`${name}.next`), name).toEqual(Float32Array.from(values.get(name)!));
      continue;
    }
    const expected = surrogateGradient(graph, values, images, config, name, (result) => lossOf(result.get(graph.output)!, config));
    // A bias before batch statistics changes nothing.
    if (config.batchStatistics && Math.hypot(...expected) < 1e-8) {
      expect(Math.hypot(...results.get(`${name}.grad`)!), name).toBeLessThan(1e-5);
      continue;
    }
    expect(Math.hypot(...expected), name).toBeGreaterThan(0);
    expect(relativeError(results.get(`${name}.grad`)!, expected), name).toBeLessThan(1e-4);
  }
}

describe.each(Object.entries(graphs))('gradients: %s', (_, graph) => {
  test.each(surrogateKinds)('with the surrogate %s, reset detached', (surrogate) => expectGradients(graph, { surrogate }));
  test.each(surrogateKinds)('with the surrogate %s, through the reset', (surrogate) => expectGradients(graph, { surrogate, detachReset: false }));
  test('with the loss of every step', () => expectGradients(graph, { lossPerStep: 0.4, timeSteps: 2 }));
  test.each([1, 3])('by batch statistics over %i steps', async (timeSteps) => {
    await expectGradients(graph, { timeSteps, batchStatistics: true });
    await expectGradients(graph, { timeSteps, batchStatistics: true, detachReset: false, surrogate: 'triangle' });
  });
  test('with one step and with eight', async () => {
    await expectGradients(graph, { timeSteps: 1 });
    await expectGradients(graph, { timeSteps: 8, surrogate: 'arctan' });
  });
});

test('one step is the single-step formula: h(u) of u = 1/2 + I / theta, and no more', async () => {
  const b = new GraphBuilder('single', [3]);
  const graph = b.build(b.linear(b.activation(b.linear(b.input, 'fc1', { outFeatures: 5, bias: false }), 'act', qcfs), 'fc2', { outFeatures: 3, bias: false }));
  const { values, images } = setUp(graph);
  const config: TemporalConfig = { ...defaults, timeSteps: 1, surrogate: 'gaussian' };
  const results = await runModel(trainingModel(graph, { ...trainingOptions, temporal: config }), graph, values, images);
  const [w1, w2, theta] = ['fc1.weight', 'fc2.weight', 'act.threshold'].map((name) => values.get(name)!) as [Float64Array, Float64Array, Float64Array];
  const gradient = new Float64Array(15);
  let ofThreshold = 0;
  for (let n = 0; n < count; n++) {
    const x = images.subarray(3 * n, 3 * n + 3);
    const current = Float64Array.from({ length: 5 }, (_, j) => x.reduce((sum, value, i) => sum + w1[3 * j + i]! * value, 0));
    const u = current.map((value) => 0.5 + value / theta[0]!);
    const logits = Float64Array.from({ length: 3 }, (_, k) => u.reduce((sum, value, j) => sum + (value >= 1 ? w2[5 * k + j]! * theta[0]! : 0), 0));
    const exp = logits.map(Math.exp);
    const total = exp.reduce((a, c) => a + c);
    for (let j = 0; j < 5; j++) {
      let g = 0;
      for (let k = 0; k < 3; k++) g += ((exp[k]! / total - (labels[n] === k ? 1 : 0)) / count) * w2[5 * k + j]!;
      const passed = g * surrogates.gaussian(u[j]! - 1);
      for (let i = 0; i < 3; i++) gradient[3 * j + i]! += passed * x[i]!;
      ofThreshold += g * (u[j]! >= 1 ? 1 : 0) - (passed * current[j]!) / theta[0]!;
    }
  }
  expect(relativeError(results.get('fc1.weight.grad')!, gradient)).toBeLessThan(1e-5);
  expect(results.get('act.threshold.grad')![0]).toBeCloseTo(ofThreshold, 5);
});

test('by batch statistics the running ones move towards those over images and steps', async () => {
  const graph = graphs['residual block with pool']!;
  const { values, images } = setUp(graph);
  const config: TemporalConfig = { ...defaults, batchStatistics: true };
  const results = await runModel(trainingModel(graph, { ...trainingOptions, temporal: config }), graph, values, images);
  const forward = unrolledForward(graph, values, images, count, config);
  for (const { name, input } of graph.nodes.filter((node): node is BatchNormNode => node.op === 'batchNorm')) {
    const found = perChannel(forward.get(input)!, count * config.timeSteps, inferShapes(graph).get(input)![0]!);
    const { mean, variance } = found;
    // The stem sees the same at every step, and that once.
    const samples = found.count / (name === 'stem.bn' ? config.timeSteps : 1);
    for (const [suffix, expected] of [['running_mean', mean], ['running_var', variance.map((value) => (value * samples) / (samples - 1))]] as const) {
      const before = values.get(`${name}.${suffix}`)!;
      results.get(`${name}.${suffix}.next`)!.forEach((value, c) => expect(value, `${name}.${suffix}`).toBeCloseTo(0.9 * before[c]! + 0.1 * expected[c]!, 4));
    }
  }
});

test('the activity penalty adds the gradient of weight * mean spikes of a neuron and step', async () => {
  const graph = graphs['residual block with pool']!;
  const { values, images } = setUp(graph);
  const weight = 0.7;
  const models = [0, weight].map((activityPenalty) => trainingModel(graph, { ...trainingOptions, activityPenalty, temporal: defaults }));
  const [plain, penalised] = (await Promise.all(models.map((model) => runModel(model, graph, values, images)))) as [Results, Results];
  for (const name of ['stem.weight', 'conv1.bn.weight', 'conv2.bn.bias', 'act0.threshold', 'act1.scale']) {
    const expected = surrogateGradient(graph, values, images, defaults, name, (_, traces) => weight * firingRates(traces).reduce((a, b) => a + b));
    const added = Float32Array.from(penalised.get(`${name}.grad`)!, (g, i) => g - plain.get(`${name}.grad`)![i]!);
    expect(relativeError(added, expected), name).toBeLessThan(1e-3);
  }
});

test.each([defaults, { ...defaults, gradient: 'rate' }] as const)('fixed thresholds have gradient 0, and the others keep theirs: %j', async (config) => {
  const graph = graphs['two layers of neurons']!;
  const { values, images } = setUp(graph);
  const run = (trainThresholds: boolean) => runModel(trainingModel(graph, { ...trainingOptions, temporal: { ...config, trainThresholds } }), graph, values, images);
  const [fixed, free] = [await run(false), await run(true)];
  expect([fixed.get('act1.threshold.grad')![0], fixed.get('act2.scale.grad')![0]]).toEqual([0, 0]);
  expect(free.get('act1.threshold.grad')![0]).not.toBe(0);
  expect(fixed.get('fc1.weight.grad')).toEqual(free.get('fc1.weight.grad'));
});
