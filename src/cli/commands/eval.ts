import { availableParallelism } from 'node:os';
import { Option, type Command } from 'commander';
import type { ImageSource } from '../../data/source.js';
import { imageSpecs, openDataset, openImages } from '../../data/open.js';
import { SplitSource } from '../../data/splitSource.js';
import { checkSameNetwork, compareLayers } from '../../evaluate/compare.js';
import type { Evaluation } from '../../evaluate/evaluate.js';
import { evaluateEarlyExit, type EarlyExitEvaluation } from '../../evaluate/earlyExit.js';
import { planOf } from '../../evaluate/journal.js';
import { finalPotentials } from '../../evaluate/potentials.js';
import { sourceFor, type Simulator } from '../../evaluate/simulator.js';
import { readWholeFile } from '../../files.js';
import type { TrainedNetwork } from '../../graph/network.js';
import { exportOnnx } from '../../onnx/export.js';
import type { ReportData } from '../../report/data.js';
import { percent, significant } from '../../report/format.js';
import { decodeSpikingModel } from '../../snn/file.js';
import type { SpikingModel } from '../../snn/model.js';
import { SpikingSession } from '../../snn/session.js';
import { heldOutImages } from '../../training/heldOut.js';
import { collectFromQueue, collectHere } from '../collect.js';
import { printComparison } from '../comparison.js';
import { checkOptions, evalCommandLine, type EvalCommandOptions } from '../evalOptions.js';
import { evaluationDocument, printEvaluation, reportEvaluation } from '../evaluation.js';
import { Output, type Io } from '../io.js';
import { modelArgument, modelPath } from '../model.js';
import { htmlPath, shardOption, shared, thresholdList, whole } from '../options.js';
import { withProgress } from '../progress.js';
import { textTable } from '../table.js';
import { readDense } from '../trained.js';

export function addEval(program: Command, io: Io): void {
  program
    .command('eval')
    .description('Evaluate a spiking model on the test images of a data set, at all numbers of time steps in one pass.')
    .argument('<model>', modelArgument)
    .requiredOption('--data <spec>', imageSpecs.join(', '))
    .option('--held-out', 'on the images that training held out in place of the test images: to choose a model or a threshold by', false)
    .addOption(shared.timeSteps([1, 2, 4, 8]))
    .addOption(new Option('--delay <t>', 'the read-out begins after so many steps').argParser(whole(0)).default(0))
    .addOption(shared.limit())
    .addOption(shared.batchSize(64))
    .addOption(shared.threads())
    .option('--against <network>', 'training folder or ONNX file of the model: compare with the dense network, layer by layer')
    .option('--compare', 'with --against: print what each layer gives against the dense network', false)
    .addOption(new Option('--report <file.html>', 'write a report, and its data as .json beside it').argParser(htmlPath))
    .option('--journal <file>', 'keep the results of each batch in a file, so that a run that was ended can go on')
    .option('--resume', 'go on with the journal', false)
    .addOption(new Option('--shard <i/n>', 'only part i of n of the images; the journals of all parts go into merge').argParser(shardOption))
    .option('--queue <redis://...>', 'have noisefloor worker processes evaluate, on any number of machines, through Redis or Valkey')
    .addOption(new Option('--shard-images <n>', 'images a worker takes at a time (default: 256)').argParser(whole(1)))
    .addOption(
      new Option('--early-exit <thresholds>', 'also: images leave once they are this sure; the curve, at the most time steps').argParser(thresholdList),
    )
    .addOption(shared.exitMeasure())
    .addOption(shared.exitChunks())
    .addOption(shared.json())
    .action((file: string, options: EvalCommandOptions) => evalAction(file, options, io));
}

async function evalAction(file: string, options: EvalCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  checkOptions(options); // before minutes of work
  const path = await modelPath(file, io);
  const bytes = await readWholeFile(path, 'spiking model');
  const model = decodeSpikingModel(bytes, path);
  const network = options.against === undefined ? undefined : await readDense(options.against, model);
  if (network) checkSameNetwork(network, model);
  const onnx = network && exportOnnx(network);
  const source = sourceFor(model, await (options.heldOut ? heldOutSource(model, options.data) : openImages(options.data, 'test', model.input)), options.limit);
  const threads = options.threads ?? availableParallelism();
  await using session = await SpikingSession.create(model, { threads });
  const plan = planOf(bytes, source, options, onnx);
  const sum =
    options.queue === undefined
      ? await collectHere(session, source, plan, onnx, options, io)
      : await collectFromQueue(options.queue, model, source, plan, [bytes, ...(onnx ? [onnx] : [])], options, io);
  const evaluation = sum.evaluation();
  const earlyExit = options.earlyExit && (await earlyExitCurve(session, source, options.earlyExit, options, io));
  const comparison = network && (await compare(network, session, source, options, io));
  const dense = sum.dense();
  if (options.report !== undefined) {
    const potentials = await leftOver(session, source, evaluation, io);
    const results = { sum, evaluation, potentials, ...(dense && { dense }), ...(comparison && { comparison }) };
    await reportEvaluation(options.report, { model, file, source, command: evalCommandLine(file, options), ...results }, output);
  }
  // Last, so that a failure before leaves nothing but the error on stdout.
  output.document({
    command: 'eval',
    model: file,
    data: options.data,
    ...(options.heldOut ? { heldOut: true } : {}),
    ...evaluationDocument(evaluation),
    ...(dense ? { dense } : {}),
    ...(options.compare ? { comparison } : {}),
    ...(earlyExit ? { earlyExit } : {}),
  });
  printEvaluation(evaluation, dense, output);
  if (options.compare && comparison) printComparison(comparison, output);
  if (earlyExit) printEarlyExit(earlyExit, output);
}

async function heldOutSource({ provenance }: SpikingModel, spec: string): Promise<ImageSource> {
  const data = await openDataset(spec);
  return new SplitSource(heldOutImages(data, provenance), data.shape, `${spec}, held out of training`, data.classes);
}

function earlyExitCurve(
  session: SpikingSession,
  source: ImageSource,
  thresholds: readonly number[],
  { timeSteps, exitMeasure, exitChunks, batchSize }: EvalCommandOptions,
  io: Io,
): Promise<EarlyExitEvaluation> {
  return withProgress(io, 'Early exit', (progress) =>
    evaluateEarlyExit(session, source, {
      timeSteps: Math.max(...timeSteps),
      thresholds,
      batchSize,
      signal: io.signal,
      onProgress: ({ done, total }) => progress.update(done, total, 'images'),
      ...(exitMeasure === undefined ? {} : { measure: exitMeasure }),
      ...(exitChunks === undefined ? {} : { chunks: exitChunks }),
    }),
  );
}

/** In plain loops: of as many images as take a few seconds. */
async function leftOver(session: Simulator, source: ImageSource, { denseMacs, timeSteps }: Evaluation, { signal }: Io): Promise<NonNullable<ReportData['potentials']>> {
  const images = Math.min(source.count, 8, Math.max(1, Math.floor(2e9 / denseMacs)));
  const steps = Math.max(...timeSteps);
  return { timeSteps: steps, images, layers: await finalPotentials(session, source, { timeSteps: steps, images, signal }) };
}

/** The first 200 images through both networks, activation by activation. */
async function compare(
  network: TrainedNetwork,
  session: Simulator,
  source: ImageSource,
  { timeSteps }: EvalCommandOptions,
  io: Io,
): Promise<Required<ReportData>['comparison']> {
  const steps = Math.max(...timeSteps);
  const images = Math.min(200, source.count);
  const layers = await compareLayers(network, session, source, { timeSteps: steps, limit: images, signal: io.signal });
  return { timeSteps: steps, images, layers };
}

function printEarlyExit({ timeSteps, measure, chunks, full, curve }: EarlyExitEvaluation, output: Output): void {
  const row = (threshold: string, { top1, imagesPerSecond }: EarlyExitEvaluation['full'], steps: number): string[] => [
    threshold,
    percent(top1),
    significant(steps),
    significant(imagesPerSecond),
  ];
  const rows = curve.map((point) => row(String(point.threshold), point, point.meanSteps));
  output.print(`Early exit by ${measure}, at most T = ${timeSteps}, in chunks of ${chunks.join(', ')}:`);
  output.print(textTable(['threshold', 'top-1', 'mean T', 'images/s'], [...rows, row('all steps', full, timeSteps)]));
}
