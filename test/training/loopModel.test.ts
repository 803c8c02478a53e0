import { expect, test } from 'vitest';
import { parameterSpecs, initialParameters } from '../../src/graph/parameters.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { Random } from '../../src/random.js';
import { trainingLoopModel } from '../../src/training/loopModel.js';
import { buildTrainingModels } from '../../src/training/artifacts.js';
import { resolveConfig, type TrainOptions } from '../../src/training/options.js';
import type { Graph } from '../../src/graph/graph.js';
import { TrainingStepper } from '../../src/training/stepper.js';
import { stateSuffixes, type OptimizerOptions } from '../../src/training/optimizers.js';
import { elementCount } from '../../src/tensor.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();
const steps = 3;
const batch = 10;
const rates = [0.1, 0.05, 0.02];

test.each<OptimizerOptions>([{ kind: 'sgd' }, { kind: 'adamw' }])('the loop takes the same steps as the separate models: $kind', async (optimizer) => {
  const graph = tinyNetwork();
  const parameters = initialParameters(graph, new Random(7));
  const config = resolveConfig({ network: graph, data, out: '', optimizer, batchSize: batch });

  const stepper = await TrainingStepper.create(graph, config, data.normalization, buildTrainingModels(graph, config, data.normalization), { threads: 1 });
  stepper.load(parameters);
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    const pixels = data.train.images.subarray(k * batch * 36, (k + 1) * batch * 36);
    const labels = BigInt64Array.from(data.train.labels.subarray(k * batch, (k + 1) * batch), BigInt);
    const settings = { epoch: 0, step: k, globalStep: k + 1, learningRate: rates[k]!, sigma: {}, lastCheckpoint: '' };
    losses.push((await stepper.steps([{ pixels, labels }], [settings]))[0]!.loss);
  }

  const ort = await loadRuntime();
  const session = await openSession(trainingLoopModel(graph, data.normalization, config), { threads: 1 });
  const floats = (values: Float32Array | readonly number[], shape: readonly number[]) => new ort.Tensor('float32', Float32Array.from(values), [...shape]);
  const feeds: Record<string, InstanceType<typeof ort.Tensor>> = {
    images: new ort.Tensor('uint8', data.train.images.slice(0, steps * batch * 36), [steps, batch, 1, 6, 6]),
    labels_of_steps: new ort.Tensor('int64', BigInt64Array.from(data.train.labels.subarray(0, steps * batch), BigInt), [steps, batch]),
    learning_rates: floats(rates, [steps]),
  };
  if (optimizer.kind === 'adamw') feeds.step_numbers = floats([1, 2, 3], [steps]);
  for (const { name, shape, role } of parameterSpecs(graph)) {
    feeds[`${name}.now`] = floats(parameters.get(name)!.data, shape);
    if (role !== 'buffer') for (const state of stateSuffixes(optimizer.kind)) feeds[`${name}.${state}.now`] = floats(new Float32Array(elementCount(shape)), shape);
  }
  const results = await session.run(feeds);
  const looped = Array.from(results.losses!.data as Float32Array);
  looped.forEach((loss, k) => expect(loss).toBeCloseTo(losses[k]!, 5));
  for (const [name, { data: values }] of stepper.parameters()) {
    const next = results[`${name}.next`]!.data as Float32Array;
    next.forEach((value, i) => expect(value, name).toBeCloseTo(values[i]!, 4));
  }
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
const spike = tinyNetwork({ kind: 'spike', initialThreshold: 1, trainable: true });
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
