import { Option, type Command } from 'commander';
import { networkNames } from '../../graph/networks/index.js';
import { noiseKinds, type NoiseKind } from '../../training/layers/rule.js';
import type { SpikingValidation, TrainOptions, TrainProgress } from '../../training/options.js';
import { train, type TrainResult } from '../../training/train.js';
import { duration, percent } from '../../report/format.js';
import { Output, type Io } from '../io.js';
import { networkOption } from '../network.js';
import { positiveNumber, whole } from '../options.js';
import { Progress } from '../progress.js';
import { addRecipe, recipeOf, type RecipeOptions } from '../recipe.js';

interface TrainCommandOptions extends RecipeOptions {
  network: string;
  width: number;
  noise: NoiseKind;
  levels?: number;
  initialThreshold: number;
}

export function addTrain(program: Command, io: Io): void {
  const command = program
    .command('train')
    .description('Train a quantised network with noise, in ONNX Runtime. Ctrl-C saves; --resume goes on.')
    .requiredOption('--network <name>', `${networkNames.join(', ')}; or a file of one's own: .json, .mjs`)
    .addOption(new Option('--width <x>', 'factor on the channels of a named network').argParser(positiveNumber).default(1))
    .addOption(new Option('--noise <kind>', 'noise in the activations').choices([...noiseKinds]).default('none'))
    .addOption(new Option('--levels <l>', 'quantisation levels (default: 4, with adaptor 3)').argParser(whole(1)))
    .addOption(new Option('--initial-threshold <x>', 'threshold before training').argParser(positiveNumber).default(2));
  addRecipe(command, { learningRate: 0.05 }).action((options: TrainCommandOptions) => trainAction(options, io));
}

async function trainAction(options: TrainCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  const network = await networkOption(options.network);
  const result = await trainWithProgress({ ...recipeOf(options), network, signal: io.signal }, output);
  const last = result.epochs.at(-1);
  output.document(trainDocument('train', options.data, result));
  if (last) output.print(`Trained ${result.network.graph.name}: ${percent(last.validationAccuracy)} on the validation part.`);
  printNext(result, output);
}

/** What `--json` prints of a training run. */
export function trainDocument(command: string, data: string, { network, directory, epochs }: TrainResult): Record<string, unknown> {
  return { command, network: network.graph.name, data, directory, epochs };
}

export function printNext({ network, directory }: TrainResult, output: Output): void {
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
        `validation ${percent(event.validationAccuracy)}, ${event.spiking ? `${describeSpiking(event.spiking)}, ` : ''}` +
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
