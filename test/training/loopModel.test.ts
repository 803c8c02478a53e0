import { expect, test } from 'vitest';
import { parameterSpecs, initialParameters } from '../../src/graph/parameters.js';
import type { Precision } from '../../src/onnx/device.js';
import { loadRuntime, openSession } from '../../src/onnx/runtime.js';
import { Random } from '../../src/random.js';
import { trainingLoopModel } from '../../src/training/loopModel.js';
import { buildTrainingModels } from '../../src/training/artifacts.js';
import { resolveConfig } from '../../src/training/options.js';
import { TrainingStepper } from '../../src/training/stepper.js';
import { stateSuffixes, type OptimizerOptions } from '../../src/training/optimizers.js';
import { elementCount } from '../../src/tensor.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();
const steps = 3;
const batch = 10;
const rates = [0.1, 0.05, 0.02];
const weights = [0.3, 0.9, 0.5];
const secondLabels = (k: number) => BigInt64Array.from({ length: batch }, (_, i) => BigInt((i + k) % 3));

const cases: { optimizer: OptimizerOptions; mixup: number; precision: Precision; digits: number }[] = [
  { optimizer: { kind: 'sgd' }, mixup: 0, precision: 'float32', digits: 4 },
  { optimizer: { kind: 'adamw' }, mixup: 0, precision: 'float32', digits: 4 },
  { optimizer: { kind: 'sgd' }, mixup: 0.2, precision: 'float32', digits: 4 },
  { optimizer: { kind: 'sgd' }, mixup: 0, precision: 'mixed', digits: 1 },
];

test.each(cases)('the loop takes the same steps as the separate models: $optimizer.kind, $precision, mixup $mixup', async (settings) => {
  const { optimizer, mixup, precision, digits } = settings;
  const graph = tinyNetwork();
  const parameters = initialParameters(graph, new Random(7));
  const config = resolveConfig({ network: graph, data, out: '', optimizer, mixup, batchSize: batch });

  const stepper = await TrainingStepper.create(graph, config, data.normalization, buildTrainingModels(graph, config, data.normalization), { threads: 1 });
  stepper.load(parameters);
  const losses: number[] = [];
  for (let k = 0; k < steps; k++) {
    const pixels = data.train.images.subarray(k * batch * 36, (k + 1) * batch * 36);
    const labels = BigInt64Array.from(data.train.labels.subarray(k * batch, (k + 1) * batch), BigInt);
    const settings = { epoch: 0, step: k, globalStep: k + 1, learningRate: rates[k]!, sigma: {}, lastCheckpoint: '' };
    const mixed = mixup > 0 ? { mixed: { labels: secondLabels(k), weight: weights[k]! } } : {};
    losses.push((await stepper.steps([{ pixels, labels, ...mixed }], [settings]))[0]!.loss);
  }

  const ort = await loadRuntime();
  const session = await openSession(trainingLoopModel(graph, data.normalization, { ...config, precision }), { threads: 1 });
  const floats = (values: Float32Array | readonly number[], shape: readonly number[]) => new ort.Tensor('float32', Float32Array.from(values), [...shape]);
  const feeds: Record<string, InstanceType<typeof ort.Tensor>> = {
    images: new ort.Tensor('uint8', data.train.images.slice(0, steps * batch * 36), [steps, batch, 1, 6, 6]),
    labels_of_steps: new ort.Tensor('int64', BigInt64Array.from(data.train.labels.subarray(0, steps * batch), BigInt), [steps, batch]),
    learning_rates: floats(rates, [steps]),
  };
  if (mixup > 0) {
    feeds.mixed_labels_of_steps = new ort.Tensor('int64', BigInt64Array.from([0, 1, 2].flatMap((k) => [...secondLabels(k)])), [steps, batch]);
    feeds.mixed_weights = floats(weights, [steps]);
  }
  if (optimizer.kind === 'adamw') feeds.step_numbers = floats([1, 2, 3], [steps]);
  for (const { name, shape, role } of parameterSpecs(graph)) {
    feeds[`${name}.now`] = floats(parameters.get(name)!.data, shape);
    if (role !== 'buffer') for (const state of stateSuffixes(optimizer.kind)) feeds[`${name}.${state}.now`] = floats(new Float32Array(elementCount(shape)), shape);
  }
  const results = await session.run(feeds);
  const looped = Array.from(results.losses!.data as Float32Array);
  looped.forEach((loss, k) => expect(loss).toBeCloseTo(losses[k]!, digits));
  for (const [name, { data: values }] of stepper.parameters()) {
    const next = results[`${name}.next`]!.data as Float32Array;
    next.forEach((value, i) => expect(value, name).toBeCloseTo(values[i]!, digits));
  }
});
