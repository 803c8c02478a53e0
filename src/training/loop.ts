import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dataset, Split } from '../data/dataset.js';
import { batchRanges } from '../data/batches.js';
import { firstImages, splitValidation } from '../data/split.js';
import { NoisefloorError } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';
import { activationThresholds } from '../graph/parameters.js';
import type { RuntimeOptions } from '../onnx/device.js';
import { Random } from '../random.js';
import { cleanBatch, epochOrder, pixelBatch } from './batches.js';
import { checkpointPath, writeCheckpoint, type Checkpoint, type TrainPosition } from './checkpoint.js';
import { measureSigma } from './sigma.js';
import { measuresSigma } from './method.js';
import type { EpochLog, TrainProgress } from './options.js';
import { learningRateAt } from './schedule.js';
import { deriveSeed, seedUse } from './seeds.js';
import { TrainingStepper, type PixelBatch, type StepSettings, type TrainingModels } from './stepper.js';

export interface LoopHooks {
  /** Asked after every step; true saves a checkpoint and ends the run with `ABORTED`. */
  shouldStop(): boolean;
  onProgress(event: TrainProgress): void;
}

type Range = readonly [begin: number, end: number];

interface EpochResult {
  readonly position: TrainPosition;
  readonly stopped: boolean;
}

/** One training run, from a starting state to its last epoch, on this thread. */
export class TrainingLoop {
  readonly #train: Split;
  readonly #validation: Split;
  readonly #steps: number;

  private constructor(
    readonly start: Checkpoint,
    readonly data: Dataset,
    readonly directory: string,
    readonly hooks: LoopHooks,
    readonly stepper: TrainingStepper,
  ) {
    const { limit, validation, seed, batchSize } = start.config;
    const parts = splitValidation(firstImages(data.train, limit), validation, deriveSeed(seed, seedUse.validation), 'validation');
    this.#train = parts.train;
    this.#validation = parts.validation;
    this.#steps = Math.ceil(parts.train.count / batchSize);
  }

  static async run(
    start: Checkpoint,
    data: Dataset,
    directory: string,
    models: TrainingModels,
    runtime: RuntimeOptions,
    hooks: LoopHooks,
  ): Promise<TrainedNetwork> {
    const stepper = await TrainingStepper.create(start.network.graph, start.config, data.normalization, models, runtime);
    try {
      stepper.load(start.network.parameters, start.optimizerState);
      return await new TrainingLoop(start, data, directory, hooks, stepper).#run();
    } finally {
      await stepper.release();
    }
  }

  async #run(): Promise<TrainedNetwork> {
    const { epochs } = this.start.config;
    let { position } = this.start;
    while (position.epoch < epochs) {
      const began = performance.now();
      const result = await this.#trainEpoch(position);
      if (result.stopped) {
        await this.#save(result.position);
        throw new NoisefloorError('ABORTED', `Stopped in epoch ${result.position.epoch + 1}, step ${result.position.step}; the checkpoint is saved: go on with resume.`);
      }
      position = await this.#finishEpoch(result.position, (performance.now() - began) / 1000, position.imageCount);
    }
    return this.#network();
  }

  async #trainEpoch(from: TrainPosition): Promise<EpochResult> {
    const { config } = this.start;
    const order = epochOrder(this.#train.count, config.seed, from.epoch);
    const ranges = [...batchRanges(order.length, config.batchSize)].slice(from.step);
    let position = from;
    for (const group of equalGroups(ranges, this.stepper.stepsPerCall)) {
      const first = position.step;
      const steps = group.map((_, k) => first + k);
      const batches = group.map(([begin, end], k) => this.#batch(order.subarray(begin, end), from.epoch, steps[k]!));
      const results = await this.stepper.steps(batches, steps.map((step) => this.#settings(position, step)));
      for (const [k, { loss, correct }] of results.entries()) {
        position = advance(position, loss, correct, batches[k]!.labels.length);
        this.hooks.onProgress({ kind: 'step', epoch: position.epoch + 1, step: position.step, steps: this.#steps, loss });
      }
      if (this.hooks.shouldStop()) return { position, stopped: true };
    }
    return { position, stopped: false };
  }

  #settings({ epoch, sigma }: TrainPosition, step: number): StepSettings {
    const globalStep = epoch * this.#steps + step;
    const learningRate = learningRateAt(this.start.config, globalStep, this.#steps);
    return { epoch, step, globalStep: globalStep + 1, learningRate, sigma, lastCheckpoint: lastCheckpoint(this.directory, epoch) };
  }

  async #finishEpoch(done: TrainPosition, seconds: number, resumedImages: number): Promise<TrainPosition> {
    const { config } = this.start;
    const validation = await this.#validate();
    if (!Number.isFinite(validation.loss)) throw divergedValidation(validation.loss, done.epoch, lastCheckpoint(this.directory, done.epoch));
    const measured = measuresSigma(config) ? await measureSigma(this.stepper, this.data, { train: this.#train, validation: this.#validation }, done.epoch) : undefined;
    const next: TrainPosition = { epoch: done.epoch + 1, step: 0, lossSum: 0, correctSum: 0, imageCount: 0, sigma: measured?.sigma ?? {} };
    const network = this.#network();
    const log: EpochLog = {
      epoch: next.epoch,
      loss: done.lossSum / done.imageCount,
      trainAccuracy: done.correctSum / done.imageCount,
      validationLoss: validation.loss,
      validationAccuracy: validation.accuracy,
      learningRate: learningRateAt(config, next.epoch * this.#steps, this.#steps),
      seconds,
      imagesPerSecond: (done.imageCount - resumedImages) / seconds,
      thresholds: activationThresholds(network.graph, network.parameters),
      ...(measured ? { sigma: measured.sigma, gapMean: measured.mean, sigmaSeconds: measured.seconds } : {}),
    };
    await this.#save(next, network);
    await appendFile(join(this.directory, 'log.jsonl'), `${JSON.stringify(log)}\n`);
    this.hooks.onProgress({ kind: 'epoch', epochs: config.epochs, ...log });
    return next;
  }

  async #validate(): Promise<{ loss: number; accuracy: number }> {
    let [loss, correct] = [0, 0];
    const { count } = this.#validation;
    for (const [begin, end] of batchRanges(count, this.start.config.batchSize)) {
      const result = await this.stepper.evaluate(cleanBatch(this.data, this.#validation, begin, end));
      loss += result.loss * (end - begin);
      correct += result.correct;
    }
    return { loss: loss / count, accuracy: correct / count };
  }

  #batch(indices: Uint32Array, epoch: number, step: number): PixelBatch {
    const { augment, cutout, seed } = this.start.config;
    const random = new Random(deriveSeed(seed, seedUse.augmentation, epoch, step));
    return pixelBatch(this.data, this.#train, indices, { augment, cutout, random });
  }

  async #save(position: TrainPosition, network = this.#network()): Promise<void> {
    const { config } = this.start;
    await writeCheckpoint(this.directory, { network, config, position, optimizerState: this.stepper.optimizerState() });
  }

  #network(): TrainedNetwork {
    return { ...this.start.network, parameters: this.stepper.parameters() };
  }
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

function advance(position: TrainPosition, loss: number, correct: number, count: number): TrainPosition {
  return {
    ...position,
    step: position.step + 1,
    lossSum: position.lossSum + loss * count,
    correctSum: position.correctSum + correct,
    imageCount: position.imageCount + count,
  };
}

function lastCheckpoint(directory: string, epoch: number): string {
  return epoch === 0 ? 'none yet' : `${checkpointPath(directory)}, epoch ${epoch}`;
}

function divergedValidation(loss: number, epoch: number, checkpoint: string): NoisefloorError {
  return new NoisefloorError(
    'TRAINING_DIVERGED',
    `The validation loss became ${loss} after epoch ${epoch + 1}. The last good checkpoint: ${checkpoint}. Train anew with a lower learning rate.`,
  );
}
