import { Option, type Command } from 'commander';
import { normalizeImages } from '../../data/batches.js';
import { readImages } from '../../data/images.js';
import { logitsFromPotentials, topClasses } from '../../evaluate/logits.js';
import { percent } from '../../report/format.js';
import { readSpikingModel } from '../../snn/file.js';
import type { EarlyExitRule } from '../../snn/earlyExit.js';
import { readoutOf } from '../../snn/model.js';
import type { RunOptions } from '../../snn/run.js';
import { SpikingSession } from '../../snn/session.js';
import { Output, type Io } from '../io.js';
import { exitRules, numberFrom0, shared, whole } from '../options.js';

interface PredictCommandOptions {
  timeSteps: number;
  top: number;
  threads?: number;
  earlyExit?: number;
  exitMeasure?: EarlyExitRule['measure'];
  exitChunks?: number[];
  json: boolean;
}

interface ScoredClass {
  readonly class: string;
  readonly index: number;
  readonly logit: number;
  /** Softmax of the logits; not calibrated. */
  readonly probability: number;
}

export function addPredict(program: Command, io: Io): void {
  program
    .command('predict')
    .description('Classify pictures: scaled to cover the input of the model and cropped at the centre, grey for one channel.')
    .argument('<file>', 'spiking model')
    .argument('<image...>', 'JPEG, PNG, WebP, GIF, TIFF or AVIF')
    .addOption(shared.oneTimeStep(8))
    .addOption(new Option('--top <k>', 'classes to name').argParser(whole(1)).default(5))
    .addOption(new Option('--early-exit <threshold>', 'a picture leaves before all steps once it is this sure').argParser(numberFrom0))
    .addOption(shared.exitMeasure())
    .addOption(shared.exitChunks())
    .addOption(shared.threads())
    .addOption(shared.json())
    .action((file: string, images: string[], options: PredictCommandOptions) => predictAction(file, images, options, io));
}

async function predictAction(file: string, paths: string[], options: PredictCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  const rule = exitRules(options.earlyExit === undefined ? undefined : [options.earlyExit], options, options.timeSteps)[0];
  const model = await readSpikingModel(file);
  const { shape, normalization, preprocessing } = model.input;
  const images = normalizeImages(await readImages(paths, shape, preprocessing), normalization, shape);
  await using session = await SpikingSession.create(model, { threads: options.threads });
  const run = { timeSteps: options.timeSteps, signal: io.signal };
  const answers = rule ? await earlyAnswers(session, images, { ...run, ...rule }) : await fullAnswers(session, images, run);
  const predictions = paths.map((image, n) => {
    const { logits, timeSteps } = answers[n]!;
    return { image, ...(rule && { timeSteps }), classes: bestClasses(logits, model.classes, options.top) };
  });
  output.document({ command: 'predict', model: file, timeSteps: options.timeSteps, predictions });
  for (const { image, timeSteps, classes } of predictions) {
    output.print(timeSteps === undefined ? output.bold(image) : `${output.bold(image)} after ${timeSteps} of ${options.timeSteps} time steps`);
    for (const one of classes) output.print(`  ${percent(one.probability, 1).padStart(7)}  ${one.class}`);
  }
}

interface Answer {
  readonly logits: Float64Array;
  readonly timeSteps: number;
}

type PredictRun = RunOptions & { readonly signal: AbortSignal };

async function fullAnswers(session: SpikingSession, images: Float32Array, run: PredictRun): Promise<Answer[]> {
  const result = await session.run(images, run);
  const logits = logitsFromPotentials(result, session.model, run.timeSteps);
  const { classes, count } = result;
  return Array.from({ length: count }, (_, n) => ({ logits: logits.subarray(n * classes, (n + 1) * classes), timeSteps: run.timeSteps }));
}

async function earlyAnswers(session: SpikingSession, images: Float32Array, run: PredictRun & EarlyExitRule): Promise<Answer[]> {
  const { classes, steps, potentials } = await session.runEarlyExit(images, run);
  const unit = readoutOf(session.model).unit[0]!;
  return Array.from(steps, (timeSteps, n) => {
    const own = potentials.subarray(n * classes, (n + 1) * classes);
    return { logits: Float64Array.from(own, (potential) => (potential * unit) / timeSteps), timeSteps };
  });
}

function bestClasses(logits: Float64Array, classes: readonly string[], top: number): ScoredClass[] {
  const largest = Math.max(...logits);
  const sum = logits.reduce((all, logit) => all + Math.exp(logit - largest), 0);
  return topClasses(logits, top).map((index) => ({
    class: classes[index]!,
    index,
    logit: logits[index]!,
    probability: Math.exp(logits[index]! - largest) / sum,
  }));
}
