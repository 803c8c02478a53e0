import { Option, type Command } from 'commander';
import { datasetSpecs } from '../../data/open.js';
import { networkNames } from '../../graph/networks/index.js';
import { devices, type Device } from '../../onnx/device.js';
import { noiseKinds, type NoiseKind } from '../../training/layers/rule.js';
import type { TrainOptions, TrainProgress } from '../../training/options.js';
import { train, type TrainResult } from '../../training/train.js';
import { duration, percent } from '../../report/format.js';
import { Output, type Io } from '../io.js';
import { networkOption } from '../network.js';
import { deviceList, numberFrom0, positiveNumber, shared, whole } from '../options.js';
import { Progress } from '../progress.js';
import { addRecipe, optimizerOf, type RecipeOptions } from '../recipe.js';

interface TrainCommandOptions extends RecipeOptions {
  network: string;
  width: number;
  data: string;
  noise: NoiseKind;
  levels?: number;
  initialThreshold: number;
  activityPenalty: number;
  cutout: number;
  augment: boolean;
  epochs: number;
  batchSize: number;
  seed: number;
  out: string;
  resume: boolean;
  limit?: number;
  device: Device;
  devices?: number[];
  replicas?: number;
  averageEvery: number;
  threads?: number;
  json: boolean;
}

export function addTrain(program: Command, io: Io): void {
  const command = program
    .command('train')
    .description('Train a quantised network with noise, in ONNX Runtime. Ctrl-C saves; --resume goes on.')
    .requiredOption('--network <name>', `${networkNames.join(', ')}; or a file of one's own: .json, .mjs`)
    .requiredOption('--data <spec>', datasetSpecs.join(', '))
    .requiredOption('--out <dir>', 'folder for the checkpoint and the training artifacts')
    .addOption(new Option('--width <x>', 'factor on the channels of a named network').argParser(positiveNumber).default(1))
    .addOption(new Option('--noise <kind>', 'noise in the activations').choices([...noiseKinds]).default('none'))
    .addOption(new Option('--levels <l>', 'quantisation levels (default: 4, with adaptor 3)').argParser(whole(1)))
    .addOption(new Option('--initial-threshold <x>', 'threshold before training').argParser(positiveNumber).default(2))
    .addOption(new Option('--epochs <n>', 'passes over the training images').argParser(whole(1)).default(10))
    .addOption(new Option('--batch-size <b>', 'images a training step').argParser(whole(1)).default(128));
  addRecipe(command)
    .addOption(new Option('--cutout <pixels>', 'side of the blanked square of Cutout').argParser(whole(0)).default(0))
    .option('--no-augment', 'train on the images as they are, without crop and flip')
    .addOption(new Option('--activity-penalty <x>', 'weight of the mean firing rates in the loss: fewer spikes').argParser(numberFrom0).default(0))
    .addOption(shared.seed())
    .option('--resume', 'go on from the checkpoint in --out', false)
    .addOption(shared.limit())
    .addOption(new Option('--device <device>', 'where ONNX Runtime computes').choices([...devices]).default('cpu'))
    .addOption(new Option('--devices <ids>', 'CUDA devices that share every batch, such as 0,1').argParser(deviceList))
    .addOption(new Option('--replicas <n>', 'sessions on the CPU that share every batch (default: 1)').argParser(whole(1)))
    .addOption(new Option('--average-every <k>', 'own steps of each device before weights are averaged; 1 averages gradients').argParser(whole(1)).default(1))
    .addOption(shared.threads())
    .addOption(shared.json())
    .action((options: TrainCommandOptions) => trainAction(options, io));
}

async function trainAction(options: TrainCommandOptions, io: Io): Promise<void> {
  const { json, ...settings } = options;
  const output = new Output(io, json);
  const [network, optimizer] = [await networkOption(options.network), optimizerOf(options)];
  const result = await trainWithProgress({ ...settings, network, optimizer, signal: io.signal }, output);
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
        `validation ${percent(event.validationAccuracy)}, ` +
        (event.gradientNorm === undefined ? '' : `gradient norm ${event.gradientNorm.toPrecision(3)}, `) +
        duration(event.seconds),
    );
  };
  try {
    return await train({ ...options, onProgress });
  } finally {
    bar?.stop();
  }
}
