import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dataset, Split } from '../data/dataset.js';
import { batchRanges } from '../data/batches.js';
import { NoisefloorError } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';
import { activationThresholds } from '../graph/parameters.js';
import type { TrainingModels } from './artifacts.js';
import { batchPlans } from './batches.js';
import { checkpointPath, epochStart, writeCheckpoint, writeNetwork, type Checkpoint, type TrainPosition } from './checkpoint.js';
import { diverged, refuseInfinite } from './diverged.js';
import { takeParts, type Parts } from './heldOut.js';
import { openLoader, type BatchLoader } from './loader.js';
import { openStepper } from './parallel/stepper.js';
import type { TrainingRuntime } from './parallel/runtime.js';
import { measureSigma } from './sigma.js';
import { measuresSigma } from './method.js';
import type { EpochLog, TrainOptions, TrainProgress } from './options.js';
import { learningRateAt } from './schedule.js';
import type { BatchResult, StepSettings } from './step.js';
import type { Stepper } from './stepper.js';
import { Validation } from './validation.js';

export interface LoopHooks {
  /** Asked after every step; true saves a checkpoint and ends the run with `ABORTED`. */
  shouldStop(): boolean;
  onProgress(event: TrainProgress): void;
}

/** What changes no result. */
export type LoopExtras = Partial<Pick<TrainOptions, 'loaderThreads' | 'keepEvery'>>;

type EpochSpeed = Pick<EpochLog, 'seconds' | 'stallSeconds'>;
type Range = readonly [begin: number, end: number];

interface EpochResult {
  readonly position: TrainPosition;
  readonly stopped: boolean;
  /** Waiting for data. */
  readonly stallSeconds: number;
}

/** One training run, from a starting state to its last epoch, on this thread. */
export class TrainingLoop {
  readonly #steps: number;
  readonly #validation: Validation;

  private constructor(
    readonly start: Checkpoint,
    readonly data: Dataset,
    readonly directory: string,
    readonly hooks: LoopHooks,
    readonly stepper: Stepper,
    readonly parts: Parts,
    readonly loader: BatchLoader,
    readonly keepEvery: number,
  ) {
    this.#steps = Math.ceil(parts.train.count / start.config.batchSize);
    this.#validation = new Validation(stepper.evaluation, start.config, data, parts.validation);
  }

  static async run(
    start: Checkpoint,
    data: Dataset,
    directory: string,
    models: TrainingModels,
    runtime: TrainingRuntime,
    hooks: LoopHooks,
    { loaderThreads = 0, keepEvery = 0 }: LoopExtras = {},
  ): Promise<TrainedNetwork> {
    const parts = takeParts(data, start.config);
    // Before the stepper, so that the first batches are made while the runtime plans its sessions.
    const loader = openTrainingLoader(start, data, parts.train, loaderThreads);
    try {
      const stepper = await openStepper(start.network.graph, start.config, data.normalization, models, runtime);
      try {
        stepper.state.load(start.network.parameters, start.optimizerState);
        return await new TrainingLoop(start, data, directory, hooks, stepper, parts, loader, keepEvery).#run();
      } finally {
        await stepper.release();
      }
    } finally {
      await loader.close();
    }
  }

  async #run(): Promise<TrainedNetwork> {
    const { epochs } = this.start.config;
    let { position } = this.start;
    const before = position.epoch === 0 && position.step === 0 ? await this.#validation.spiking() : undefined;
    if (before) this.hooks.onProgress({ kind: 'start', spiking: before });
    while (position.epoch < epochs) {
      const began = performance.now();
      const result = await this.#trainEpoch(position);
      if (result.stopped) {
        await this.#save(result.position);
        const { epoch, step } = result.position;
        throw new NoisefloorError(
          'ABORTED',
          `Stopped in epoch ${epoch + 1}, step ${step}; the checkpoint is saved: go on with resume.`,
        );
      }
      const speed = { seconds: (performance.now() - began) / 1000, stallSeconds: result.stallSeconds };
      position = await this.#finishEpoch(result.position, speed, position.imageCount);
    }
    return this.#network();
  }

  async #trainEpoch(from: TrainPosition): Promise<EpochResult> {
    const ranges = [...batchRanges(this.parts.train.count, this.start.config.batchSize)].slice(from.step);
    let position = from;
    let stallSeconds = 0;
    for (const group of equalGroups(ranges, this.stepper.stepsPerCall)) {
      const first = position.step;
      const asked = performance.now();
      const batches = await this.loader.take(group.length);
      stallSeconds += (performance.now() - asked) / 1000;
      const settings = group.map((_, k) => this.#settings(position, first + k));
      const results = await this.stepper.steps(batches, settings);
      for (const [k, result] of results.entries()) {
        position = advance(position, result, batches[k]!.labels.length);
        const { epoch, step } = position;
        this.hooks.onProgress({ kind: 'step', epoch: epoch + 1, step, steps: this.#steps, loss: result.loss });
      }
      this.loader.recycle(batches);
      if (this.hooks.shouldStop()) return { position, stopped: true, stallSeconds };
    }
    return { position, stopped: false, stallSeconds };
  }

  #settings({ epoch, sigma }: TrainPosition, step: number): StepSettings {
    const globalStep = epoch * this.#steps + step;
    const learningRate = learningRateAt(this.start.config, globalStep, this.#steps);
    const checkpoint = lastCheckpoint(this.directory, epoch);
    return { epoch, step, globalStep: globalStep + 1, learningRate, sigma, lastCheckpoint: checkpoint };
  }

  async #finishEpoch(done: TrainPosition, speed: EpochSpeed, resumedImages: number): Promise<TrainPosition> {
    const { config } = this.start;
    const validation = await this.#validation.dense();
    const checkpoint = lastCheckpoint(this.directory, done.epoch);
    if (validation && !Number.isFinite(validation.loss)) {
      throw diverged(`The validation loss became ${validation.loss} after epoch ${done.epoch + 1}`, checkpoint);
    }
    const spiking = await this.#validation.spiking();
    const { evaluation } = this.stepper;
    const { train, validation: heldOut } = this.parts;
    // Without images held out the options refuse to measure.
    const measured = measuresSigma(config) ? await measureSigma(evaluation, config, this.data, { train, validation: heldOut! }, done.epoch) : undefined;
    const next = epochStart(done.epoch + 1, measured?.sigma);
    const network = this.#network();
    refuseInfinite(network, done.epoch, checkpoint);
    const log: EpochLog = {
      epoch: next.epoch,
      loss: done.lossSum / done.imageCount,
      trainAccuracy: done.correctSum / done.imageCount,
      ...(validation ? { validationLoss: validation.loss, validationAccuracy: validation.accuracy } : {}),
      ...(spiking ? { spiking } : {}),
      learningRate: learningRateAt(config, next.epoch * this.#steps, this.#steps),
      ...(config.clipNorm > 0 ? { gradientNorm: done.gradientNormSum / done.step } : {}),
      ...speed,
      imagesPerSecond: (done.imageCount - resumedImages) / speed.seconds,
      thresholds: activationThresholds(network.graph, network.parameters),
      ...(measured ? { sigma: measured.sigma, gapMean: measured.mean, sigmaSeconds: measured.seconds } : {}),
    };
    if (this.keepEvery > 0 && next.epoch % this.keepEvery === 0) await writeNetwork(join(this.directory, `epoch-${next.epoch}`), network);
    await this.#save(next);
    await appendFile(join(this.directory, 'log.jsonl'), `${JSON.stringify(log)}\n`);
    this.hooks.onProgress({ kind: 'epoch', epochs: config.epochs, ...log });
    return next;
  }

  async #save(position: TrainPosition): Promise<void> {
    const { config } = this.start;
    const network = { ...this.start.network, parameters: this.stepper.state.parameters() };
    await writeCheckpoint(this.directory, { network, config, position, optimizerState: this.stepper.state.optimizerState() });
  }

  #network(): TrainedNetwork {
    return { ...this.start.network, parameters: this.stepper.state.averagedParameters() };
  }
}

function openTrainingLoader({ config, position }: Checkpoint, data: Dataset, split: Split, threads: number): BatchLoader {
  const { spec, shape, normalization, augmentation } = data;
  const facts = { spec, shape, normalization, augmentation };
  return openLoader({ facts, split, options: config }, batchPlans(split.count, config, position), threads);
}

/** Neighbouring ranges of one length, at most `size` together. */
function equalGroups(ranges: readonly Range[], size: number): Range[][] {
  const groups: Range[][] = [];
  for (const range of ranges) {
    const last = groups.at(-1);
    const fits = last !== undefined && last.length < size && last[0]![1] - last[0]![0] === range[1] - range[0];
    if (fits) last.push(range);
    else groups.push([range]);
  }
  return groups;
}

function advance(position: TrainPosition, { loss, correct, gradientNorm = 0 }: BatchResult, count: number): TrainPosition {
  return {
    ...position,
    step: position.step + 1,
    lossSum: position.lossSum + loss * count,
    correctSum: position.correctSum + correct,
    imageCount: position.imageCount + count,
    gradientNormSum: position.gradientNormSum + gradientNorm,
  };
}

function lastCheckpoint(directory: string, epoch: number): string {
  return epoch === 0 ? 'none yet' : `${checkpointPath(directory)}, epoch ${epoch}`;
}
