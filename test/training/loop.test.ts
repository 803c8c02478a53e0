import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildTrainingModels } from '../../src/training/artifacts.js';
import { readCheckpoint, readTrainingCheckpoint } from '../../src/training/checkpoint.js';
import { TrainingLoop, type LoopHooks } from '../../src/training/loop.js';
import { checkSurrogate, resolveConfig, resolveGraph, type EpochLog, type TrainConfig, type TrainOptions } from '../../src/training/options.js';
import { freshStart, resumedStart } from '../../src/training/start.js';
import type { Graph } from '../../src/graph/graph.js';
import { withWeightBits } from '../../src/graph/weights.js';
import type { NoiseKind } from '../../src/training/layers/rule.js';
import { tinyDataset, tinyNetwork } from '../support/tinyDataset.js';

const data = tinyDataset();
const quiet: LoopHooks = { shouldStop: () => false, onProgress: () => undefined };
const spikeNetwork = tinyNetwork({ kind: 'spike', initialThreshold: 1, trainable: true });
const lsqNetwork = tinyNetwork({ kind: 'lsq', levels: 3, initialScale: 0.6 });

let out: string;
beforeEach(async () => void (out = await mkdtemp(join(tmpdir(), 'noisefloor-loop-'))));
afterEach(() => rm(out, { recursive: true, force: true }));

function configOf(options: Partial<TrainOptions> = {}): TrainConfig {
  return resolveConfig({ network: 'tiny', data, out, epochs: 3, batchSize: 16, learningRate: 0.05, seed: 3, ...options });
}

async function run(graph: Graph, config: TrainConfig, hooks: LoopHooks = quiet, resume = false) {
  const start = resume ? await resumedStart(out, graph, config, data) : freshStart(graph, config, data);
  return TrainingLoop.run(start, data, out, buildTrainingModels(graph, config, data.normalization), { threads: 1 }, hooks);
}

async function readLog(): Promise<EpochLog[]> {
  const lines = (await readFile(join(out, 'log.jsonl'), 'utf8')).trim().split('\n');
  return lines.map((line) => JSON.parse(line) as EpochLog);
}

describe('a training run', () => {
  test.each([
    ['none', tinyNetwork()],
    ['nq', tinyNetwork()],
    ['adaptor', lsqNetwork],
    ['adaptor', lsqNetwork, { noiseVariant: 'B' }],
    ['adaptor', lsqNetwork, { noiseVariant: 'C', noiseAmplitude: 0.3 }],
    ['nq', tinyNetwork(), { noiseSigma: 0.1, noiseWarmupEpochs: 2 }],
    ['single-step', spikeNetwork, { noiseStrength: 0.5 }],
    ['single-step', spikeNetwork, { noiseLaw: 'uniform', surrogate: 'rectangle' }],
    ['none', tinyNetwork({ kind: 'spike', initialThreshold: 1, trainable: false }), { surrogate: 'arctan' }],
    ['none', tinyNetwork({ kind: 'slip-relu', levels: 4, slope: 0.5, initialThreshold: 2 })],
    ['none', tinyNetwork({ kind: 'tcl', initialThreshold: 4 }), { activityPenalty: 0.1, spikeBudget: 0.1 }],
    ['none', tinyNetwork({ kind: 'relu' })],
    ['none', withWeightBits(tinyNetwork(), 8), { activityPenalty: 0.1, penalty: 'hoyer' }],
  ] as [NoiseKind, Graph, Partial<TrainOptions>?][])('learns with noise %s and logs every epoch', async (noise, graph, options) => {
    await run(graph, configOf({ noise, epochs: 6, ...options }));
    const log = await readLog();
    expect(log.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(log.at(-1)!.loss).toBeLessThan(log[0]!.loss / 2);
    expect(log.at(-1)!.validationAccuracy).toBeGreaterThanOrEqual(0.85);
  });

  test('trains a last, smaller batch: 81 images in batches of 16 are 6 steps', async () => {
    const steps: number[] = [];
    await run(tinyNetwork(), configOf({ epochs: 1 }), { ...quiet, onProgress: (event) => event.kind === 'step' && steps.push(event.step) });
    expect(steps).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('is the same again with the same seed, another with another', async () => {
    const losses = async (seed: number): Promise<number[]> => {
      await rm(join(out, 'log.jsonl'), { force: true });
      await run(lsqNetwork, configOf({ noise: 'adaptor', seed }));
      return (await readLog()).map(({ loss }) => loss);
    };
    const first = await losses(1);
    expect(await losses(1)).toEqual(first);
    expect(await losses(2)).not.toEqual(first);
  });

  test('measures the strength of the nq noise: 0 where the input is constant, more behind', async () => {
    await run(tinyNetwork(), configOf({ noise: 'nq' }));
    for (const { sigma, sigmaSeconds } of await readLog()) {
      // T = L and a constant current: fact 1, no gap.
      expect(sigma!['first.act']).toBeLessThan(1e-6);
      expect(sigmaSeconds).toBeGreaterThan(0);
      expect(sigma!['second.act']).toBeGreaterThan(0.01);
    }
  });

  test('learns with CutMix and Mixup in turn', async () => {
    await run(tinyNetwork(), configOf({ mixup: 0.2, cutmix: 1, mixProbability: 0.7, epochs: 10 }));
    expect((await readLog()).at(-1)!.validationAccuracy).toBeGreaterThanOrEqual(0.6);
  });

  test('learns with Mixup, AutoAugment and Cutout, and logs how long it waited for data', async () => {
    await run(tinyNetwork(), configOf({ mixup: 0.2, augment: ['flip', 'autoaugment'], cutout: 2, epochs: 8 }));
    const log = await readLog();
    expect(log.at(-1)!.loss).toBeLessThan(log[0]!.loss);
    expect(log.at(-1)!.validationAccuracy).toBeGreaterThanOrEqual(0.6);
    for (const { seconds, stallSeconds } of log) {
      expect(stallSeconds).toBeGreaterThan(0);
      expect(stallSeconds).toBeLessThan(seconds);
    }
  });

  test('learns with AdamW', async () => {
    await run(tinyNetwork(), configOf({ optimizer: { kind: 'adamw' }, learningRate: 0.01, epochs: 6 }));
    expect((await readLog()).at(-1)!.validationAccuracy).toBeGreaterThanOrEqual(0.85);
  });
});

describe('stopping and resuming', () => {
  test.each<[string, Partial<TrainOptions>, Graph?]>([
    ['plain', {}],
    ['with nq noise', { noise: 'nq' }],
    ['with nq noise of a fixed strength that warms up', { noise: 'nq', noiseSigma: 0.2, noiseWarmupEpochs: 3 }],
    ['with adaptor noise, a spike budget and int8 weights', { noise: 'adaptor', noiseVariant: 'C', activityPenalty: 0.1, spikeBudget: 0.2 }, withWeightBits(lsqNetwork, 8)],
    ['with a random membrane', { noise: 'single-step', noiseLaw: 'uniform' }, tinyNetwork({ kind: 'spike', initialThreshold: 1, trainable: false })],
    ['with a moving average and clipping', { ema: 0.9, clipNorm: 0.5 }],
    ['with AdamW and a moving average', { ema: 0.9, optimizer: { kind: 'adamw' }, learningRate: 0.01 }],
  ])('a run stopped in mid-epoch and resumed ends as an uninterrupted one: %s', async (_, options, graph = tinyNetwork()) => {
    const config = configOf(options);
    const whole = await run(graph, config);
    const wholeLog = await readLog();
    await rm(out, { recursive: true });

    let steps = 0;
    const stopAfter8 = { ...quiet, shouldStop: () => ++steps === 8 };
    await expect(run(graph, config, stopAfter8)).rejects.toMatchObject({ code: 'ABORTED' });
    expect((await readTrainingCheckpoint(out)).position).toMatchObject({ epoch: 1, step: 2 });
    const resumed = await run(graph, config, quiet, true);

    for (const [name, { data: values }] of whole.parameters) expect(resumed.parameters.get(name)!.data, name).toEqual(values);
    const figures = (log: EpochLog[]) => log.map(({ loss, validationLoss, gradientNorm }) => ({ loss, validationLoss, gradientNorm }));
    expect(figures(await readLog())).toEqual(figures(wholeLog));
  });

  test('the checkpoint gives back the trained network', async () => {
    const network = await run(tinyNetwork(), configOf({ epochs: 1 }));
    const read = await readCheckpoint(out);
    expect(read).toEqual(network);
    expect(read.samples!.count).toBe(16);
  });

  test('another network is refused with the first tensor that differs', async () => {
    await run(tinyNetwork(), configOf({ epochs: 1 }));
    const wider = tinyNetwork(undefined, 5);
    await expect(resumedStart(out, wider, configOf({ epochs: 1 }), data)).rejects.toThrow(/first\.conv\.weight \[4, 1, 3, 3\] where first\.conv\.weight \[5, 1, 3, 3\]/);
  });

  test('other augmentations are refused', async () => {
    await run(tinyNetwork(), configOf({ epochs: 1 }));
    const asked = resumedStart(out, tinyNetwork(), configOf({ epochs: 1, augment: ['autoaugment', 'standard'] }), data);
    await expect(asked).rejects.toThrow(/augment \["standard"\], not \["standard","autoaugment"\]/);
    await expect(resumedStart(out, tinyNetwork(), configOf({ epochs: 1, mixup: 0.2 }), data)).rejects.toThrow(/mixup 0, not 0.2/);
  });

  test('the same tensors with other settings are refused with the first node that differs', async () => {
    await run(tinyNetwork(), configOf({ epochs: 1 }));
    await expect(resumedStart(out, withWeightBits(tinyNetwork(), 8), configOf({ epochs: 1 }), data)).rejects.toThrow(/same tensors, but .*"first\.conv".* where .*"weightBits":8/);
    await expect(resumedStart(out, tinyNetwork({ kind: 'qcfs', levels: 8, initialThreshold: 2 }), configOf({ epochs: 1 }), data)).rejects.toThrow(/"levels":4.* where .*"levels":8/);
  });

  test('other data are refused', async () => {
    await run(tinyNetwork(), configOf({ epochs: 1 }));
    const other = { ...data, spec: 'other' };
    await expect(resumedStart(out, tinyNetwork(), configOf({ epochs: 1 }), other)).rejects.toThrow(/trained on tiny, not other/);
  });

  test('another option of the method is refused by name', async () => {
    await run(lsqNetwork, configOf({ noise: 'adaptor', epochs: 1 }));
    await expect(resumedStart(out, lsqNetwork, configOf({ noise: 'adaptor', noiseVariant: 'C', epochs: 1 }), data)).rejects.toThrow(/noiseVariant "A", not "C"/);
  });

  test('another option is refused by name', async () => {
    await run(tinyNetwork(), configOf({ epochs: 1 }));
    await expect(resumedStart(out, tinyNetwork(), configOf({ epochs: 1, batchSize: 8 }), data)).rejects.toThrow(/batchSize 16, not 8/);
  });

  test('options are compared by value, whatever the order of their keys', async () => {
    await run(tinyNetwork(), configOf({ epochs: 1, optimizer: { kind: 'sgd', momentum: 0.8, nesterov: true } }));
    const again = (optimizer: TrainOptions['optimizer']) => resumedStart(out, tinyNetwork(), configOf({ epochs: 1, optimizer }), data);
    expect((await again({ nesterov: true, weightDecay: undefined, momentum: 0.8, kind: 'sgd' })).position.epoch).toBe(1);
    await expect(again({ kind: 'sgd', momentum: 0.7, nesterov: true })).rejects.toThrow(/optimizer .*"momentum":0\.8.*, not .*"momentum":0\.7/);
  });

  test('another number of replicas, or another averaging, is refused', async () => {
    await run(tinyNetwork(), configOf({ epochs: 1, replicas: 2, averageEvery: 4 }));
    const again = (options: Partial<TrainOptions>) => resumedStart(out, tinyNetwork(), configOf({ epochs: 1, ...options }), data);
    expect((await again({ replicas: 2, averageEvery: 4 })).config).toMatchObject({ replicas: 2, averageEvery: 4 });
    await expect(again({ replicas: 3, averageEvery: 4 })).rejects.toThrow(/replicas 2, not 3/);
    await expect(again({ replicas: 2, averageEvery: 2 })).rejects.toThrow(/averageEvery 4, not 2/);
    await expect(again({})).rejects.toThrow(/replicas 2, not none/);
    expect(configOf()).not.toHaveProperty('replicas');
    // Which devices it was does not matter.
    expect((await again({ device: 'cuda', devices: [2, 3], averageEvery: 4 })).position.epoch).toBe(1);
  });

  test('a finished run goes on with more epochs, as its record says; with fewer, or others beside, it does not', async () => {
    await run(tinyNetwork(), configOf({ epochs: 2 }));
    await expect(resumedStart(out, tinyNetwork(), configOf({ epochs: 1 }), data)).rejects.toThrow(/epochs 2, not 1: resume with the same options, and more epochs once it has done these/);
    await expect(resumedStart(out, tinyNetwork(), configOf({ epochs: 4, batchSize: 8 }), data)).rejects.toThrow(/batchSize 16, not 8/);
    await run(tinyNetwork(), configOf({ epochs: 4 }), quiet, true);
    const log = await readLog();
    expect(log.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4]);
    // The cosine of 4 epochs, from its middle on.
    expect(log.map(({ learningRate }) => learningRate)).toEqual([0.025, 0, 0.05 * 0.5 * (1 + Math.cos((3 * Math.PI) / 4)), 0]);
    const { config, network } = await readTrainingCheckpoint(out);
    expect(config.epochs).toBe(4);
    expect(network.provenance).toMatchObject({ training: { epochs: 4 }, prolongedAfter: [2] });
  });

  test('a run that is not finished keeps its epochs', async () => {
    let taken = 0;
    await expect(run(tinyNetwork(), configOf(), { ...quiet, shouldStop: () => ++taken === 2 })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(resumedStart(out, tinyNetwork(), configOf({ epochs: 4 }), data)).rejects.toThrow(/epochs 3, not 4/);
  });
});

describe('recipes', () => {
  test('the moving average is what is logged, returned and converted; training goes on from the weights', async () => {
    const averaged = await run(tinyNetwork(), configOf({ ema: 0.95 }));
    const { network: raw, optimizerState } = await readTrainingCheckpoint(out);
    expect(await readCheckpoint(out)).toEqual(averaged);
    expect((await readLog()).at(-1)!.thresholds['first.act']).toBe(averaged.parameters.get('first.act.threshold')!.data[0]);
    for (const name of ['fc.weight', 'first.bn.running_mean', 'first.act.threshold']) {
      expect(optimizerState.get(`${name}.ema`), name).toEqual(averaged.parameters.get(name));
      expect(raw.parameters.get(name), name).not.toEqual(averaged.parameters.get(name));
    }
    await rm(out, { recursive: true });
    const plain = await run(tinyNetwork(), configOf());
    expect(raw.parameters).toEqual(plain.parameters);
  });

  test('validation takes the moving average', async () => {
    const losses: number[] = [];
    for (const ema of [0, 0.99]) {
      await rm(join(out, 'log.jsonl'), { force: true });
      await run(tinyNetwork(), configOf({ ema, epochs: 1 }));
      losses.push((await readLog())[0]!.validationLoss!);
    }
    expect(losses[0]).not.toBe(losses[1]);
  });

  test('clipping shortens the way and logs the mean norm of the gradients before it', async () => {
    const fresh = freshStart(tinyNetwork(), configOf(), data).network.parameters;
    const way = async (options: Partial<TrainOptions>): Promise<number> => {
      const { parameters } = await run(tinyNetwork(), configOf({ epochs: 1, optimizer: { kind: 'sgd', momentum: 0, weightDecay: 0 }, ...options }));
      const names = [...parameters.keys()].filter((name) => !name.includes('running'));
      return Math.hypot(...names.flatMap((name) => [...parameters.get(name)!.data].map((value, i) => value - fresh.get(name)!.data[i]!)));
    };
    const free = await way({});
    // Six steps of a rate of at most 0.05 and a gradient of at most 0.01.
    const clipped = await way({ clipNorm: 0.01 });
    expect(clipped).toBeLessThanOrEqual(6 * 0.05 * 0.01 * 1.001);
    expect(free).toBeGreaterThan(2 * clipped);
    const [first, second] = await readLog();
    expect(first).not.toHaveProperty('gradientNorm');
    expect(second!.gradientNorm).toBeGreaterThan(0.1);
  });
});

describe('without images held out', () => {
  test('every image trains, and nothing is logged of images that were not trained on', async () => {
    let steps = 0;
    const onProgress: LoopHooks['onProgress'] = ({ kind }) => void (steps += kind === 'step' ? 1 : 0);
    await run(tinyNetwork(), configOf({ validation: 0, batchSize: 10, epochs: 1 }), { ...quiet, onProgress });
    expect(steps).toBe(data.train.count / 10);
    const [log] = await readLog();
    expect(Object.keys(log!)).not.toContain('validationLoss');
    expect(Object.keys(log!)).not.toContain('validationAccuracy');
    expect(log!.loss).toBeGreaterThan(0);
  });
});

describe('trouble', () => {
  test('a loss that is not finite stops with step and learning rate', async () => {
    const config = configOf({ learningRate: 1e30 });
    await expect(run(tinyNetwork(), config)).rejects.toMatchObject({ code: 'TRAINING_DIVERGED', message: expect.stringMatching(/epoch 1, step \d+, at learning rate \d\.\d+e\+\d+\. The last good checkpoint: none yet/) as string });
  });

  test('a validation loss that is not finite stops before the checkpoint is overwritten', async () => {
    const config = configOf({ learningRate: 1e30, epochs: 1, batchSize: 81 });
    await expect(run(tinyNetwork(), config)).rejects.toMatchObject({ code: 'TRAINING_DIVERGED', message: expect.stringMatching(/validation loss became/) as string });
    await expect(readCheckpoint(out)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  });

  test('a validation part that leaves nothing to train on is refused', async () => {
    await expect(run(tinyNetwork(), configOf({ validation: 90 }))).rejects.toThrow(/for validation but received 90/);
  });

  test('a checkpoint whose training state is damaged is refused', async () => {
    await run(tinyNetwork(), configOf({ epochs: 1 }));
    const path = join(out, 'checkpoint.safetensors');
    const bytes = await readFile(path);
    bytes.set(Buffer.from('positiom'), bytes.indexOf('position'));
    await writeFile(path, bytes);
    await expect(readTrainingCheckpoint(out)).rejects.toMatchObject({ code: 'INVALID_FILE', message: expect.stringMatching(/lacks the optimiser or the position/) as string });
  });

  test.each([
    [{ activation: 'elu' as never }, /Unknown activation "elu"\. Should be one of: qcfs, lsq, slip-relu, tcl, relu, spike/],
    [{ noise: 'nq', activation: 'lsq' }, /Noise "nq" goes into qcfs, not lsq/],
    [{ noise: 'single-step', activation: 'qcfs' }, /Noise "single-step" goes into spike, not qcfs/],
    [{ activation: 'tcl', levels: 4 }, /levels is for activation qcfs, lsq, slip-relu, not tcl/],
    [{ activation: 'relu', initialThreshold: 1 }, /initialThreshold is for activation .*, not relu/],
    [{ slope: 0.3 }, /slope is for activation slip-relu, not qcfs/],
    [{ activation: 'slip-relu', slope: 1.5 }, /number from 0 to 1 for slope/],
    [{ surrogate: 'arctan' }, /surrogate is for activation spike, not qcfs/],
    [{ activation: 'relu', activityPenalty: 0.1 }, /penalty needs a threshold, but "stem.act" is relu/],
    [{ weightBits: 4 as never }, /Unknown weightBits "4"\. Should be one of: 8/],
  ] as [Partial<TrainOptions>, RegExp][])('a network that the options do not fit is refused: %o', (options, message) => {
    const mnist = { ...data, shape: [1, 28, 28] };
    expect(() => resolveGraph({ network: 'mnist-small', data: mnist, out, ...options }, mnist)).toThrow(message);
  });

  test('options of the activation are refused beside a graph of its own', () => {
    expect(() => resolveGraph({ network: tinyNetwork(), data, out, levels: 8 }, data)).toThrow(/levels is for a network by name/);
  });

  test('a surrogate is refused beside a graph without spikes, in dense training', () => {
    const check = (options: Partial<TrainOptions>, graph: Graph) => () => checkSurrogate(options, graph);
    expect(check({ surrogate: 'arctan' }, tinyNetwork())).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/surrogate is for activation spike, which "tiny" has none of/) as string }) as Error,
    );
    expect(check({ surrogate: 'arctan' }, spikeNetwork)).not.toThrow();
    expect(check({ surrogate: 'arctan', timeSteps: 2 }, tinyNetwork())).not.toThrow();
    expect(check({}, tinyNetwork())).not.toThrow();
  });

  test('noise for the other quantiser is refused', () => {
    expect(() => buildTrainingModels(tinyNetwork(), configOf({ noise: 'adaptor' }), data.normalization)).toThrow(/needs lsq activations, but "first.act" is qcfs/);
    expect(() => buildTrainingModels(lsqNetwork, configOf({ noise: 'nq' }), data.normalization)).toThrow(/needs qcfs/);
    expect(() => buildTrainingModels(tinyNetwork(), configOf({ noise: 'single-step' }), data.normalization)).toThrow(/needs spike/);
  });

  test.each<[Partial<TrainOptions>, RegExp]>([
    [{ epochs: 0 }, /epochs/],
    [{ batchSize: 1.5 }, /batchSize/],
    [{ learningRate: Number.NaN }, /learningRate/],
    [{ augment: ['blur' as never] }, /Unknown augmentation "blur"/],
    [{ mixup: -1 }, /mixup/],
    [{ cutmix: NaN }, /cutmix/],
    [{ mixProbability: 0.5 }, /mixProbability is for mixup or cutmix/],
    [{ cutmix: 1, mixProbability: 1.5 }, /mixProbability/],
    [{ optimizer: { kind: 'adam' as never } }, /one of: sgd, adamw/],
    [{ optimizer: { kind: 'sgd', decay: 'some' as never } }, /one of: all, weights/],
    [{ optimizer: { kind: 'sgd', momentum: 1 } }, /below 1 for momentum/],
    [{ optimizer: { kind: 'sgd', momentum: 0, nesterov: true } }, /for momentum with nesterov/],
    [{ optimizer: { kind: 'adamw', weightDecay: -1 } }, /for weightDecay/],
    [{ schedule: 'linear' as never }, /one of: cosine, step, constant/],
    [{ device: 'tpu' as never }, /one of: cpu, cuda/],
    [{ ema: 1 }, /below 1 for ema/],
    [{ clipNorm: -1 }, /for clipNorm/],
    [{ noise: 'loud' as never }, /Unknown noise "loud"\. Should be one of: none, nq, adaptor, single-step/],
    [{ noise: 'adaptor', noiseVariant: 'D' as never }, /Unknown noiseVariant "D"\. Should be one of: A, B, C/],
    [{ noise: 'adaptor', noiseAmplitude: -1 }, /number >= 0 for noiseAmplitude/],
    [{ noise: 'nq', noiseVariant: 'A' }, /NoiseVariant is for noise adaptor, not "nq"/],
    [{ noise: 'adaptor', noiseSigma: 0.1 }, /NoiseSigma is for noise nq, single-step, not "adaptor"/],
    [{ noise: 'single-step', noiseLaw: 'cauchy' as never }, /one of: gaussian, uniform/],
    [{ noise: 'single-step', noiseLaw: 'uniform', noiseSigma: 0.1 }, /NoiseSigma is for noiseLaw gaussian/],
    [{ noiseStrength: 2 }, /NoiseStrength is for noise nq, adaptor, single-step, not "none"/],
    [{ surrogate: 'step' as never }, /one of: rectangle, triangle, arctan, gaussian/],
    [{ noiseTimeSteps: 8 }, /NoiseTimeSteps is for noise nq, not "none"/],
    [{ noise: 'adaptor', noiseTimeSteps: 8 }, /NoiseTimeSteps is for noise nq, not "adaptor"/],
    [{ noise: 'nq', noiseTimeSteps: 8, noiseSigma: 0.1 }, /NoiseTimeSteps is for measured noise, which noiseSigma takes the place of/],
    [{ noise: 'nq', noiseTimeSteps: 0 }, /whole number >= 1 for noiseTimeSteps/],
    [{ epochs: 3, warmupEpochs: 3 }, /warm-up over 3 of 3 epochs never reaches the learning rate/],
    [{ epochs: 1, warmupEpochs: 1.5 }, /give fewer warmupEpochs, or more epochs/],
    [{ penalty: 'hoyer' }, /need an activityPenalty above 0/],
    [{ activityPenalty: 1, penalty: 'l2' as never }, /one of: l1, hoyer/],
    [{ activityPenalty: 1, penalty: 'hoyer', spikeBudget: 0.1 }, /SpikeBudget is for penalty l1/],
    [{ activityPenalty: 1, spikeBudget: 1.5 }, /number from 0 to 1 for spikeBudget/],
  ])('bad options are named: %o', (options, message) => {
    expect(() => configOf(options)).toThrow(message);
  });
});
