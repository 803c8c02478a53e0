import { InvalidArgumentError, Option, type Command } from 'commander';
import { refused } from '../../errors.js';
import { activationKinds, weightWidths, type WeightBits } from '../../graph/graph.js';
import { networkNames } from '../../graph/networks/index.js';
import { maxTimeSteps } from '../../snn/model.js';
import { noiseKinds } from '../../training/layers/rule.js';
import { surrogateKinds } from '../../training/layers/surrogate.js';
import { noiseLaws, noiseVariants, penaltyKinds, type MethodOptions } from '../../training/method.js';
import type { SpikingValidation, TrainOptions, TrainProgress } from '../../training/options.js';
import { train, type TrainResult } from '../../training/train.js';
import { duration, percent } from '../../report/format.js';
import { Output, type Io } from '../io.js';
import { networkOption } from '../network.js';
import { numberFrom0, positiveNumber, whole } from '../options.js';
import { Progress } from '../progress.js';
import { addRecipe, recipeOf, type RecipeOptions } from '../recipe.js';

type MethodNames =
  | 'activation'
  | 'levels'
  | 'initialThreshold'
  | 'slope'
  | 'fixedThreshold'
  | 'weightBits'
  | keyof MethodOptions;

type TrainCommandOptions = RecipeOptions & Pick<TrainOptions, MethodNames | 'width' | 'initialFrom'> & { readonly network?: string };

export function addTrain(program: Command, io: Io): void {
  const command = program
    .command('train')
    .description('Train a quantised network with noise, in ONNX Runtime. Ctrl-C saves; --resume goes on.')
    .option('--network <name>', `${networkNames.join(', ')}; or a file of one's own: .json, .mjs`)
    .option('--initial-from <dir>', 'folder of a trained network to train further, in place of --network')
    .addOption(new Option('--width <x>', 'factor on the channels of a named network (default: 1)').argParser(positiveNumber))
    .addOption(new Option('--noise <kind>', 'noise in the activations').choices([...noiseKinds]).default('none'))
    .addOption(
      new Option('--activation <kind>', 'default: what the noise goes into, without noise qcfs').choices([...activationKinds]),
    )
    .addOption(new Option('--levels <l>', 'quantisation levels (default: 4, of lsq 3)').argParser(whole(1)))
    .addOption(
      new Option('--initial-threshold <x>', 'threshold before training (default: 2, of tcl 4)').argParser(positiveNumber),
    )
    .addOption(new Option('--slope <a>', 'slip-relu: weight of the clip (default: 0.5)').argParser(numberFrom0))
    .addOption(new Option('--surrogate <kind>', 'spike: derivative of a spike (default: gaussian)').choices([...surrogateKinds]))
    .option('--fixed-threshold', 'spike: keep every threshold as it starts')
    .addOption(
      new Option('--weight-bits <b>', `train with weights of ${weightWidths.join(', ')} bits (default: float32)`)
        .argParser(weightBits),
    );
  addNoise(command)
    .addOption(
      new Option('--penalty <kind>', 'measure of the activity (default: l1, the mean firing rate)').choices([...penaltyKinds]),
    )
    .addOption(
      new Option('--spike-budget <rate>', 'l1: penalise only the firing rate above it, per activation (default: 0)')
        .argParser(numberFrom0),
    );
  addRecipe(command, { learningRate: 0.05 }).action((options: TrainCommandOptions) => trainAction(options, io));
}

function addNoise(command: Command): Command {
  return command
    .addOption(
      new Option('--noise-variant <v>', 'adaptor: before rounding, without rounding, after it (default: A)')
        .choices([...noiseVariants]),
    )
    .addOption(new Option('--noise-amplitude <a>', 'adaptor: uniform in [-a, a) steps (default: 0.5)').argParser(numberFrom0))
    .addOption(new Option('--noise-law <law>', 'single-step: of the membrane (default: gaussian)').choices([...noiseLaws]))
    .addOption(
      new Option('--noise-sigma <x>', 'in units of theta; single-step (default: 0.3), or nq without measuring')
        .argParser(numberFrom0),
    )
    .addOption(
      new Option('--noise-time-steps <t>', 'nq: T of the gap that is measured (default: 4)').argParser(whole(1, maxTimeSteps)),
    )
    .addOption(new Option('--noise-strength <x>', 'factor on the noise (default: 1)').argParser(numberFrom0))
    .addOption(new Option('--noise-warmup-epochs <n>', 'linear rise of the noise first (default: 0)').argParser(numberFrom0));
}

function weightBits(text: string): WeightBits {
  const width = weightWidths.find((bits) => String(bits) === text);
  if (width === undefined) throw new InvalidArgumentError(`Expected one of: ${weightWidths.join(', ')}.`);
  return width;
}

async function trainAction(options: TrainCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  const result = await trainWithProgress({ ...recipeOf(options), ...(await networkOf(options)), signal: io.signal }, output);
  const last = result.epochs.at(-1);
  output.document(trainDocument('train', options.data, result));
  if (last) output.print(`Trained ${result.network.graph.name}${last.validationAccuracy === undefined ? '' : `: ${percent(last.validationAccuracy)} on the validation part`}.`);
  printNext(result, options.epochs, output);
}

async function networkOf({ network, initialFrom }: TrainCommandOptions): Promise<Pick<TrainOptions, 'network'>> {
  if (network !== undefined) return { network: await networkOption(network) };
  if (initialFrom !== undefined) return {};
  throw refused('Give a --network to train, or with --initial-from the folder of a trained one.');
}

/** What `--json` prints of a training run. */
export function trainDocument(
  command: string,
  data: string,
  { network, directory, epochs }: TrainResult,
): Record<string, unknown> {
  return { command, network: network.graph.name, data, directory, epochs };
}

/** @param wanted all epochs of the run, with those before a resume */
export function printNext({ network, directory, epochs }: TrainResult, wanted: number, output: Output): void {
  if (epochs.length === 0) {
    const done = wanted === 1 ? '1 epoch is' : `${wanted} epochs are`;
    output.print(`The run in ${directory} is finished: its ${done} done. To go on, give more --epochs.`);
  }
  output.print(`Convert it: noisefloor convert ${directory} --out ${network.graph.name}.safetensors`);
}

export function describeSpiking({ timeSteps, accuracy, spikesPerNeuron }: SpikingValidation): string {
  return `spiking at T=${timeSteps} ${percent(accuracy)} with ${spikesPerNeuron.toFixed(2)} spikes a neuron`;
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
    if (event.kind === 'start') {
      output.log(`Before: ${describeSpiking(event.spiking)}`);
      return;
    }
    output.log(
      `Epoch ${event.epoch} of ${event.epochs}: loss ${event.loss.toFixed(4)}, train ${percent(event.trainAccuracy)}, ` +
        (event.validationAccuracy === undefined ? '' : `validation ${percent(event.validationAccuracy)}, `) +
        (event.spiking ? `${describeSpiking(event.spiking)}, ` : '') +
        (event.gradientNorm === undefined ? '' : `gradient norm ${event.gradientNorm.toPrecision(3)}, `) +
        `${duration(event.seconds)}, ${duration(event.stallSeconds)} of it waiting for data`,
    );
  };
  try {
    return await train({ ...options, onProgress });
  } finally {
    bar?.stop();
  }
}
