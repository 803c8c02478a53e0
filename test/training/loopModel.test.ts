import { expect, test } from 'vitest';
import { mixes } from '../../src/data/augment/mixing.js';
import { initialParameters, parameterSpecs } from '../../src/graph/parameters.js';
import { withWeightBits } from '../../src/graph/weights.js';
import { Random } from '../../src/random.js';
import { buildTrainingModels } from '../../src/training/artifacts.js';
import { resolveConfig, type TrainOptions } from '../../src/training/options.js';
import type { Graph } from '../../src/graph/graph.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { trainingLoopModel } from '../../src/training/loopModel.js';
import type { BatchResult, PixelBatch, StepSettings } from '../../src/training/step.js';
import { TrainingStepper } from '../../src/training/stepper.js';
import { elementCount, type Parameters } from '../../src/tensor.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();
const steps = 3;
const batch = 10;
const rates = [0.1, 0.05, 0.02];
const batches = rates.map((_, k): PixelBatch => ({
  pixels: data.train.images.slice(k * batch * 36, (k + 1) * batch * 36),
  labels: BigInt64Array.from(data.train.labels.subarray(k * batch, (k + 1) * batch), BigInt),
}));
const settings = rates.map((learningRate, step): StepSettings => ({ epoch: 0, step, globalStep: step + 1, learningRate, sigma: {}, lastCheckpoint: '' }));

const weights = [0.3, 0.9, 0.5];
const mixedBatches = batches.map((one, k) => {
  const labels = BigInt64Array.from({ length: batch }, (_, i) => BigInt((i + k) % 3));
  return { ...one, mixed: { labels, weight: weights[k]! } };
});

async function takeSteps(options: Partial<TrainOptions>, sessions: readonly ('loop' | 'training' | 'optimizer')[], graph = tinyNetwork()) {
  const teachers = taught.slice(0, [options.teacher ?? []].flat().length);
  const config = resolveConfig({ network: graph, data, out: '', batchSize: batch, device: 'cuda', ...options }, teachers);
  const models = buildTrainingModels(graph, config, data.normalization, teachers);
  const stepper = await TrainingStepper.create(graph, config, data.normalization, models, { threads: 1 }, sessions);
  stepper.state.load(initialParameters(graph, new Random(7)));
  const results = await stepper.steps(mixes(config) ? mixedBatches : batches, settings);
  const tensors: Parameters = new Map([...stepper.state.parameters(), ...stepper.state.optimizerState()]);
  await stepper.release();
  return { results, tensors };
}

const teaching = tinyNetwork({ kind: 'relu' });
const taught = [8, 9].map((seed) => ({ graph: teaching, parameters: initialParameters(teaching, new Random(seed)), classes: data.classes, normalization: data.normalization, provenance: {} }));

const overTime = { timeSteps: 3, initialFrom: 'a trained network' };

const slip = tinyNetwork({ kind: 'slip-relu', levels: 4, slope: 0.5, initialThreshold: 2 });
const tcl = tinyNetwork({ kind: 'tcl', initialThreshold: 2 });
const spike = tinyNetwork({ kind: 'spike', initialThreshold: 1, trainable: true });

test.each<[string, Partial<TrainOptions>, number, Graph?]>([
  ['slip-relu', {}, 4, slip],
  ['slip-relu in mixed precision', { precision: 'mixed' }, 1, slip],
  ['tcl with a spike budget', { activityPenalty: 0.5, spikeBudget: 0.1 }, 4, tcl],
  ['tcl with a spike budget in mixed precision', { precision: 'mixed', activityPenalty: 0.5, spikeBudget: 0.1 }, 1, tcl],
  ['spike', { surrogate: 'arctan', activityPenalty: 0.5 }, 4, spike],
  ['spike in mixed precision', { precision: 'mixed' }, 1, spike],
  ['weights of 8 bits and hoyer', { activityPenalty: 0.5, penalty: 'hoyer' }, 4, withWeightBits(tinyNetwork(), 8)],
  ['weights of 8 bits and hoyer in mixed precision', { precision: 'mixed', activityPenalty: 0.5, penalty: 'hoyer' }, 1, withWeightBits(tinyNetwork(), 8)],
  ['sgd', {}, 4],
  ['adamw', { optimizer: { kind: 'adamw' } }, 4],
  ['nesterov, clipping and a moving average', { optimizer: { kind: 'sgd', nesterov: true }, clipNorm: 0.5, ema: 0.99 }, 4],
  ['mixup', { mixup: 0.2 }, 4],
  ['cutmix', { cutmix: 1 }, 4],
  ['over time', { ...overTime, mixup: 0.2, lossPerStep: 0.3, activityPenalty: 0.1, thresholdRate: 0.5 }, 4],
  ['by rates over time', { ...overTime, gradient: 'rate', mixup: 0.2, activityPenalty: 0.1, thresholdRate: 0.5 }, 4],
  ['by rates and batch statistics', { ...overTime, gradient: 'rate', batchStatistics: true }, 4],
  ['over time by batch statistics', { ...overTime, batchStatistics: true, activityPenalty: 0.1 }, 4],
  ['over time by batch statistics in mixed precision', { ...overTime, batchStatistics: true, timeSteps: 1, precision: 'mixed' }, 1],
  ['by rates in mixed precision', { ...overTime, gradient: 'rate', precision: 'mixed', activityPenalty: 0.1, thresholdRate: 0.5 }, 1],
  ['by rates and batch statistics in mixed precision', { ...overTime, gradient: 'rate', batchStatistics: true, precision: 'mixed' }, 1],
  ['a teacher by rates over time', { ...overTime, gradient: 'rate', teacher: 'a folder' }, 4],
  ['a teacher', { teacher: 'a folder' }, 4],
  ['two teachers in mixed precision', { teacher: ['a folder', 'another'], precision: 'mixed' }, 1],
  ['a teacher in mixed precision', { teacher: 'a folder', precision: 'mixed' }, 1],
  ['a teacher over time', { ...overTime, teacher: 'a folder', lossPerStep: 0.3 }, 4],
  ['mixed precision', { precision: 'mixed', activityPenalty: 0.1 }, 1],
  ['mixed precision over time', { ...overTime, precision: 'mixed', activityPenalty: 0.1, thresholdRate: 0.5 }, 1],
])('the loop takes the same steps as the separate models: %s', async (_, options, digits, graph) => {
  const separate = await takeSteps({ ...options, precision: 'float32' }, ['training', 'optimizer'], graph);
  const looped = await takeSteps(options, ['loop'], graph);
  const numbers = ({ loss, correct, gradientNorm = 0 }: BatchResult) => [loss, correct, gradientNorm];
  looped.results.forEach((result, k) => {
    numbers(result).forEach((value, i) => expect(value).toBeCloseTo(numbers(separate.results[k]!)[i]!, digits));
  });
  expect([...looped.tensors.keys()]).toEqual([...separate.tensors.keys()]);
  for (const [name, { data: values }] of separate.tensors) {
    looped.tensors.get(name)!.data.forEach((value, i) => expect(value, name).toBeCloseTo(values[i]!, digits));
  }
});

test('a loss that is not finite stops the loop with step and learning rate, and the last good checkpoint', async () => {
  const graph = tinyNetwork();
  const config = resolveConfig({ network: graph, data, out: '', batchSize: batch });
  const models = buildTrainingModels(graph, config, data.normalization);
  const stepper = await TrainingStepper.create(graph, config, data.normalization, models, { threads: 1 }, ['loop']);
  stepper.state.load(initialParameters(graph, new Random(7)));
  const wild = settings.map((one) => ({ ...one, learningRate: 1e30, epoch: 4, lastCheckpoint: 'runs/x, epoch 4' }));
  await expect(stepper.steps(batches, wild)).rejects.toMatchObject({
    code: 'TRAINING_DIVERGED',
    message: expect.stringMatching(/in epoch 5, step [23], at learning rate 1\.00e\+30\. The last good checkpoint: runs\/x, epoch 4/) as string,
  });
  await stepper.release();
});

test('noise of strength 0 is no noise', async () => {
  const silent = await runLoop(tinyNetwork(), { noise: 'nq', noiseSigma: 0 });
  expect(silent).toEqual(await runLoop(tinyNetwork(), { noise: 'none' }));
});

test('a step whose float16 gradients overflow changes nothing but the running statistics', async () => {
  const graph = tinyNetwork();
  const config = resolveConfig({ network: graph, data, out: '', batchSize: batch, device: 'cuda', precision: 'mixed', clipNorm: 1, optimizer: { kind: 'sgd', weightDecay: 0 } });
  const parameters = initialParameters(graph, new Random(7));
  // Weights of the last layer so large that the gradients before it pass 65504, of signs that keep the logits below.
  const weight = parameters.get('fc.weight')!.data;
  weight.forEach((_, i) => (weight[i] = (i % 2 === 0 ? 300 : -300) * [1, -1, 0][Math.floor((3 * i) / weight.length)]!));
  const stepper = await TrainingStepper.create(graph, config, data.normalization, buildTrainingModels(graph, config, data.normalization), { threads: 1 }, ['loop']);
  stepper.state.load(parameters);
  const results = await stepper.steps(batches, settings);
  for (const { loss, gradientNorm } of results) expect([Number.isFinite(loss), gradientNorm]).toEqual([true, 0]);
  for (const { name, role } of parameterSpecs(graph)) {
    if (role !== 'buffer') expect(stepper.state.parameters().get(name)!.data, name).toEqual(parameters.get(name)!.data);
  }
  await stepper.release();
});

interface LoopRun {
  readonly losses: readonly number[];
  /** Of the same steps once more in the same session. */
  readonly again: readonly number[];
  readonly weight: Float32Array;
}

async function runLoop(graph: Graph, options: Partial<TrainOptions>, extra: Record<string, number> = {}): Promise<LoopRun> {
  const ort = await loadRuntime();
  const config = resolveConfig({ network: graph, data, out: '', batchSize: batch, ...options });
  const session = await openSession(trainingLoopModel(graph, data.normalization, config), { threads: 1 });
  const parameters = initialParameters(graph, new Random(7));
  const floats = (values: ArrayLike<number>, shape: readonly number[]) => new ort.Tensor('float32', Float32Array.from(values), [...shape]);
  const feeds: Record<string, InstanceType<typeof ort.Tensor>> = {
    images: new ort.Tensor('uint8', data.train.images.slice(0, steps * batch * 36), [steps, batch, 1, 6, 6]),
    labels_of_steps: new ort.Tensor('int64', BigInt64Array.from(data.train.labels.subarray(0, steps * batch), BigInt), [steps, batch]),
    learning_rates: floats(rates, [steps]),
  };
  for (const [name, value] of Object.entries(extra)) feeds[name] = floats([value], []);
  for (const { name, shape, role } of parameterSpecs(graph)) {
    feeds[`${name}.now`] = floats(parameters.get(name)!.data, shape);
    if (role !== 'buffer') feeds[`${name}.momentum.now`] = floats(new Float32Array(elementCount(shape)), shape);
  }
  const results = await session.run(feeds);
  const repeated = await session.run(feeds);
  await session.release();
  const [losses, again] = [results, repeated].map((run) => Array.from(run.losses!.data as Float32Array)) as [number[], number[]];
  return { losses, again, weight: results['second.conv.weight.next']!.data as Float32Array };
}

const lsq = tinyNetwork({ kind: 'lsq', levels: 3, initialScale: 0.6 });
const fixed = tinyNetwork({ kind: 'spike', initialThreshold: 1, trainable: false });

test.each<[string, Graph, Partial<TrainOptions>]>([
  ['nq of a fixed strength', tinyNetwork(), { noise: 'nq', noiseSigma: 0.3 }],
  ['adaptor A', lsq, { noise: 'adaptor' }],
  ['adaptor B', lsq, { noise: 'adaptor', noiseVariant: 'B' }],
  ['adaptor C', lsq, { noise: 'adaptor', noiseVariant: 'C' }],
  ['single-step, Gaussian', spike, { noise: 'single-step' }],
  ['single-step, uniform, fixed threshold', fixed, { noise: 'single-step', noiseLaw: 'uniform' }],
])('the loop draws its noise anew, and its warm-up scales it: %s', async (_, graph, options) => {
  const noisy = await runLoop(graph, options);
  for (const loss of noisy.losses) expect(Number.isFinite(loss)).toBe(true);
  expect(noisy.again).not.toEqual(noisy.losses);
  const warming = { ...options, noiseWarmupEpochs: 3 };
  const silent = await runLoop(graph, warming, { noise_share: 0 });
  expect(silent.again).toEqual(silent.losses);
  if (options.noiseVariant !== 'B') expect(silent).toEqual(await runLoop(graph, { noise: 'none' }));
  expect((await runLoop(graph, warming, { noise_share: 1 })).losses).not.toEqual(silent.losses);
});

test('in float16 scale and shift are a product and a sum', () => {
  const graph = tinyNetwork();
  const normalises = (precision: 'float32' | 'mixed') => {
    const config = resolveConfig({ network: graph, data, out: '', batchSize: batch, device: 'cuda', precision });
    return Buffer.from(trainingLoopModel(graph, data.normalization, config)).includes('BatchNormalization');
  };
  expect([normalises('float32'), normalises('mixed')]).toEqual([true, false]);
});
