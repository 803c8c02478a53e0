import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
// The built package: a worker thread loads JavaScript.
import { convert, evaluate, SpikingSession, train, type TrainOptions, type TrainProgress } from '../../dist/index.js';
import { readTrainingCheckpoint } from '../../src/training/checkpoint.js';
import { resolveConfig, type EpochLog } from '../../src/training/options.js';
import { deriveSeed, seedUse } from '../../src/training/seeds.js';
import type { Dataset } from '../../src/data/dataset.js';
import { splitValidation } from '../../src/data/split.js';
import type { Activation } from '../../src/graph/graph.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();
const levels8: Activation = { kind: 'qcfs', levels: 8, initialThreshold: 2 };
let folder: string;
let base: string;
let out: string;

/** 8 levels, so that the spiking network of 2 steps is far from the quantised one. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'noisefloor-finetune-'));
  base = join(folder, 'base');
  await train({ network: tinyNetwork(levels8), data, out: base, epochs: 3, batchSize: 16, learningRate: 0.02, validation: 0.3, threads: 1 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => void (out = join(await mkdtemp(join(folder, 'run-')), 'out')));

const options = (more: Partial<TrainOptions> = {}): TrainOptions => ({ data, out, initialFrom: base, timeSteps: 2, epochs: 4, batchSize: 16, validation: 0.3, threads: 1, ...more });

async function readLog(): Promise<EpochLog[]> {
  return (await readFile(join(out, 'log.jsonl'), 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as EpochLog);
}

describe('fine-tuning over time', () => {
  test('brings the spiking network on, and logs it beside the dense one', async () => {
    const events: TrainProgress[] = [];
    const { network } = await train(options({ learningRate: 0.02, epochs: 6, onProgress: (event) => void events.push(event) }));
    const before = events.find((event) => event.kind === 'start')!.spiking;
    const log = await readLog();
    const { spiking, validationAccuracy } = log.at(-1)!;
    expect(before.timeSteps).toBe(2);
    expect(spiking!.loss).toBeLessThan(before.loss / 2);
    expect(spiking!.accuracy).toBeGreaterThanOrEqual(before.accuracy);
    expect(spiking!.spikesPerNeuron).toBeGreaterThan(0);
    expect(spiking!.spikesPerNeuron).toBeLessThan(2);
    expect(validationAccuracy).toBeGreaterThan(0);
    const began = await readTrainingCheckpoint(base);
    for (const [name, { data: values }] of began.network.parameters) {
      const fixed = /running|threshold/.test(name);
      if (fixed) expect(network.parameters.get(name)!.data, name).toEqual(values);
      else expect(network.parameters.get(name)!.data, name).not.toEqual(values);
    }
    expect(network.provenance).toMatchObject({ training: { temporal: { timeSteps: 2, surrogate: 'rectangle' } }, initialFrom: began.network.provenance });
  });

  test.each<[string, Activation, Partial<TrainOptions>]>([
    ['spikes of a fixed threshold', { kind: 'spike', initialThreshold: 1, trainable: false }, {}],
    ['a trained clip and weights of 8 bits', { kind: 'tcl', initialThreshold: 3 }, { weightBits: 8 }],
  ])('goes on from %s', async (_, activation, more) => {
    const begin = join(out, '..', 'begin');
    const { validation } = options();
    const first = await train({ network: tinyNetwork(activation), data, out: begin, epochs: 1, batchSize: 16, validation, threads: 1, ...more });
    const { network } = await train(options({ initialFrom: begin, epochs: 1 }));
    expect(network.graph).toEqual(first.network.graph);
    expect(network.parameters.get('first.act.threshold')).toEqual(first.network.parameters.get('first.act.threshold'));
    expect(network.parameters.get('fc.weight')!.data).not.toEqual(first.network.parameters.get('fc.weight')!.data);
  });

  test('the engine has the accuracy and the spikes of the spiking evaluation', async () => {
    const { network } = await train(options({ epochs: 1 }));
    const { spiking } = (await readLog())[0]!;
    const session = await SpikingSession.create(convert(network, { weights: 'int16' }).model);
    const { validation } = splitValidation(data.train, 0.3, deriveSeed(0, seedUse.validation), 'validation');
    const result = await evaluate(session, { ...data, test: validation }, { timeSteps: [2] });
    await session.dispose();
    expect(result.top1[0]).toBeCloseTo(spiking!.accuracy, 10);
    expect(result.spikesPerNeuron[0]).toBeCloseTo(spiking!.spikesPerNeuron, 2);
  });

  test('stopped and resumed, it ends as an uninterrupted run', async () => {
    const whole = await train(options());
    const wholeLog = await readLog();
    await rm(out, { recursive: true });
    const controller = new AbortController();
    const onProgress = (event: TrainProgress): void => {
      if (event.kind === 'step' && event.epoch === 2 && event.step === 2) controller.abort();
    };
    await expect(train(options({ signal: controller.signal, onProgress }))).rejects.toMatchObject({ code: 'ABORTED' });
    const resumed = await train(options({ resume: true }));
    for (const [name, { data: values }] of whole.network.parameters) expect(resumed.network.parameters.get(name)!.data, name).toEqual(values);
    expect((await readLog()).map(({ loss, spiking }) => [loss, spiking])).toEqual(wholeLog.map(({ loss, spiking }) => [loss, spiking]));
    await expect(train(options({ resume: true, timeSteps: 3 }))).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' });
  });

  test('the activity penalty makes for fewer spikes', async () => {
    const spikes = async (activityPenalty: number): Promise<number> => {
      const { epochs } = await train(options({ activityPenalty, learningRate: 0.02, out: `${out}-${activityPenalty}` }));
      return epochs.at(-1)!.spiking!.spikesPerNeuron;
    };
    expect(await spikes(1)).toBeLessThan(0.9 * (await spikes(0)));
  });

  test.each([{ gradient: 'rate' }, { gradient: 'rate', batchStatistics: true }] as const)('by rates: %j', async (by) => {
    const events: TrainProgress[] = [];
    const { network } = await train(options({ ...by, learningRate: 0.02, epochs: 6, timeSteps: 12, onProgress: (event) => void events.push(event) }));
    const before = events.find((event) => event.kind === 'start')!.spiking;
    const { spiking } = (await readLog()).at(-1)!;
    expect(spiking!.loss).toBeLessThan(before.loss);
    const began = await readTrainingCheckpoint(base);
    const moved = [...began.network.parameters].filter(([name, { data: values }]) => network.parameters.get(name)!.data.some((value, i) => value !== values[i]));
    expect(moved.some(([name]) => name.includes('running'))).toBe('batchStatistics' in by);
    expect(network.provenance).toMatchObject({ training: { temporal: { timeSteps: 12, ...by } } });
  });

  test('by batch statistics: the running ones move, and a high rate does not diverge', async () => {
    const events: TrainProgress[] = [];
    const { network } = await train(options({ batchStatistics: true, learningRate: 0.1, epochs: 6, onProgress: (event) => void events.push(event) }));
    const before = events.find((event) => event.kind === 'start')!.spiking;
    expect((await readLog()).at(-1)!.spiking!.loss).toBeLessThan(before.loss);
    const began = await readTrainingCheckpoint(base);
    expect(network.parameters.get('first.bn.running_mean')!.data).not.toEqual(began.network.parameters.get('first.bn.running_mean')!.data);
    expect(network.provenance).toMatchObject({ training: { temporal: { batchStatistics: true } } });
  });

  test('thresholds learn at their own rate', async () => {
    const { network } = await train(options({ thresholdRate: 0.1, epochs: 1 }));
    const began = await readTrainingCheckpoint(base);
    expect(network.parameters.get('first.act.threshold')!.data).not.toEqual(began.network.parameters.get('first.act.threshold')!.data);
  });

  test('an initial network without time steps is a dense training that begins with it', async () => {
    const { epochs } = await train(options({ timeSteps: undefined, epochs: 1, learningRate: 1e-9 }));
    const last = (await readTrainingCheckpoint(base)).network;
    expect(epochs[0]).not.toHaveProperty('spiking');
    const { network } = await readTrainingCheckpoint(out);
    network.parameters.get('fc.weight')!.data.forEach((value, i) => expect(value).toBeCloseTo(last.parameters.get('fc.weight')!.data[i]!, 5));
  });
});

describe('bad input', () => {
  test('a folder without a checkpoint', async () => {
    await expect(train(options({ initialFrom: join(folder, 'nothing') }))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  });

  test.each<[string, Partial<Dataset>, string, RegExp]>([
    ['shape', { shape: [1, 4, 9] }, 'INVALID_GRAPH', /takes \[1, 6, 6\] but tiny has images \[1, 4, 9\]/],
    ['classes', { classes: ['a', 'b', 'c'] }, 'CHECKPOINT_MISMATCH', /has 3 classes \(top, middle, bottom, \.\.\.\), but tiny 3 classes \(a, b, c, \.\.\.\): give the data set/],
    ['normalization', { normalization: { mean: [0], std: [1] } }, 'CHECKPOINT_MISMATCH', /another normalization/],
  ])('data of another %s', async (_, change, code, message) => {
    await expect(train(options({ data: { ...data, ...change } }))).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  test.each([
    [{ seed: 1 }, 'seed 0, not 1'],
    [{ validation: 0.2 }, 'validation 0.3, not 0.2'],
    [{ limit: 60 }, 'limit none, not 60'],
  ])('another validation part, which the network was trained on: %j', async (change, named) => {
    const message = expect.stringContaining(`trained with ${named}: other images were held out. Give the same, or validation 0.`) as string;
    await expect(train(options(change))).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH', message });
  });

  test('a network of relu activations', async () => {
    const relu = join(out, 'relu');
    await train({ network: tinyNetwork({ kind: 'relu' }), data, out: relu, epochs: 1, batchSize: 16, validation: 0.3, threads: 1 });
    const message = expect.stringMatching(/"tiny" cannot be trained over time, since activation "first.act" is relu: begin with/) as string;
    await expect(train(options({ initialFrom: relu }))).rejects.toMatchObject({ code: 'INVALID_GRAPH', message });
  });

  test.each<[Partial<TrainOptions>, RegExp]>([
    [{ timeSteps: 0 }, /whole number from 1 to 8 for timeSteps/],
    [{ timeSteps: 9 }, /whole number from 1 to 8 for timeSteps/],
    [{ timeSteps: 1.5 }, /whole number from 1 to 8/],
    [{ timeSteps: 33, gradient: 'rate' }, /whole number from 1 to 32 for timeSteps with gradient "rate"/],
    [{ gradient: 'backwards' as never }, /Unknown gradient "backwards"\. Should be one of: through-time, rate/],
    [{ gradient: 'rate', surrogate: 'arctan' }, /leave out surrogate, detachReset and lossPerStep/],
    [{ gradient: 'rate', detachReset: false }, /leave out surrogate, detachReset and lossPerStep/],
    [{ gradient: 'rate', lossPerStep: 0.5 }, /leave out surrogate, detachReset and lossPerStep/],
    [{ timeSteps: undefined, gradient: 'rate' }, /gradient is for training over time: give timeSteps too/],
    [{ surrogate: 'step' as never }, /Unknown surrogate "step"\. Should be one of: rectangle, triangle, arctan, gaussian/],
    [{ lossPerStep: 1.1 }, /from 0 to 1 for lossPerStep/],
    [{ thresholdRate: -1 }, /thresholdRate/],
    [{ noise: 'nq' }, /without noise: leave out noise "nq"/],
    [{ initialFrom: undefined, network: 'mnist-small' }, /needs a trained network: give the folder/],
    [{ timeSteps: undefined, lossPerStep: 0.5 }, /lossPerStep is for training over time: give timeSteps too/],
    [{ network: 'mnist-small' }, /comes from initialFrom: leave out network/],
    [{ weightBits: 8 }, /comes from initialFrom: leave out weightBits/],
    [{ initialFrom: 3 as never }, /path of a folder for initialFrom/],
  ])('%j', async (change, message) => {
    await expect(train(options(change))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) as string });
  });
});

test('the rate, the thresholds and what is detached are those that hold by default', () => {
  expect(resolveConfig(options())).toMatchObject({
    learningRate: 0.001,
    optimizer: { kind: 'sgd', thresholdRate: 0 },
    temporal: { timeSteps: 2, surrogate: 'rectangle', detachReset: true, lossPerStep: 0, trainThresholds: false },
  });
  expect(resolveConfig({ network: 'mnist-small', data, out: '' })).not.toHaveProperty('temporal');
});
