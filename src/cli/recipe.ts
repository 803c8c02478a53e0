import { Option, type Command } from 'commander';
import { augmentationNames, type AugmentationName } from '../data/augment/pipeline.js';
import { datasetSpecs } from '../data/open.js';
import { NoisefloorError } from '../errors.js';
import { devices, precisions, type Device, type Precision } from '../onnx/device.js';
import {
  decayScopes,
  optimizerKinds,
  type DecayScope,
  type OptimizerKind,
  type OptimizerOptions,
} from '../training/optimizers.js';
import { scheduleKinds, type ScheduleKind } from '../training/schedule.js';
import { deviceList, fractionTo1, nameList, numberFrom0, positiveNumber, shared, whole } from './options.js';

/** What the commands that train have in common. */
export interface RecipeOptions {
  data: string;
  out: string;
  epochs: number;
  batchSize: number;
  learningRate: number;
  schedule: ScheduleKind;
  warmupEpochs: number;
  labelSmoothing: number;
  optimizer: OptimizerKind;
  momentum?: number;
  nesterov: boolean;
  weightDecay?: number;
  decay: DecayScope;
  ema: number;
  clipNorm: number;
  activityPenalty: number;
  cutout: number;
  mixup: number;
  cutmix: number;
  mixProbability?: number;
  teacher?: string[];
  distillationWeight?: number;
  distillationTemperature?: number;
  /** false: --no-augment. */
  augment: readonly AugmentationName[] | false;
  loaderThreads?: number;
  keepEvery: number;
  seed: number;
  validation: number;
  resume: boolean;
  limit?: number;
  device: Device;
  precision: Precision;
  devices?: number[];
  replicas?: number;
  averageEvery: number;
  threads?: number;
  json: boolean;
}

export function addRecipe(command: Command, preset: { readonly learningRate: number }): Command {
  command
    .requiredOption('--data <spec>', datasetSpecs.join(', '))
    .requiredOption('--out <dir>', 'folder for the checkpoint and the training artifacts')
    .addOption(new Option('--epochs <n>', 'passes over the training images').argParser(whole(1)).default(10))
    .addOption(new Option('--batch-size <b>', 'images a training step').argParser(whole(1)).default(128));
  addOptimisation(command, preset.learningRate);
  addAugmentation(command);
  addDistillation(command);
  return addExecution(command).addOption(shared.json());
}

function addOptimisation(command: Command, learningRate: number): Command {
  return command
    .addOption(new Option('--learning-rate <x>', 'the highest of the schedule').argParser(positiveNumber).default(learningRate))
    .addOption(new Option('--schedule <kind>', 'of the learning rate').choices([...scheduleKinds]).default('cosine'))
    .addOption(new Option('--warmup-epochs <n>', 'linear rise of the rate first').argParser(numberFrom0).default(0))
    .addOption(
      new Option('--label-smoothing <x>', 'part of each target spread over all classes').argParser(numberFrom0).default(0),
    )
    .addOption(new Option('--optimizer <kind>', 'update rule').choices([...optimizerKinds]).default('sgd'))
    .addOption(new Option('--momentum <x>', 'of sgd (default: 0.9)').argParser(numberFrom0))
    .option('--nesterov', 'let sgd look ahead along its momentum', false)
    .addOption(new Option('--weight-decay <x>', '(default: 5e-4, with adamw 0.01)').argParser(numberFrom0))
    .addOption(
      new Option('--decay <scope>', 'what decays: all, or no thresholds, biases and batch norm')
        .choices([...decayScopes])
        .default('all'),
    )
    .addOption(
      new Option('--ema <decay>', 'keep and evaluate a moving average of the weights, such as 0.999')
        .argParser(numberFrom0)
        .default(0, 'none'),
    )
    .addOption(new Option('--clip-norm <x>', 'largest norm of all gradients together').argParser(numberFrom0).default(0, 'any'))
    .addOption(
      new Option('--activity-penalty <x>', 'weight of the activity in the loss: fewer spikes').argParser(numberFrom0).default(0),
    );
}

function addAugmentation(command: Command): Command {
  return command
    .addOption(
      new Option('--augment <list>', `random changes, of ${augmentationNames.join(', ')}`)
        .argParser(nameList(augmentationNames))
        .default(['standard'], 'standard: crop and flip as published'),
    )
    .option('--no-augment', 'train on the images as they are')
    .addOption(new Option('--cutout <pixels>', 'side of the blanked square of Cutout').argParser(whole(0)).default(0))
    .addOption(new Option('--mixup <alpha>', 'mix images and labels by Beta(alpha, alpha)').argParser(numberFrom0).default(0))
    .addOption(new Option('--cutmix <alpha>', 'a box of each image from another, its size by Beta(alpha, alpha)').argParser(numberFrom0).default(0))
    .addOption(new Option('--mix-probability <p>', 'part of the batches that are mixed (default: 1)').argParser(positiveNumber));
}

function addDistillation(command: Command): Command {
  return command
    .addOption(
      new Option('--teacher <dir>', 'folder of a trained network by whose logits to train, too; more than once: by their mean')
        .argParser((path, before: string[] = []) => [...before, path]),
    )
    .addOption(new Option('--distillation-weight <x>', 'its part of the loss, 0 to 1 (default: 0.9)').argParser(fractionTo1))
    .addOption(new Option('--distillation-temperature <x>', 'by which logits are divided (default: 4)').argParser(positiveNumber));
}

const seedHelp =
  'decides initial weights, split, order, augmentation and, on the cpu, noise; cuda draws its noise anew in each run';

function addExecution(command: Command): Command {
  return command
    .addOption(shared.seed(seedHelp))
    .addOption(
      new Option('--validation <part>', 'held out of the training images: a fraction, or a number of images; 0: none')
        .argParser(numberFrom0)
        .default(0.1),
    )
    .addOption(new Option('--keep-every <k>', 'keep the network alone in OUT/epoch-N after every k epochs').argParser(whole(0)).default(0, 'none'))
    .option('--resume', 'go on from the checkpoint in --out', false)
    .addOption(shared.limit())
    .addOption(new Option('--device <device>', 'where ONNX Runtime computes').choices([...devices]).default('cpu'))
    .addOption(
      new Option(
        '--precision <precision>',
        'mixed, on cuda: maps in float16; give --clip-norm too, so that an overflow costs a step and not the run',
      )
        .choices([...precisions])
        .default('float32'),
    )
    .addOption(new Option('--devices <ids>', 'CUDA devices that share every batch, such as 0,1').argParser(deviceList))
    .addOption(new Option('--replicas <n>', 'sessions on the CPU that share every batch (default: 1)').argParser(whole(1)))
    .addOption(
      new Option('--average-every <k>', 'own steps of each device before weights are averaged; 1 averages gradients')
        .argParser(whole(1))
        .default(1),
    )
    .addOption(shared.threads())
    .addOption(
      new Option(
        '--loader-threads <n>',
        'prepare batches ahead of the steps; 0: between them (default: half of the cores, up to 8)',
      ).argParser(whole(0, 1024)),
    );
}

/** What `train` takes, of what the commands were given. */
export function recipeOf<Options extends RecipeOptions>({ json: _, augment, ...options }: Options) {
  return { ...options, augment: augment || [], optimizer: optimizerOf({ ...options, augment, json: _ }) };
}

/** Only what was asked for, so that the library's defaults hold and a run can be resumed from either. */
function optimizerOf({ optimizer, momentum, nesterov, weightDecay, decay }: RecipeOptions): OptimizerOptions {
  const shared = { ...(weightDecay === undefined ? {} : { weightDecay }), ...(decay === 'all' ? {} : { decay }) };
  if (optimizer === 'sgd') {
    return { kind: 'sgd', ...shared, ...(momentum === undefined ? {} : { momentum }), ...(nesterov ? { nesterov } : {}) };
  }
  if (momentum !== undefined) throw new NoisefloorError('INVALID_ARGUMENT', '--momentum is for --optimizer sgd: leave it out.');
  if (nesterov) throw new NoisefloorError('INVALID_ARGUMENT', '--nesterov is for --optimizer sgd: leave it out.');
  return { kind: 'adamw', ...shared };
}
