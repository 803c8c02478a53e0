import { InvalidArgumentError, Option, type Command } from 'commander';
import { datasetSpecs } from '../../data/open.js';
import { networkNames } from '../../graph/networks/index.js';
import { devices, type Device } from '../../onnx/device.js';
import { activationKinds, weightWidths, type WeightBits } from '../../graph/graph.js';
import { noiseKinds } from '../../training/layers/rule.js';
import { noiseLaws, noiseVariants, penaltyKinds, surrogateKinds, type MethodOptions } from '../../training/method.js';
import { optimizerKinds, type OptimizerKind } from '../../training/optimizers.js';
import type { TrainOptions, TrainProgress } from '../../training/options.js';
import { scheduleKinds, type ScheduleKind } from '../../training/schedule.js';
import { train, type TrainResult } from '../../training/train.js';
import { maxTimeSteps } from '../../snn/model.js';
import { duration, percent } from '../../report/format.js';
import { Output, type Io } from '../io.js';
import { numberFrom0, positiveNumber, shared, whole } from '../options.js';
import { Progress } from '../progress.js';

type MethodNames = 'activation' | 'levels' | 'initialThreshold' | 'slope' | 'fixedThreshold' | 'weightBits' | 'noiseTimeSteps' | keyof MethodOptions;

interface TrainCommandOptions extends Pick<TrainOptions, MethodNames> {
  network: string;
  data: string;
  optimizer: OptimizerKind;
  schedule: ScheduleKind;
  warmupEpochs: number;
  labelSmoothing: number;
  cutout: number;
  augment: boolean;
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
    .addOption(new Option('--activation <kind>', 'default: what the noise goes into, without noise qcfs').choices([...activationKinds]))
    .addOption(new Option('--levels <l>', 'quantisation levels (default: 4, of lsq 3)').argParser(whole(1)))
    .addOption(new Option('--initial-threshold <x>', 'threshold before training (default: 2, of tcl 4)').argParser(positiveNumber))
    .addOption(new Option('--slope <a>', 'slip-relu: weight of the clip (default: 0.5)').argParser(numberFrom0))
    .addOption(new Option('--surrogate <kind>', 'spike: derivative of a spike (default: gaussian)').choices([...surrogateKinds]))
    .option('--fixed-threshold', 'spike: keep every threshold as it starts')
    .addOption(new Option('--noise-variant <v>', 'adaptor: before rounding, without rounding, after it (default: A)').choices([...noiseVariants]))
    .addOption(new Option('--noise-amplitude <a>', 'adaptor: uniform in [-a, a) steps (default: 0.5)').argParser(numberFrom0))
    .addOption(new Option('--noise-law <law>', 'single-step: of the membrane (default: gaussian)').choices([...noiseLaws]))
    .addOption(new Option('--noise-sigma <x>', 'in units of theta; single-step (default: 0.3), or nq without measuring').argParser(numberFrom0))
    .addOption(new Option('--noise-time-steps <t>', 'nq: T of the gap that is measured').argParser(whole(1, maxTimeSteps)).default(4))
    .addOption(new Option('--noise-strength <x>', 'factor on the noise (default: 1)').argParser(numberFrom0))
    .addOption(new Option('--noise-warmup-epochs <n>', 'linear rise of the noise first (default: 0)').argParser(numberFrom0))
    .addOption(new Option('--weight-bits <b>', `train with weights of ${weightWidths.join(', ')} bits (default: float32)`).argParser(weightBits))
    .addOption(new Option('--epochs <n>', 'passes over the training images').argParser(whole(1)).default(10))
    .addOption(new Option('--batch-size <b>', 'images a training step').argParser(whole(1)).default(128))
    .addOption(new Option('--learning-rate <x>', 'the highest of the schedule').argParser(positiveNumber).default(0.05))
    .addOption(new Option('--schedule <kind>', 'of the learning rate').choices([...scheduleKinds]).default('cosine'))
    .addOption(new Option('--warmup-epochs <n>', 'linear rise of the rate first').argParser(numberFrom0).default(0))
    .addOption(new Option('--label-smoothing <x>', 'part of each target spread over all classes').argParser(numberFrom0).default(0))
    .addOption(new Option('--cutout <pixels>', 'side of the blanked square of Cutout').argParser(whole(0)).default(0))
    .option('--no-augment', 'train on the images as they are, without crop and flip')
    .addOption(new Option('--optimizer <kind>', 'update rule').choices([...optimizerKinds]).default('sgd'))
    .addOption(new Option('--activity-penalty <x>', 'weight of the activity in the loss: fewer spikes').argParser(numberFrom0).default(0))
    .addOption(new Option('--penalty <kind>', 'measure of the activity (default: l1, the mean firing rate)').choices([...penaltyKinds]))
    .addOption(new Option('--spike-budget <rate>', 'l1: penalise only the firing rate above it, per activation (default: 0)').argParser(numberFrom0))
    .addOption(shared.seed())
    .option('--resume', 'go on from the checkpoint in --out', false)
    .addOption(shared.limit())
    .addOption(new Option('--device <device>', 'where ONNX Runtime computes').choices([...devices]).default('cpu'))
    .addOption(shared.threads())
    .addOption(shared.json())
    .action((options: TrainCommandOptions) => trainAction(options, io));
}

function weightBits(text: string): WeightBits {
  const width = weightWidths.find((bits) => String(bits) === text);
  if (width === undefined) throw new InvalidArgumentError(`Expected one of: ${weightWidths.join(', ')}.`);
  return width;
}

async function trainAction(options: TrainCommandOptions, io: Io): Promise<void> {
  const { json, optimizer, ...settings } = options;
  const output = new Output(io, json);
  const result = await trainWithProgress({ ...settings, optimizer: { kind: optimizer }, signal: io.signal }, output);
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
        `validation ${percent(event.validationAccuracy)}, ${duration(event.seconds)}`,
    );
  };
  try {
    return await train({ ...options, onProgress });
  } finally {
    bar?.stop();
  }
}
