import { Option, type Command } from 'commander';
import { normalizeImages } from '../../data/batches.js';
import { readImages } from '../../data/images.js';
import { logitsFromPotentials, topClasses } from '../../evaluate/logits.js';
import { percent } from '../../report/format.js';
import { readSpikingModel } from '../../snn/file.js';
import { SpikingSession } from '../../snn/session.js';
import { Output, type Io } from '../io.js';
import { shared, whole } from '../options.js';

interface PredictCommandOptions {
  timeSteps: number;
  top: number;
  threads?: number;
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
    .addOption(shared.threads())
    .addOption(shared.json())
    .action((file: string, images: string[], options: PredictCommandOptions) => predictAction(file, images, options, io));
}

async function predictAction(file: string, paths: string[], options: PredictCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  const model = await readSpikingModel(file);
  const { shape, normalization } = model.input;
  const images = normalizeImages(await readImages(paths, shape), normalization, shape);
  await using session = await SpikingSession.create(model, { threads: options.threads });
  const result = await session.run(images, { timeSteps: options.timeSteps, signal: io.signal });
  const logits = logitsFromPotentials(result, model, options.timeSteps);
  const predictions = paths.map((image, n) => {
    const own = logits.subarray(n * result.classes, (n + 1) * result.classes);
    return { image, classes: bestClasses(own, model.classes, options.top) };
  });
  output.document({ command: 'predict', model: file, timeSteps: options.timeSteps, predictions });
  for (const { image, classes } of predictions) {
    output.print(output.bold(image));
    for (const one of classes) output.print(`  ${percent(one.probability, 1).padStart(7)}  ${one.class}`);
  }
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
