import { checkAugmentations, type AugmentationName } from '../data/augment/pipeline.js';
import { mixes } from '../data/augment/mixing.js';
import type { Dataset } from '../data/dataset.js';
import { invalidArgument, NoisefloorError, refused, unknownName } from '../errors.js';
import { weightWidths, type Graph, type WeightBits } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { buildNetwork, type NetworkOptions } from '../graph/networks/index.js';
import { inferShapes } from '../graph/shapes.js';
import { withWeightBits } from '../graph/weights.js';
import { devices, precisions, type Device, type Precision } from '../onnx/device.js';
import { resolveActivation, type ActivationOptions } from './activation.js';
import { checkMethodFits, checkMethodOptions, measuresSigma, resolveMethod, type Method, type MethodOptions } from './method.js';
import { resolveDistillation, type Distillation, type DistillationOptions } from './distillation.js';
import type { NoiseKind } from './layers/rule.js';
import { resolveRuntime, type ParallelOptions } from './parallel/runtime.js';
import { fraction, notNegative, positive, whole } from '../numbers.js';
import { decayScopes, optimizerKinds, type OptimizerOptions } from './optimizers.js';
import { scheduleKinds, type ScheduleKind } from './schedule.js';
import { resolveTemporal, type TemporalConfig, type TemporalOptions } from './temporal/options.js';

export interface TrainOptions extends ActivationOptions, Partial<MethodOptions>, TemporalOptions, DistillationOptions, ParallelOptions {
  /**
   * Name of a network (`networkNames`), or one's own: a graph, or a function that builds it for the data set's images
   * and classes with the activation that the method needs (docs/custom-networks.md). Left out with `initialFrom`.
   */
  readonly network?: string | Graph | ((options: NetworkOptions) => Graph);
  /** Factor on the channels of a network that is built by name or by a function. Default 1. */
  readonly width?: number;
  /** Folder of a training run to begin with: its network and its parameters. Default: fresh parameters. */
  readonly initialFrom?: string;
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
  /** The highest rate of the schedule. Default 0.05, with `timeSteps` 0.001. */
  readonly learningRate?: number;
  /** Default `cosine`: falls to 0 over all steps. `step`: a tenth after half and after three quarters of them. */
  readonly schedule?: ScheduleKind;
  /** Epochs over which the rate rises linearly to `learningRate` first, fewer than `epochs`. Default 0. */
  readonly warmupEpochs?: number;
  /** Part of each target spread evenly over all classes. Default 0. */
  readonly labelSmoothing?: number;
  /** Default SGD with momentum 0.9 and weight decay 5e-4. */
  readonly optimizer?: OptimizerOptions;
  /**
   * Decay of the exponential moving average of weights, thresholds and running statistics, such as 0.999; smaller over the
   * first steps. Validation, the log, the network returned and conversion take the average; training goes on from the
   * weights themselves, and the strength of `nq` noise is measured on them. Default 0: none.
   */
  readonly ema?: number;
  /** Largest Euclidean norm of all gradients of a step together; larger ones are scaled down to it. Default 0: any. */
  readonly clipNorm?: number;
  /** Learning rate of thresholds and steps relative to that of the other parameters. Default 1, with `timeSteps` 0: fixed. */
  readonly thresholdRate?: number;
  /**
   * Part of the training split held out, stratified: a fraction or a number of images. 0 trains on every image and logs no
   * accuracy on images that were not trained on: for a recipe that is settled. What was trained so goes on and teaches with 0
   * alone, and measured `nq` noise refuses it. Default 0.1.
   */
  readonly validation?: number;
  /**
   * Random changes to each image, applied in the order of `augmentationNames`. `standard` is padded crop and flip as the
   * data set publishes them; `autoaugment` the CIFAR-10 policy. Default `['standard']`; `[]` for none.
   */
  readonly augment?: readonly AugmentationName[];
  /** Alpha of Mixup (Zhang et al. 2018): batches and their labels mixed with a weight from Beta(alpha, alpha). Default 0, none. */
  readonly mixup?: number;
  /** Alpha of CutMix (Yun et al. 2019): a box of each image, and that part of its label, from another image of the batch. Default 0, none. */
  readonly cutmix?: number;
  /** With `mixup` or `cutmix`: part of the batches that get one of them. Default 1. */
  readonly mixProbability?: number;
  /** Side in pixels of a square blanked at a random place (Cutout, DeVries and Taylor 2017); 16 for CIFAR-10. Default 0. */
  readonly cutout?: number;
  /**
   * Decides initial weights, the images held out, order, augmentation, mixing and, on the CPU step by step, noise. The loop
   * that CUDA runs draws its noise in the graph, anew in each run: two runs of one seed differ by it. Default 0.
   */
  readonly seed?: number;
  /** Train on the first images only, of the training split. Default all. */
  readonly limit?: number;
  /** Go on from the checkpoint in `out`. Default false. */
  readonly resume?: boolean;
  /** Default `cpu`. */
  readonly device?: Device;
  /**
   * Default `float32`. `mixed`, on `cuda` alone: maps and their gradients in float16, parameters, sums and the optimiser in
   * float32. With `clipNorm` a step whose gradients overflow adds none. An activity penalty loses bits to the gradients it is
   * added to, most so with `timeSteps`.
   */
  readonly precision?: Precision;
  /** Threads of ONNX Runtime. Default: all cores. */
  readonly threads?: number;
  /**
   * Threads that load and augment the batches ahead of the steps; 0 does so between the steps, on the training thread.
   * Changes no result. Default: half of the cores, at most 8.
   */
  readonly loaderThreads?: number;
  /**
   * After every so many epochs keeps the network of that epoch alone, in `out/epoch-N`: to evaluate, convert or begin a training from, not to
   * resume. Default 0: none.
   */
  readonly keepEvery?: number;
  /** Saves a checkpoint and rejects with `ABORTED` when it fires. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (event: TrainProgress) => void;
}

export type TrainProgress =
  /** With `timeSteps` and images held out, before the first step. */
  | { readonly kind: 'start'; readonly spiking: SpikingValidation }
  | { readonly kind: 'step'; readonly epoch: number; readonly step: number; readonly steps: number; readonly loss: number }
  | ({ readonly kind: 'epoch'; readonly epochs: number } & EpochLog);

/** What the spiking network does on the validation part. */
export interface SpikingValidation {
  readonly timeSteps: number;
  readonly loss: number;
  readonly accuracy: number;
  /** Mean number of spikes of a neuron in one inference. */
  readonly spikesPerNeuron: number;
}

/** One line of log.jsonl. */
export interface EpochLog {
  /** From 1. */
  readonly epoch: number;
  readonly loss: number;
  /** On the augmented images; with Mixup or CutMix hits count by the weight of their label. */
  readonly trainAccuracy: number;
  /** On the images held out, if there are any (`validation`). */
  readonly validationLoss?: number;
  /** Of the quantised dense network without noise, on the same images. */
  readonly validationAccuracy?: number;
  /** With `timeSteps`: of the spiking network, on the same images. */
  readonly spiking?: SpikingValidation;
  /** At the end of the epoch. */
  readonly learningRate: number;
  /** With `clipNorm`: mean over the steps of the norm of all gradients together, before clipping. */
  readonly gradientNorm?: number;
  readonly seconds: number;
  /** Of these, waiting for the next batch. */
  readonly stallSeconds: number;
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
  readonly ema: number;
  readonly clipNorm: number;
  readonly validation: number;
  readonly augment: readonly AugmentationName[];
  readonly cutout: number;
  readonly mixup: number;
  readonly cutmix?: number;
  readonly mixProbability?: number;
  readonly precision: Precision;
  readonly seed: number;
  readonly limit?: number;
  readonly temporal?: TemporalConfig;
  readonly distillation?: Distillation;
  /** With several: the devices or sessions that share every batch, and how often they are averaged. */
  readonly replicas?: number;
  readonly averageEvery?: number;
}

/** @param teachers the networks in the folders `options.teacher` */
export function resolveConfig(options: TrainOptions, teachers: readonly TrainedNetwork[] = []): TrainConfig {
  const { noise = 'none', optimizer = { kind: 'sgd' } } = options;
  checkMethodOptions({ ...options, noise });
  checkOptimizer(optimizer);
  if (options.schedule !== undefined && !scheduleKinds.includes(options.schedule)) throw unknownName('schedule', String(options.schedule), scheduleKinds);
  if (options.device !== undefined && !devices.includes(options.device)) throw unknownName('device', String(options.device), devices);
  const { precision = 'float32' } = options;
  if (!precisions.includes(precision)) throw unknownName('precision', String(precision), precisions);
  if (precision === 'mixed' && options.device !== 'cuda') throw refused('Mixed precision needs device cuda.');
  const validation = notNegative('validation', options.validation ?? 0.1);
  if (validation === 0 && measuresSigma({ ...options, noise })) {
    throw refused('The strength of nq noise is measured on images held out: give validation, or noiseSigma.');
  }
  const overTime = options.timeSteps !== undefined;
  const thresholdRate = notNegative('thresholdRate', options.thresholdRate ?? (overTime ? 0 : 1));
  const temporal = resolveTemporal(options, thresholdRate > 0);
  const distillation = resolveDistillation(options, teachers);
  const epochs = whole('epochs', options.epochs ?? 10, 1);
  const batchSize = whole('batchSize', options.batchSize ?? 128, 1);
  const { parallel } = resolveRuntime(options, batchSize);
  if (precision === 'mixed' && parallel?.averageEvery === 1) {
    throw refused(
      'Mixed precision on several devices needs averageEvery of at least 2: gradients are averaged in float32. ' +
        'Set it, or leave out precision.',
    );
  }
  return {
    ...resolveMethod({ ...options, noise }),
    optimizer: thresholdRate === 1 ? optimizer : { ...optimizer, thresholdRate },
    validation,
    epochs,
    batchSize,
    learningRate: positive('learningRate', options.learningRate ?? (overTime ? 0.001 : 0.05)),
    schedule: options.schedule ?? 'cosine',
    warmupEpochs: checkWarmup(options.warmupEpochs ?? 0, epochs),
    labelSmoothing: fraction('labelSmoothing', options.labelSmoothing ?? 0),
    ema: fraction('ema', options.ema ?? 0),
    clipNorm: notNegative('clipNorm', options.clipNorm ?? 0),
    augment: checkAugmentations(options.augment ?? ['standard']),
    cutout: whole('cutout', options.cutout ?? 0, 0),
    mixup: notNegative('mixup', options.mixup ?? 0),
    ...resolveMixing(options),
    precision,
    seed: whole('seed', options.seed ?? 0, 0),
    ...(options.limit === undefined ? {} : { limit: whole('limit', options.limit, 2) }),
    ...(temporal === undefined ? {} : { temporal }),
    ...(distillation === undefined ? {} : { distillation }),
    ...(parallel === undefined ? {} : { replicas: parallel.replicas.length, averageEvery: parallel.averageEvery }),
  };
}

/** Only what was asked for, so that checkpoints of before are resumed as they were. */
function resolveMixing({ mixup = 0, cutmix = 0, mixProbability }: TrainOptions): Pick<TrainConfig, 'cutmix' | 'mixProbability'> {
  notNegative('cutmix', cutmix);
  if (mixProbability !== undefined && !mixes({ mixup, cutmix })) throw refused('mixProbability is for mixup or cutmix: give one of them, or leave it out.');
  if (mixProbability !== undefined && !(mixProbability > 0 && mixProbability <= 1)) throw invalidArgument('mixProbability', 'number above 0, up to 1', mixProbability);
  return { ...(cutmix > 0 ? { cutmix } : {}), ...(mixProbability === undefined || mixProbability === 1 ? {} : { mixProbability }) };
}

function checkWarmup(warmupEpochs: number, epochs: number): number {
  if (notNegative('warmupEpochs', warmupEpochs) < epochs) return warmupEpochs;
  throw refused(
    `A warm-up over ${warmupEpochs} of ${epochs} epochs never reaches the learning rate: give fewer warmupEpochs, or more epochs.`,
  );
}

function checkOptimizer(optimizer: OptimizerOptions): void {
  const { kind, decay, weightDecay = 0 } = optimizer;
  if (!optimizerKinds.includes(kind)) throw unknownName('optimizer', String(kind), optimizerKinds);
  if (decay !== undefined && !decayScopes.includes(decay)) throw unknownName('decay', String(decay), decayScopes);
  notNegative('weightDecay', weightDecay);
  if (optimizer.kind === 'adamw') {
    for (const name of ['beta1', 'beta2'] as const) fraction(name, optimizer[name] ?? 0);
    return;
  }
  const { momentum = 0.9, nesterov = false } = optimizer;
  fraction('momentum', momentum);
  if (nesterov && momentum === 0) throw invalidArgument('momentum with nesterov', 'number above 0', momentum);
}

/** The graph to train, checked: that of the network to begin with, the given one, or the network built with the activation that the options describe. */
export function resolveGraph(options: TrainOptions, data: Dataset, base?: TrainedNetwork): Graph {
  const { noise = 'none', activityPenalty = 0, weightBits } = options;
  if (weightBits !== undefined && !weightWidths.includes(weightBits)) throw unknownName('weightBits', String(weightBits), weightWidths.map(String));
  const graph = base?.graph ?? givenGraph(options, data);
  inferShapes(graph);
  checkMethodFits({ noise, activityPenalty }, graph);
  return weightBits === undefined ? graph : withWeightBits(graph, weightBits);
}

/** Refuses a surrogate that is given but that nothing in the graph would use: only spikes, or training over time, do. */
export function checkSurrogate({ surrogate, timeSteps }: Pick<TrainOptions, 'surrogate' | 'timeSteps'>, graph: Graph): void {
  if (surrogate === undefined || timeSteps !== undefined) return;
  if (graph.nodes.some((node) => node.op === 'activation' && node.activation.kind === 'spike')) return;
  throw refused(`surrogate is for activation spike, which "${graph.name}" has none of: leave it out, or take another network.`);
}

function givenGraph(options: TrainOptions, data: Dataset): Graph {
  const { network = '', width = 1, noise = 'none' } = options;
  if (typeof network === 'object') {
    if (width !== 1) throw invalidArgument('width', '1, since the network is a finished graph', width);
    refuseActivationOptions(options);
    return network;
  }
  const wanted: NetworkOptions = {
    inputShape: data.shape,
    classes: data.classes.length,
    activation: resolveActivation({ ...options, noise }),
    width: positive('width', width),
  };
  return typeof network === 'string' ? buildNetwork(network, wanted) : network(wanted);
}

function refuseActivationOptions(options: ActivationOptions): void {
  for (const name of ['activation', 'levels', 'initialThreshold', 'slope', 'fixedThreshold'] as const) {
    if (options[name] === undefined) continue;
    throw new NoisefloorError('INVALID_ARGUMENT', `${name} is for a network by name; a graph has activations of its own. Leave it out.`);
  }
}
