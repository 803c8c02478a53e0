import { poolsBehindActivations } from '../../src/graph/poolOrder.js';
import { describe, expect, test } from 'vitest';
import { fold } from '../../src/convert/fold.js';
import { simulateFolded } from '../../src/convert/simulate.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { Activation, Graph } from '../../src/graph/graph.js';
import { parameterSpecs } from '../../src/graph/parameters.js';
import { inferShapes } from '../../src/graph/shapes.js';
import { OnnxBuilder } from '../../src/onnx/builder.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { elementCount } from '../../src/tensor.js';
import { emitForward } from '../../src/training/gradients.js';
import { declareInputs, trainingModel } from '../../src/training/models.js';
import type { TemporalConfig } from '../../src/training/temporal/options.js';
import { temporalRule } from '../../src/training/temporal/rules.js';
import { spikingEvalModel, temporalContext } from '../../src/training/temporal/step.js';
import { surrogateKinds } from '../../src/training/layers/surrogate.js';
import { crossEntropyOf, type Values } from '../support/denseForward.js';
import { constructedNetwork, constructions, randomNetwork } from '../support/trainedNetworks.js';
import { firingRates, meanOverTime, surrogates, Traces, unrolledForward } from '../support/unrolledForward.js';

const qcfs: Activation = { kind: 'qcfs', levels: 4, initialThreshold: 0.6 };
const lsq: Activation = { kind: 'lsq', levels: 3, initialScale: 0.2 };
const defaults: TemporalConfig = { timeSteps: 3, surrogate: 'rectangle', detachReset: true, lossPerStep: 0, trainThresholds: true };
const count = 4;
const labels = [0, 2, 1, 2];

type Results = Map<string, Float32Array>;

async function runModel(model: Uint8Array, graph: Graph, values: Values, images: ArrayLike<number>, batchLabels = labels): Promise<Results> {
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

function setUp(graph: Graph, seed = 3): { values: Values; images: Float64Array } {
  const { parameters, samples } = randomNetwork(graph, seed, count);
  return {
    values: new Map([...parameters].map(([name, { data }]) => [name, Float64Array.from(data)])),
    images: Float64Array.from(samples!.images),
  };
}

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

const graphs: Record<string, Graph> = {
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
  const evaluate = (): number => {
    const record = new Traces();
    return measure(unrolledForward(graph, values, images, count, config, { around, record }), record);
  };
  const data = values.get(name)!;
  return data.map((kept, i) => {
    data[i] = kept + 1e-5;
    const above = evaluate();
    data[i] = kept - 1e-5;
    const below = evaluate();
    data[i] = kept;
    return (above - below) / 2e-5;
  });
}

function relativeError(actual: ArrayLike<number>, expected: Float64Array): number {
  expect(actual).toHaveLength(expected.length);
  return Math.hypot(...expected.map((value, i) => actual[i]! - value)) / Math.hypot(...expected);
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
      expect(results.get(`${name}.next`), name).toEqual(Float32Array.from(values.get(name)!));
      continue;
    }
    const expected = surrogateGradient(graph, values, images, config, name, (result) => lossOf(result.get(graph.output)!, config));
    expect(Math.hypot(...expected), name).toBeGreaterThan(0);
    expect(relativeError(results.get(`${name}.grad`)!, expected), name).toBeLessThan(1e-4);
  }
}

describe.each(Object.entries(graphs))('gradients: %s', (_, graph) => {
  test.each(surrogateKinds)('with the surrogate %s, reset detached', (surrogate) => expectGradients(graph, { surrogate }));
  test.each(surrogateKinds)('with the surrogate %s, through the reset', (surrogate) => expectGradients(graph, { surrogate, detachReset: false }));
  test('with the loss of every step', () => expectGradients(graph, { lossPerStep: 0.4, timeSteps: 2 }));
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

test('fixed thresholds have gradient 0, and the others keep theirs', async () => {
  const graph = graphs['two layers of neurons']!;
  const { values, images } = setUp(graph);
  const run = (trainThresholds: boolean) => runModel(trainingModel(graph, { ...trainingOptions, temporal: { ...defaults, trainThresholds } }), graph, values, images);
  const [fixed, free] = [await run(false), await run(true)];
  expect([fixed.get('act1.threshold.grad')![0], fixed.get('act2.scale.grad')![0]]).toEqual([0, 0]);
  expect(free.get('act1.threshold.grad')![0]).not.toBe(0);
  expect(fixed.get('fc1.weight.grad')).toEqual(free.get('fc1.weight.grad'));
});
