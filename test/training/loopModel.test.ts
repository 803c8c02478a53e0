import { expect, test } from 'vitest';
import { initialParameters } from '../../src/graph/parameters.js';
import { Random } from '../../src/random.js';
import { buildTrainingModels } from '../../src/training/artifacts.js';
import { resolveConfig, type TrainOptions } from '../../src/training/options.js';
import { TrainingStepper, type BatchResult, type PixelBatch, type StepSettings } from '../../src/training/stepper.js';
import type { Parameters } from '../../src/tensor.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();
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

async function takeSteps(options: Partial<TrainOptions>, sessions: readonly ('loop' | 'training' | 'optimizer')[]) {
  const graph = tinyNetwork();
  const config = resolveConfig({ network: graph, data, out: '', batchSize: batch, device: 'cuda', ...options });
  const models = buildTrainingModels(graph, config, data.normalization);
  const stepper = await TrainingStepper.create(graph, config, data.normalization, models, { threads: 1 }, sessions);
  stepper.load(initialParameters(graph, new Random(7)));
  const results = await stepper.steps(config.mixup > 0 ? mixedBatches : batches, settings);
  const tensors: Parameters = new Map([...stepper.parameters(), ...stepper.optimizerState()]);
  await stepper.release();
  return { results, tensors };
}

const overTime = { timeSteps: 3, initialFrom: 'a trained network' };

test.each<[string, Partial<TrainOptions>, number]>([
  ['sgd', {}, 4],
  ['adamw', { optimizer: { kind: 'adamw' } }, 4],
  ['nesterov, clipping and a moving average', { optimizer: { kind: 'sgd', nesterov: true }, clipNorm: 0.5, ema: 0.99 }, 4],
  ['mixup', { mixup: 0.2 }, 4],
  ['over time', { ...overTime, mixup: 0.2, lossPerStep: 0.3, activityPenalty: 0.1, thresholdRate: 0.5 }, 4],
  ['mixed precision', { precision: 'mixed', activityPenalty: 0.1 }, 1],
  ['mixed precision over time', { ...overTime, precision: 'mixed', activityPenalty: 0.1, thresholdRate: 0.5 }, 1],
])('the loop takes the same steps as the separate models: %s', async (_, options, digits) => {
  const separate = await takeSteps({ ...options, precision: 'float32' }, ['training', 'optimizer']);
  const looped = await takeSteps(options, ['loop']);
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
  stepper.load(initialParameters(graph, new Random(7)));
  const wild = settings.map((one) => ({ ...one, learningRate: 1e30, epoch: 4, lastCheckpoint: 'runs/x, epoch 4' }));
  await expect(stepper.steps(batches, wild)).rejects.toMatchObject({
    code: 'TRAINING_DIVERGED',
    message: expect.stringMatching(/in epoch 5, step [23], at learning rate 1\.00e\+30\. The last good checkpoint: runs\/x, epoch 4/) as string,
  });
  await stepper.release();
});
