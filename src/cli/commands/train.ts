import { Option, type Command } from 'commander';
import { augmentationNames, type AugmentationName } from '../../data/augment/pipeline.js';
import { datasetSpecs } from '../../data/open.js';
import { networkNames } from '../../graph/networks/index.js';
import { devices, type Device } from '../../onnx/device.js';
import { noiseKinds, type NoiseKind } from '../../training/layers/rule.js';
import { optimizerKinds, type OptimizerKind } from '../../training/optimizers.js';
import type { TrainOptions, TrainProgress } from '../../training/options.js';
import { scheduleKinds, type ScheduleKind } from '../../training/schedule.js';
import { train, type TrainResult } from '../../training/train.js';
import { duration, percent } from '../../report/format.js';
import { Output, type Io } from '../io.js';
import { nameList, numberFrom0, positiveNumber, shared, whole } from '../options.js';
import { Progress } from '../progress.js';

interface TrainCommandOptions {
  network: string;
  data: string;
  noise: NoiseKind;
  levels?: number;
  initialThreshold: number;
  optimizer: OptimizerKind;
  activityPenalty: number;
  schedule: ScheduleKind;
  warmupEpochs: number;
  labelSmoothing: number;
  cutout: number;
  mixup: number;
  /** false: --no-augment. */
  augment: readonly AugmentationName[] | false;
  loaderThreads?: number;
  epochs: number;
  batchSize: number;
  learningRate: number;
  seed: number;
  out: string;
  resume: boolean;
  limit?: number;
  device: Device;
  threads?: number;
  json: boolean;
}

export function addTrain(program: Command, io: Io): void {
  program
    .command('train')
    .description('Train a quantised network with noise, in ONNX Runtime. Ctrl-C saves; --resume goes on.')
    .requiredOption('--network <name>', networkNames.join(', '))
    .requiredOption('--data <spec>', datasetSpecs.join(', '))
    .requiredOption('--out <dir>', 'folder for the checkpoint and the training artifacts')
    .addOption(new Option('--noise <kind>', 'noise in the activations').choices([...noiseKinds]).default('none'))
    .addOption(new Option('--levels <l>', 'quantisation levels (default: 4, with adaptor 3)').argParser(whole(1)))
    .addOption(new Option('--initial-threshold <x>', 'threshold before training').argParser(positiveNumber).default(2))
    .addOption(new Option('--epochs <n>', 'passes over the training images').argParser(whole(1)).default(10))
    .addOption(new Option('--batch-size <b>', 'images a training step').argParser(whole(1)).default(128))
    .addOption(new Option('--learning-rate <x>', 'the highest of the schedule').argParser(positiveNumber).default(0.05))
    .addOption(new Option('--schedule <kind>', 'of the learning rate').choices([...scheduleKinds]).default('cosine'))
    .addOption(new Option('--warmup-epochs <n>', 'linear rise of the rate first').argParser(numberFrom0).default(0))
    .addOption(new Option('--label-smoothing <x>', 'part of each target spread over all classes').argParser(numberFrom0).default(0))
    .addOption(new Option('--cutout <pixels>', 'side of the blanked square of Cutout').argParser(whole(0)).default(0))
    .addOption(
      new Option('--augment <list>', `random changes, of ${augmentationNames.join(', ')}`)
        .argParser(nameList(augmentationNames))
        .default(['standard'], 'standard: crop and flip as published'),
    )
    .option('--no-augment', 'train on the images as they are')
    .addOption(new Option('--mixup <alpha>', 'mix images and labels by Beta(alpha, alpha)').argParser(numberFrom0).default(0))
    .addOption(new Option('--optimizer <kind>', 'update rule').choices([...optimizerKinds]).default('sgd'))
    .addOption(new Option('--activity-penalty <x>', 'weight of the mean firing rates in the loss: fewer spikes').argParser(numberFrom0).default(0))
    .addOption(shared.seed())
    .option('--resume', 'go on from the checkpoint in --out', false)
    .addOption(shared.limit())
    .addOption(new Option('--device <device>', 'where ONNX Runtime computes').choices([...devices]).default('cpu'))
    .addOption(shared.threads())
    .addOption(
      new Option('--loader-threads <n>', 'make batches ahead of the steps; 0: between them (default: half of the cores, up to 8)')
        .argParser(whole(0, 1024)),
    )
    .addOption(shared.json())
    .action((options: TrainCommandOptions) => trainAction(options, io));
}

async function trainAction(options: TrainCommandOptions, io: Io): Promise<void> {
  const { json, optimizer, augment, ...settings } = options;
  const output = new Output(io, json);
  const result = await trainWithProgress({ ...settings, augment: augment || [], optimizer: { kind: optimizer }, signal: io.signal }, output);
  const last = result.epochs.at(-1);
  output.document({
    command: 'train',
    network: result.network.graph.name,
    data: options.data,
    directory: result.directory,
    epochs: result.epochs,
  });
  if (last) output.print(`Trained ${result.network.graph.name}: ${percent(last.validationAccuracy)} on the validation part.`);
  output.print(`Convert it: noisefloor convert ${result.directory} --out ${result.network.graph.name}.safetensors`);
}

/** Trains with a bar for the steps of an epoch and one line an epoch, on stderr. */
export async function trainWithProgress(options: TrainOptions, output: Output): Promise<TrainResult> {
  let bar: Progress | undefined;
  const onProgress = (event: TrainProgress): void => {
    if (event.kind === 'step') {
      bar ??= new Progress(output.io, `Epoch ${event.epoch}`);
      bar.update(event.step, event.steps, `loss ${event.loss.toFixed(3)}`);
      return;
    }
    bar?.stop();
    bar = undefined;
    output.log(
      `Epoch ${event.epoch} of ${event.epochs}: loss ${event.loss.toFixed(4)}, train ${percent(event.trainAccuracy)}, ` +
        `validation ${percent(event.validationAccuracy)}, ${duration(event.seconds)}, ${duration(event.stallSeconds)} of it waiting for data`,
    );
  };
  try {
    return await train({ ...options, onProgress });
  } finally {
    bar?.stop();
  }
}
