import { expect, test } from 'vitest';
import { parameterSpecs, initialParameters } from '../../src/graph/parameters.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { Random } from '../../src/random.js';
import { trainingLoopModel } from '../../src/training/loopModel.js';
import { buildTrainingModels } from '../../src/training/artifacts.js';
import { resolveConfig, type TrainOptions } from '../../src/training/options.js';
import { TrainingStepper } from '../../src/training/stepper.js';
import { stateSuffixes } from '../../src/training/optimizers.js';
import { elementCount } from '../../src/tensor.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();
const steps = 3;
const batch = 10;
const rates = [0.1, 0.05, 0.02];

test.each<Partial<TrainOptions>>([
  { optimizer: { kind: 'sgd' } },
  { optimizer: { kind: 'adamw' } },
  { timeSteps: 3, initialFrom: 'a trained network', lossPerStep: 0.3, activityPenalty: 0.1, thresholdRate: 0.5 },
])('the loop takes the same steps as the separate models: %j', async (options) => {
  const graph = tinyNetwork();
  const parameters = initialParameters(graph, new Random(7));
  const config = resolveConfig({ network: graph, data, out: '', batchSize: batch, ...options });
  const { optimizer } = config;

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
