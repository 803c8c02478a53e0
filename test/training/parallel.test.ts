import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
// The built package: replicas are threads, which load JavaScript.
import { GraphBuilder, train, type EpochLog, type Graph, type Parameters, type TrainOptions } from '../../dist/index.js';
import { NoisefloorError } from '../../src/errors.js';
import { resolveRuntime } from '../../src/training/parallel/runtime.js';
import { allocateShared, sharedViews } from '../../src/training/parallel/sharedTensors.js';
import { settle } from '../../src/training/parallel/settle.js';
import { partOf, shares } from '../../src/training/parallel/shares.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();

/** Statistics of batch normalisation are those of a replica's share: without it, two replicas are one with the batch. */
function withoutBatchNorm(): Graph {
  const b = new GraphBuilder('plain', [1, 6, 6]);
  const conv = (x: string, name: string): string => b.conv2d(x, name, { outChannels: 4, kernel: 3, padding: 1, bias: true });
  const activation = { kind: 'qcfs', levels: 4, initialThreshold: 2 } as const;
  const first = b.activation(conv(b.input, 'first'), 'first.act', activation);
  const second = b.activation(b.add(conv(first, 'second'), first, 'sum'), 'second.act', activation);
  return b.build(b.linear(b.flatten(second, 'flatten'), 'fc', { outFeatures: 3 }));
}

let out: string;
beforeEach(async () => void (out = await mkdtemp(join(tmpdir(), 'noisefloor-parallel-'))));
afterEach(() => rm(out, { recursive: true, force: true }));

async function run(name: string, options: Partial<TrainOptions>): Promise<{ parameters: Parameters; epochs: readonly EpochLog[] }> {
  const { network, epochs } = await train({ network: withoutBatchNorm(), data, out: join(out, name), epochs: 2, batchSize: 16, threads: 1, seed: 3, ...options });
  return { parameters: network.parameters, epochs };
}

function relativeError(actual: Parameters, expected: Parameters): number {
  let [difference, size] = [0, 0];
  for (const [name, { data: values }] of expected) {
    values.forEach((value, i) => {
      difference += (actual.get(name)!.data[i]! - value) ** 2;
      size += value ** 2;
    });
  }
  return Math.sqrt(difference / size);
}

describe('two replicas', () => {
  // 81 images in batches of 16: the last step has a batch of one, and a replica without work.
  test.each<[string, Partial<TrainOptions>]>([
    ['sgd', {}],
    ['AdamW, clipping and a moving average', { optimizer: { kind: 'adamw' }, learningRate: 0.01, clipNorm: 0.5, ema: 0.9 }],
    ['an activity penalty and label smoothing', { activityPenalty: 0.3, labelSmoothing: 0.1 }],
  ])('train as one with the doubled batch, to 1e-5: %s', async (_, options) => {
    const one = await run('one', options);
    const two = await run('two', { ...options, replicas: 2 });
    expect(relativeError(two.parameters, one.parameters)).toBeLessThan(1e-5);
    two.epochs.forEach((log, epoch) => {
      const expected = one.epochs[epoch]!;
      for (const key of ['loss', 'validationLoss', 'trainAccuracy', 'gradientNorm'] as const) {
        if (expected[key] !== undefined) expect(Math.abs(log[key]! - expected[key]), key).toBeLessThanOrEqual(1e-5 * expected[key]);
      }
    });
  });

  test('draw their noise apart, and learn with batch normalisation', async () => {
    const { epochs, parameters } = await run('noisy', { network: tinyNetwork(), noise: 'nq', replicas: 2, epochs: 6 });
    expect(epochs.at(-1)!.validationAccuracy).toBeGreaterThanOrEqual(0.85);
    expect(parameters.get('first.bn.running_mean')!.data.some((mean) => mean !== 0)).toBe(true);
  });

  test('leave a checkpoint that as many go on from', async () => {
    const whole = await run('whole', { replicas: 2 });
    await expect(run('parts', { replicas: 2, onProgress: (event) => abort(event, 8), signal: controller.signal })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(run('parts', { resume: true })).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' });
    const resumed = await run('parts', { replicas: 2, resume: true });
    expect(relativeError(resumed.parameters, whole.parameters)).toBe(0);
  });

  test('average weights and training state after steps of their own: near to one, another algorithm (local SGD)', async () => {
    // A group of equal batches is cut at the last, smaller one; averageEvery 2 over 5 equal steps is 2, 2 and 1.
    const local = await run('local', { replicas: 2, averageEvery: 2, epochs: 6, optimizer: { kind: 'sgd', nesterov: true }, ema: 0.5 });
    expect(local.epochs.at(-1)!.validationAccuracy).toBeGreaterThanOrEqual(0.85);
    const one = await run('one', { epochs: 6, optimizer: { kind: 'sgd', nesterov: true }, ema: 0.5 });
    const error = relativeError(local.parameters, one.parameters);
    expect(error).toBeGreaterThan(1e-4);
    expect(error).toBeLessThan(0.2);
  });

  test('say where the loss diverged', async () => {
    await expect(run('wild', { replicas: 2, learningRate: 1e30 })).rejects.toMatchObject({
      code: 'TRAINING_DIVERGED',
      message: expect.stringMatching(/in epoch 1, step \d+, at learning rate \d\.\d+e\+\d+\. The last good checkpoint: none yet/) as string,
    });
  });

  test('say what is missing on a machine without CUDA', async () => {
    await expect(run('gpu', { device: 'cuda', devices: [0, 1] })).rejects.toMatchObject({ code: 'MISSING_DEPENDENCY' });
  });

  const controller = new AbortController();
  let taken = 0;
  function abort({ kind }: { kind: string }, steps: number): void {
    if (kind === 'step' && ++taken === steps) controller.abort();
  }
});

describe('what becomes of replicas', () => {
  const later = <T>(milliseconds: number, end: () => T): Promise<T> => delay(milliseconds).then(end);
  const fail = (error: Error) => (): never => {
    throw error;
  };

  test('is told once the last has ended, with the first cause that says what is wrong', async () => {
    let done = false;
    const ended = new Error("A replica's thread ended early with code 1.");
    const cause = new NoisefloorError('TRAINING_DIVERGED', 'The loss became NaN');
    const settled = await settle([later(1, fail(ended)), later(5, fail(cause)), later(30, () => (done = true))]);
    expect(done).toBe(true);
    expect(settled).toEqual({ values: [true], cause });
    expect((await settle([later(1, fail(ended))])).cause).toBe(ended);
    expect(await settle([later(2, () => 'a'), later(1, () => 'b')])).toEqual({ values: ['a', 'b'] });
  });
});

describe('shares', () => {
  test('are as even as can be, none empty', () => {
    expect(shares(5, 2)).toEqual([{ begin: 0, end: 2, weight: 0.4 }, { begin: 2, end: 5, weight: 0.6 }]);
    expect(shares(1, 4)).toEqual([{ begin: 0, end: 1, weight: 1 }]);
  });

  test('cut every array of a batch', () => {
    const batch = { pixels: Uint8Array.of(1, 2, 3, 4, 5, 6), labels: BigInt64Array.of(7n, 8n, 9n), mixed: { labels: BigInt64Array.of(4n, 5n, 6n), weight: 0.3 } };
    expect(partOf(batch, { begin: 1, end: 3, weight: 2 / 3 })).toEqual({
      pixels: Uint8Array.of(3, 4, 5, 6),
      labels: BigInt64Array.of(8n, 9n),
      mixed: { labels: BigInt64Array.of(5n, 6n), weight: 0.3 },
    });
  });

  test('shared tensors are views of one memory', () => {
    const layout = allocateShared([['a', 2], ['b', 3]]);
    sharedViews(layout).get('b')!.set([1, 2, 3]);
    expect([...new Float32Array(layout.buffer)]).toEqual([0, 0, 1, 2, 3]);
  });
});

describe('options', () => {
  test('devices and replicas divide the threads', () => {
    expect(resolveRuntime({}, 8)).toEqual({ device: 'cpu', threads: undefined });
    expect(resolveRuntime({ device: 'cuda', devices: [3] }, 8)).toEqual({ device: 'cuda', deviceId: 3, threads: undefined });
    expect(resolveRuntime({ device: 'cuda', devices: [1, 0], threads: 5, averageEvery: 4 }, 8).parallel).toEqual({
      averageEvery: 4,
      replicas: [{ device: 'cuda', deviceId: 1, threads: 2 }, { device: 'cuda', deviceId: 0, threads: 2 }],
    });
  });

  test.each<[Partial<TrainOptions>, RegExp]>([
    [{ devices: [0, 1] }, /devices are numbers of CUDA devices: set device cuda/],
    [{ device: 'cuda', devices: [] }, /different whole numbers/],
    [{ device: 'cuda', devices: [1, 1] }, /different whole numbers/],
    [{ device: 'cuda', devices: [-1] }, /different whole numbers/],
    [{ device: 'cuda', replicas: 2 }, /replicas/],
    [{ replicas: 0 }, /at least 1 for replicas/],
    [{ replicas: 9 }, /at most 8, the images of a batch/],
    [{ averageEvery: 2 }, /averageEvery needs several devices or replicas/],
    [{ replicas: 2, averageEvery: 0 }, /for averageEvery/],
  ])('refuses %j', (options, message) => {
    expect(() => resolveRuntime(options, 8)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) as string }) as Error);
  });
});
