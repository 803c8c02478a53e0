import type { Dataset } from '../data/dataset.js';
import { invalidArgument, NoisefloorError, unknownName } from '../errors.js';
import { weightWidths, type Graph, type WeightBits } from '../graph/graph.js';
import { buildNetwork } from '../graph/networks/index.js';
import { withWeightBits } from '../graph/weights.js';
import { devices, type Device } from '../onnx/device.js';
import { resolveActivation, type ActivationOptions } from './activation.js';
import { checkMethodFits, checkMethodOptions, resolveMethod, type Method, type MethodOptions } from './method.js';
import type { NoiseKind } from './layers/rule.js';
import { decayScopes, optimizerKinds, type OptimizerOptions } from './optimizers.js';
import { scheduleKinds, type ScheduleKind } from './schedule.js';

export interface TrainOptions extends ActivationOptions, Partial<MethodOptions> {
  /** Name of a network (`networkNames`), or a graph of one's own. */
  readonly network: string | Graph;
  /** A SPEC such as `mnist` or `cifar10:DIR`, or an opened data set. */
  readonly data: string | Dataset;
  /** Folder of the training artifacts; made when missing. */
  readonly out: string;
  /** Default `none`. `nq` trains qcfs activations, `adaptor` lsq, `single-step` spike. */
  readonly noise?: NoiseKind;
  /**
   * Rounds the weights of every convolution and linear layer to this width in training, so that conversion to int8 rounds
   * nothing. Default: float32.
   */
  readonly weightBits?: WeightBits;
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
  /** Random crop and flip as the data set publishes them. Default true. */
  readonly augment?: boolean;
  /** Side in pixels of a square blanked at a random place (Cutout, DeVries and Taylor 2017); 16 for CIFAR-10. Default 0. */
  readonly cutout?: number;
  /** Noise-induction time step of `nq`: T at which the ANN-SNN gap is measured. Default 4. */
  readonly noiseTimeSteps?: number;
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
  readonly trainAccuracy: number;
  readonly validationLoss: number;
  /** Of the quantised dense network without noise. */
  readonly validationAccuracy: number;
  /** At the end of the epoch. */
  readonly learningRate: number;
  readonly seconds: number;
  readonly imagesPerSecond: number;
  readonly thresholds: Readonly<Record<string, number>>;
  /** With measured `nq`: strength per activation used in the next epoch, and the mean of the gap, which is only logged. */
  readonly sigma?: Readonly<Record<string, number>>;
  readonly gapMean?: Readonly<Record<string, number>>;
  /** What measuring the gap took; not part of `seconds`. */
  readonly sigmaSeconds?: number;
}

/** Everything that decides the result, resolved: plain data, stored in the checkpoint. */
export interface TrainConfig extends Method {
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly schedule: ScheduleKind;
  readonly warmupEpochs: number;
  readonly labelSmoothing: number;
  readonly optimizer: OptimizerOptions;
  readonly validation: number;
  readonly augment: boolean;
  readonly cutout: number;
  readonly noiseTimeSteps: number;
  readonly seed: number;
  readonly limit?: number;
}

export function resolveConfig(options: TrainOptions): TrainConfig {
  const { noise = 'none', optimizer = { kind: 'sgd' } } = options;
  checkMethodOptions({ ...options, noise });
  if (!optimizerKinds.includes(optimizer.kind)) throw unknownName('optimizer', String(optimizer.kind), optimizerKinds);
  if (optimizer.decay !== undefined && !decayScopes.includes(optimizer.decay)) throw unknownName('decay', String(optimizer.decay), decayScopes);
  if (options.schedule !== undefined && !scheduleKinds.includes(options.schedule)) throw unknownName('schedule', String(options.schedule), scheduleKinds);
  if (options.device !== undefined && !devices.includes(options.device)) throw unknownName('device', String(options.device), devices);
  const validation = options.validation ?? 0.1;
  if (!(validation > 0)) throw invalidArgument('validation', 'positive number', validation);
  return {
    ...resolveMethod({ ...options, noise }),
    optimizer,
    validation,
    epochs: whole('epochs', options.epochs ?? 10, 1),
    batchSize: whole('batchSize', options.batchSize ?? 128, 1),
    learningRate: positive('learningRate', options.learningRate ?? 0.05),
    schedule: options.schedule ?? 'cosine',
    warmupEpochs: notNegative('warmupEpochs', options.warmupEpochs ?? 0),
    labelSmoothing: fraction('labelSmoothing', options.labelSmoothing ?? 0),
    augment: options.augment ?? true,
    cutout: whole('cutout', options.cutout ?? 0, 0),
    noiseTimeSteps: whole('noiseTimeSteps', options.noiseTimeSteps ?? 4, 1),
    seed: whole('seed', options.seed ?? 0, 0),
    ...(options.limit === undefined ? {} : { limit: whole('limit', options.limit, 2) }),
  };
}

/** The graph to train: the given one, or the named network with the activation that the options describe. */
export function resolveGraph(options: TrainOptions, data: Dataset): Graph {
  const { network, noise = 'none', activityPenalty = 0, weightBits } = options;
  if (weightBits !== undefined && !weightWidths.includes(weightBits)) throw unknownName('weightBits', String(weightBits), weightWidths.map(String));
  if (typeof network !== 'string') refuseActivationOptions(options);
  const graph =
    typeof network === 'string'
      ? buildNetwork(network, { inputShape: data.shape, classes: data.classes.length, activation: resolveActivation({ ...options, noise }) })
      : network;
  checkMethodFits({ noise, activityPenalty }, graph);
  return weightBits === undefined ? graph : withWeightBits(graph, weightBits);
}

function refuseActivationOptions(options: ActivationOptions): void {
  for (const name of ['activation', 'levels', 'initialThreshold', 'slope', 'fixedThreshold'] as const) {
    if (options[name] === undefined) continue;
    throw new NoisefloorError('INVALID_ARGUMENT', `${name} is for a network by name; a graph has activations of its own. Leave it out.`);
  }
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
