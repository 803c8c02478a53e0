import { Option, type Command } from 'commander';
import { gradientKinds, maxFineTuneSteps, type GradientKind } from '../../training/temporal/options.js';
import { surrogateKinds, type SurrogateKind } from '../../training/layers/surrogate.js';
import { Output, type Io } from '../io.js';
import { fractionTo1, numberFrom0, whole } from '../options.js';
import { addRecipe, recipeOf, type RecipeOptions } from '../recipe.js';
import { describeSpiking, printNext, trainDocument, trainWithProgress } from './train.js';

interface FinetuneOptions extends RecipeOptions {
  timeSteps: number;
  gradient: GradientKind;
  batchStatistics?: boolean;
  surrogate?: SurrogateKind;
  detachReset: boolean;
  lossPerStep: number;
  thresholdRate: number;
}

export function addFinetune(program: Command, io: Io): void {
  const command = program
    .command('finetune')
    .description('Train the spiking network of a trained network over its time steps. Ctrl-C saves; --resume goes on.')
    .argument('<dir>', 'folder that "train" wrote')
    .addOption(new Option('--time-steps <t>', `time steps, 1 to 8, with gradient rate to ${maxFineTuneSteps}`).argParser(whole(1, maxFineTuneSteps)).default(4))
    .addOption(new Option('--gradient <kind>', 'backpropagation through time, or once through the rates').choices([...gradientKinds]).default('through-time'))
    .option('--batch-statistics', 'normalise by each batch, as dense training does')
    .addOption(new Option('--surrogate <kind>', 'through time: derivative of the spike (default: rectangle)').choices([...surrogateKinds]))
    .option('--no-detach-reset', 'through time: let the gradient go back through the reset too')
    .addOption(new Option('--loss-per-step <x>', 'part of the loss that each step is held to, 0 to 1').argParser(fractionTo1).default(0))
    .addOption(new Option('--threshold-rate <x>', 'learning rate of thresholds, relative').argParser(numberFrom0).default(0));
  addRecipe(command, { learningRate: 0.001 }).action((directory: string, options: FinetuneOptions) => finetuneAction(directory, options, io));
}

async function finetuneAction(directory: string, options: FinetuneOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  const result = await trainWithProgress({ ...recipeOf(options), initialFrom: directory, signal: io.signal }, output);
  const last = result.epochs.at(-1);
  output.document(trainDocument('finetune', options.data, result));
  if (last) output.print(`Fine-tuned ${result.network.graph.name}${last.spiking ? `: ${describeSpiking(last.spiking)} on the validation part` : ''}.`);
  printNext(result, options.epochs, output);
}
