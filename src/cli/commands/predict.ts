import { Option, type Command } from 'commander';
import { normalizeImages } from '../../data/batches.js';
import { readImages } from '../../data/images.js';
import { refused } from '../../errors.js';
import { bestClasses, logitsFromEarlyExit, logitsFromPotentials, type ScoredClass } from '../../evaluate/logits.js';
import { percent } from '../../report/format.js';
import type { EarlyExitRule } from '../../snn/earlyExit.js';
import type { RunOptions } from '../../snn/run.js';
import { SpikingSession } from '../../snn/session.js';
import { Output, type Io } from '../io.js';
import { checkReadout, modelArgument, readModel } from '../model.js';
import { exitRules, numberFrom0, shared, whole } from '../options.js';

interface PredictCommandOptions {
  model?: string;
  timeSteps: number;
  top: number;
  threads?: number;
  earlyExit?: number;
  exitMeasure?: EarlyExitRule['measure'];
  exitChunks?: number[];
  json: boolean;
}

export function addPredict(program: Command, io: Io): void {
  program
    .command('predict')
    .description('Classify pictures: scaled to cover the input of the model and cropped at the centre, grey for one channel.')
    .argument('[model]', modelArgument)
    .argument('[image...]', 'JPEG, PNG, WebP, GIF, TIFF or AVIF')
    .option('--model <model>', 'the model, in place of the first argument')
    .addOption(shared.oneTimeStep(8))
    .addOption(new Option('--top <k>', 'classes to name').argParser(whole(1)).default(5))
    .addOption(new Option('--early-exit <threshold>', 'a picture leaves before all steps once it is this sure').argParser(numberFrom0))
    .addOption(shared.exitMeasure())
    .addOption(shared.exitChunks())
    .addOption(shared.threads())
    .addOption(shared.json())
    .action((first: string | undefined, images: string[], options: PredictCommandOptions) => {
      const [file, ...paths] = [options.model, first, ...images].filter((one) => one !== undefined);
      if (file === undefined || paths.length === 0) throw refused('Give a model and at least one picture: noisefloor predict MODEL IMAGE...');
      return predictAction(file, paths, options, io);
    });
}

async function predictAction(file: string, paths: string[], options: PredictCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  const rule = exitRules(options.earlyExit === undefined ? undefined : [options.earlyExit], options, options.timeSteps)[0];
  const model = await readModel(file, io);
  checkReadout(model, options.timeSteps);
  const { shape, normalization, preprocessing } = model.input;
  const images = normalizeImages(await readImages(paths, shape, preprocessing), normalization, shape);
  await using session = await SpikingSession.create(model, { threads: options.threads });
  const run = { timeSteps: options.timeSteps, signal: io.signal };
  const answers = rule ? await earlyAnswers(session, images, { ...run, ...rule }) : await fullAnswers(session, images, run);
  const predictions = paths.map((image, n) => {
    const { logits, timeSteps } = answers[n]!;
    return { image, ...(rule && { timeSteps }), classes: named(bestClasses(logits, model.classes, options.top)) };
  });
  output.document({ command: 'predict', model: file, timeSteps: options.timeSteps, predictions });
  for (const { image, timeSteps, classes } of predictions) {
    output.print(timeSteps === undefined ? output.bold(image) : `${output.bold(image)} after ${timeSteps} of ${options.timeSteps} time steps`);
    for (const one of classes) output.print(`  ${percent(one.probability, 1).padStart(7)}  ${one.class}`);
  }
}

/** As the JSON document names them. */
function named(classes: readonly ScoredClass[]) {
  return classes.map(({ label, ...scores }) => ({ class: label, ...scores }));
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
  const result = await session.runEarlyExit(images, run);
  const logits = logitsFromEarlyExit(result, session.model);
  const { classes, steps } = result;
  return Array.from(steps, (timeSteps, n) => ({ logits: logits.subarray(n * classes, (n + 1) * classes), timeSteps }));
}
