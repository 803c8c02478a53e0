import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert } from '../../src/convert/convert.js';
import { normalizeRange } from '../../src/data/batches.js';
import { openDataset } from '../../src/data/open.js';
import { evaluate } from '../../src/evaluate/evaluate.js';
import { GraphBuilder } from '../../src/graph/builder.js';
import type { Graph } from '../../src/graph/graph.js';
import type { TrainedNetwork } from '../../src/graph/network.js';
import { Random } from '../../src/random.js';
import { SpikingSession } from '../../src/snn/session.js';
import { buildTrainingModels } from '../../src/training/artifacts.js';
import { TrainingLoop } from '../../src/training/loop.js';
import { drawLaw, resolveMethod, type MethodOptions } from '../../src/training/method.js';
import { resolveConfig } from '../../src/training/options.js';
import { freshStart } from '../../src/training/start.js';
import type { Dataset } from '../../src/data/dataset.js';
import { denseForward } from '../support/denseForward.js';
import { MethodForward } from '../support/methodForward.js';

const images = 300;
const draws = 8;

function digitNetwork(): Graph {
  const b = new GraphBuilder('digits', [1, 28, 28]);
  const neurons = { kind: 'spike', initialThreshold: 1, trainable: true } as const;
  const first = b.activation(b.batchNorm(b.conv2d(b.input, 'c1', { outChannels: 8, kernel: 5, stride: 2 }), 'b1'), 'a1', neurons);
  const second = b.activation(b.batchNorm(b.conv2d(first, 'c2', { outChannels: 16, kernel: 3, stride: 2 }), 'b2'), 'a2', neurons);
  return b.build(b.linear(b.flatten(second, 'flat'), 'fc', { outFeatures: 10 }));
}

async function trained(data: Dataset, options: MethodOptions): Promise<TrainedNetwork> {
  const graph = digitNetwork();
  const out = await mkdtemp(join(tmpdir(), 'noisefloor-single-'));
  try {
    const config = resolveConfig({ network: graph, data, out, epochs: 3, batchSize: 50, limit: 2500, learningRate: 0.05, ...options });
    const hooks = { shouldStop: () => false, onProgress: () => undefined };
    const models = buildTrainingModels(graph, config, data.normalization);
    return await TrainingLoop.run(freshStart(graph, config, data), data, out, models, { threads: 1 }, hooks);
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

/** Share of right answers of the network of one step with its random membrane, a mean over draws. */
function noisyAccuracy({ graph, parameters }: TrainedNetwork, data: Dataset, options: MethodOptions): number {
  const values = new Map([...parameters].map(([name, tensor]) => [name, Float64Array.from(tensor.data)]));
  const pixels = Float64Array.from(normalizeRange(data.test, 0, images, data.normalization, data.shape));
  const { shape, scale } = drawLaw(resolveMethod(options));
  const random = new Random(17);
  let right = 0;
  for (let k = 0; k < draws; k++) {
    const result = denseForward(graph, values, pixels, images, {
      training: false,
      activate: (node, input) => {
        const eps = Float64Array.from(input, () => scale * (shape === 'normal' ? random.normal() : 2 * random.uniform() - 1));
        return new MethodForward(resolveMethod(options), values, new Map([[node.name, eps]])).activate(node, input);
      },
    });
    const logits = result.get('fc')!;
    for (let n = 0; n < images; n++) {
      const row = logits.subarray(10 * n, 10 * n + 10);
      if (row.indexOf(Math.max(...row)) === data.test.labels[n]) right++;
    }
  }
  return right / (draws * images);
}

describe.each<[string, MethodOptions]>([
  ['Gaussian', { noise: 'single-step' }],
  ['uniform', { noise: 'single-step', noiseLaw: 'uniform', surrogate: 'rectangle' }],
])('trained in one step with the %s law', (_, options) => {
  let data: Dataset;
  let network: TrainedNetwork;
  beforeAll(async () => {
    data = await openDataset('mnist');
    network = await trained(data, options);
  }, 120_000);

  test('runs at T = N without loss: as right as the noisy network of one step, or more', async () => {
    const reference = noisyAccuracy(network, data, options);
    const { model } = convert(network, { weights: 'int16' });
    await using session = await SpikingSession.create(model, { threads: 1 });
    const { top1, timeSteps } = await evaluate(session, data, { timeSteps: [1, 2, 4, 8, 16], limit: images });
    expect(reference).toBeGreaterThan(0.7);
    for (const [i, accuracy] of top1.entries()) expect(accuracy, `T = ${timeSteps[i]}`).toBeGreaterThanOrEqual(reference);
  });
});
