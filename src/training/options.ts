import { checkAugmentations, type AugmentationName } from '../data/augment/pipeline.js';
import type { Dataset } from '../data/dataset.js';
import { invalidArgument, unknownName } from '../errors.js';
import type { Activation, Graph } from '../graph/graph.js';
import { buildNetwork } from '../graph/networks/index.js';
import { devices, type Device } from '../onnx/device.js';
import { noiseKinds, type NoiseKind } from './layers/rule.js';
import { decayScopes, optimizerKinds, type OptimizerOptions } from './optimizers.js';
import { scheduleKinds, type ScheduleKind } from './schedule.js';

export interface TrainOptions {
  /** Name of a network (`networkNames`), or a graph of one's own. */
  readonly network: string | Graph;
  /** A SPEC such as `mnist` or `cifar10:DIR`, or an opened data set. */
  readonly data: string | Dataset;
  /** Folder of the training artifacts; made when missing. */
  readonly out: string;
  /** Default `none`. `nq` trains qcfs activations, `adaptor` lsq activations. */
  readonly noise?: NoiseKind;
  /** Quantisation levels: L of qcfs, p = 2^b - 1 of lsq. Default 4 (qcfs), 3 (lsq). */
  readonly levels?: number;
  /**
   * Threshold before training. Default 2; QCFS and NQ take 8 for 300 epochs, which short runs do not bring down to where
   * low T works.
   */
  readonly initialThreshold?: number;
  /** Default 10. */
  readonly epochs?: number;
  /** Default 128. A last, smaller batch is trained too. */
  readonly batchSize?: number;
  /** The highest rate of the schedule. Default 0.05. */
  readonly learningRate?: number;
  /** Default `cosine`: falls to 0 over all steps. `step`: a tenth after half and after three quarters of them. */
  readonly schedule?: ScheduleKind;
  /** Epochs over which the rate rises linearly to `learningRate` first. Default 0. */
  readonly warmupEpochs?: number;
  /** Part of each target spread evenly over all classes. Default 0. */
  readonly labelSmoothing?: number;
  /** Default SGD with momentum 0.9 and weight decay 5e-4. */
  readonly optimizer?: OptimizerOptions;
  /** Part of the training split held out, stratified: a fraction or a number of images. Default 0.1. */
  readonly validation?: number;
  /**
   * Random changes to each image, applied in the order of `augmentationNames`. `standard` is padded crop and flip as the
   * data set publishes them; `autoaugment` the CIFAR-10 policy. Default `['standard']`; `[]` for none.
   */
  readonly augment?: readonly AugmentationName[];
  /** Alpha of Mixup (Zhang et al. 2018): batches and their labels mixed with a weight from Beta(alpha, alpha). Default 0, none. */
  readonly mixup?: number;
  /** Side in pixels of a square blanked at a random place (Cutout, DeVries and Taylor 2017); 16 for CIFAR-10. Default 0. */
  readonly cutout?: number;
  /** Noise-induction time step of `nq`: T at which the ANN-SNN gap is measured. Default 4. */
  readonly noiseTimeSteps?: number;
  /**
   * Weight of the activity penalty, added to the loss: weight times the sum over activations of the mean of
   * level / levels, the firing rate. Fewer spikes, faster inference; 0.05 to 0.3 for ResNet-18. Default 0.
   */
  readonly activityPenalty?: number;
  /** Decides initial weights, order, augmentation and noise. Default 0. */
  readonly seed?: number;
  /** Train on the first images only, of the training split. Default all. */
  readonly limit?: number;
  /** Go on from the checkpoint in `out`. Default false. */
  readonly resume?: boolean;
  /** Default `cpu`. */
  readonly device?: Device;
  /** Threads of ONNX Runtime. Default: all cores. */
  readonly threads?: number;
  /**
   * Threads that load and augment the batches ahead of the steps; 0 does so between the steps, on the training thread.
   * Changes no result. Default: half of the cores, at most 8.
   */
  readonly loaderThreads?: number;
  /** Saves a checkpoint and rejects with `ABORTED` when it fires. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (event: TrainProgress) => void;
}

export type TrainProgress =
  | { readonly kind: 'step'; readonly epoch: number; readonly step: number; readonly steps: number; readonly loss: number }
  | ({ readonly kind: 'epoch'; readonly epochs: number } & EpochLog);

/** One line of log.jsonl. */
export interface EpochLog {
  /** From 1. */
  readonly epoch: number;
  readonly loss: number;
  /** On the augmented images; with Mixup hits count by the weight of their label. */
  readonly trainAccuracy: number;
  readonly validationLoss: number;
  /** Of the quantised dense network without noise. */
  readonly validationAccuracy: number;
  /** At the end of the epoch. */
  readonly learningRate: number;
  readonly seconds: number;
  /** Of these, waiting for the next batch. */
  readonly stallSeconds: number;
  readonly imagesPerSecond: number;
  readonly thresholds: Readonly<Record<string, number>>;
  /** With `nq`: strength per activation used in the next epoch, and the mean of the gap, which is only logged. */
  readonly sigma?: Readonly<Record<string, number>>;
  readonly gapMean?: Readonly<Record<string, number>>;
}

/** Everything that decides the result, resolved: plain data, stored in the checkpoint. */
export interface TrainConfig {
  readonly noise: NoiseKind;
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly schedule: ScheduleKind;
  readonly warmupEpochs: number;
  readonly labelSmoothing: number;
  readonly optimizer: OptimizerOptions;
  readonly validation: number;
  readonly augment: readonly AugmentationName[];
  readonly cutout: number;
  readonly mixup: number;
  readonly noiseTimeSteps: number;
  readonly activityPenalty: number;
  readonly seed: number;
  readonly limit?: number;
}

export function resolveConfig(options: TrainOptions): TrainConfig {
  const { noise = 'none', optimizer = { kind: 'sgd' } } = options;
  if (!noiseKinds.includes(noise)) throw unknownName('noise', String(noise), noiseKinds);
  if (!optimizerKinds.includes(optimizer.kind)) throw unknownName('optimizer', String(optimizer.kind), optimizerKinds);
  if (optimizer.decay !== undefined && !decayScopes.includes(optimizer.decay)) throw unknownName('decay', String(optimizer.decay), decayScopes);
  if (options.schedule !== undefined && !scheduleKinds.includes(options.schedule)) throw unknownName('schedule', String(options.schedule), scheduleKinds);
  if (options.device !== undefined && !devices.includes(options.device)) throw unknownName('device', String(options.device), devices);
  const validation = options.validation ?? 0.1;
  if (!(validation > 0)) throw invalidArgument('validation', 'positive number', validation);
  return {
    noise,
    optimizer,
    validation,
    epochs: whole('epochs', options.epochs ?? 10, 1),
    batchSize: whole('batchSize', options.batchSize ?? 128, 1),
    learningRate: positive('learningRate', options.learningRate ?? 0.05),
    schedule: options.schedule ?? 'cosine',
    warmupEpochs: notNegative('warmupEpochs', options.warmupEpochs ?? 0),
    labelSmoothing: fraction('labelSmoothing', options.labelSmoothing ?? 0),
    augment: checkAugmentations(options.augment ?? ['standard']),
    cutout: whole('cutout', options.cutout ?? 0, 0),
    mixup: notNegative('mixup', options.mixup ?? 0),
    noiseTimeSteps: whole('noiseTimeSteps', options.noiseTimeSteps ?? 4, 1),
    activityPenalty: notNegative('activityPenalty', options.activityPenalty ?? 0),
    seed: whole('seed', options.seed ?? 0, 0),
    ...(options.limit === undefined ? {} : { limit: whole('limit', options.limit, 2) }),
  };
}

/** The graph to train: the given one, or the named network with the quantiser that the noise needs. */
export function resolveGraph(options: TrainOptions, data: Dataset): Graph {
  if (typeof options.network !== 'string') return options.network;
  return buildNetwork(options.network, { inputShape: data.shape, classes: data.classes.length, activation: trainedActivation(options) });
}

function trainedActivation({ noise = 'none', levels, initialThreshold }: TrainOptions): Activation {
  if (noise !== 'adaptor') {
    return {
      kind: 'qcfs',
      levels: whole('levels', levels ?? 4, 1),
      initialThreshold: positive('initialThreshold', initialThreshold ?? 2),
    };
  }
  const p = whole('levels', levels ?? 3, 1);
  return { kind: 'lsq', levels: p, initialScale: positive('initialThreshold', initialThreshold ?? 2) / p };
}

function whole(name: string, value: number, minimum: number): number {
  if (!Number.isSafeInteger(value) || value < minimum) throw invalidArgument(name, `whole number >= ${minimum}`, value);
  return value;
}

function notNegative(name: string, value: number): number {
  if (!(value >= 0) || !Number.isFinite(value)) throw invalidArgument(name, 'number >= 0', value);
  return value;
}

function fraction(name: string, value: number): number {
  if (!(value >= 0 && value < 1)) throw invalidArgument(name, 'number from 0, below 1', value);
  return value;
}

function positive(name: string, value: number): number {
  if (!(value > 0) || !Number.isFinite(value)) throw invalidArgument(name, 'positive number', value);
  return value;
}
