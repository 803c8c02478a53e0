import { Option, type Command } from 'commander';
import { firstImages } from '../../data/split.js';
import type { Dataset, Split } from '../../data/dataset.js';
import { datasetSpecs, openDataset } from '../../data/open.js';
import { checkSameNetwork, compareLayers } from '../../evaluate/compare.js';
import { DenseSession, evaluateDense, type DenseEvaluation } from '../../evaluate/dense.js';
import { evaluate, type Evaluation } from '../../evaluate/evaluate.js';
import { evaluateEarlyExit, type EarlyExitEvaluation } from '../../evaluate/earlyExit.js';
import type { Simulator } from '../../evaluate/simulator.js';
import { refused } from '../../errors.js';
import type { TrainedNetwork } from '../../graph/network.js';
import { exportOnnx } from '../../onnx/export.js';
import type { ReportData } from '../../report/data.js';
import { compact, percent, significant } from '../../report/format.js';
import { describeMachine, describeVersions } from '../../report/machine.js';
import { writeReport } from '../../report/report.js';
import type { ConfidenceMeasure } from '../../snn/earlyExit.js';
import { SpikingSession } from '../../snn/session.js';
import { printComparison } from '../comparison.js';
import { Output, type Io } from '../io.js';
import { modelArgument, readModel } from '../model.js';
import { exitRules, htmlPath, shared, thresholdList, whole } from '../options.js';
import { withProgress } from '../progress.js';
import { textTable } from '../table.js';
import { readDense } from '../trained.js';

interface EvalCommandOptions {
  data: string;
  timeSteps: number[];
  delay: number;
  limit?: number;
  batchSize: number;
  threads?: number;
  against?: string;
  compare: boolean;
  report?: string;
  earlyExit?: number[];
  exitMeasure?: ConfidenceMeasure;
  exitChunks?: number[];
  json: boolean;
}

export function addEval(program: Command, io: Io): void {
  program
    .command('eval')
    .description('Evaluate a spiking model on the test images of a data set, at all numbers of time steps in one pass.')
    .argument('<model>', modelArgument)
    .requiredOption('--data <spec>', datasetSpecs.join(', '))
    .addOption(shared.timeSteps([1, 2, 4, 8]))
    .addOption(new Option('--delay <t>', 'the read-out begins after so many steps').argParser(whole(0)).default(0))
    .addOption(shared.limit())
    .addOption(shared.batchSize(64))
    .addOption(shared.threads())
    .option('--against <network>', 'training folder or ONNX file of the model: compare with the dense network, layer by layer')
    .option('--compare', 'with --against: print what each layer gives against the dense network', false)
    .addOption(new Option('--report <file.html>', 'write a report, and its data as .json beside it').argParser(htmlPath))
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
  exitRules(options.earlyExit, options, Math.max(...options.timeSteps)); // before minutes of work
  if (options.compare && options.against === undefined) throw refused('--compare needs the dense network: give --against.');
  const model = await readModel(file, io);
  const network = options.against === undefined ? undefined : await readDense(options.against, model);
  if (network) checkSameNetwork(network, model);
  const data = await openDataset(options.data);
  await using session = await SpikingSession.create(model, { threads: options.threads });
  const evaluation = await evaluateWithProgress(session, data, options, io);
  const earlyExit = options.earlyExit && (await earlyExitCurve(session, data, options.earlyExit, options, io));
  const against: Pick<ReportData, 'dense' | 'comparison'> = network ? await compareDense(network, session, data, options, io) : {};
  if (options.report !== undefined) {
    const paths = await writeReport(options.report, {
      title: `${model.name}: accuracy, spikes and operations`,
      command: evalCommandLine(file, options),
      generated: new Date().toISOString(),
      machine: describeMachine(),
      versions: describeVersions(),
      model: file,
      data: options.data,
      evaluation,
      ...against,
      provenance: model.provenance,
    });
    output.log(`Wrote ${paths.html} and ${paths.json}`);
  }
  // Last, so that a failure before leaves nothing but the error on stdout.
  output.document({
    ...evalDocument(file, options.data, evaluation),
    ...(against.dense ? { dense: against.dense } : {}),
    ...(options.compare ? { comparison: against.comparison } : {}),
    ...(earlyExit ? { earlyExit } : {}),
  });
  printEvaluation(evaluation, against.dense, output);
  if (options.compare && against.comparison) printComparison(against.comparison, output);
  if (earlyExit) printEarlyExit(earlyExit, output);
}

/** The JSON document of `eval`: arrays in the order of the time steps, accuracies as fractions. */
function evalDocument(model: string, data: string, evaluation: Evaluation): object {
  const { images, timeSteps, delay, top1, top5, spikesPerNeuron, synapticOperations, imagesPerSecond, seconds, threads, isa } = evaluation;
  return {
    command: 'eval',
    model,
    data,
    images,
    timeSteps,
    ...(delay === undefined ? {} : { delay }),
    top1,
    top5,
    spikesPerNeuron,
    synapticOperations,
    imagesPerSecond,
    seconds,
    threads,
    isa,
  };
}

function evaluateWithProgress(
  session: Simulator,
  data: Dataset | Split,
  { timeSteps, delay, limit, batchSize }: Pick<EvalCommandOptions, 'timeSteps' | 'delay' | 'limit' | 'batchSize'>,
  io: Io,
): Promise<Evaluation> {
  return withProgress(io, 'Evaluate', (progress) =>
    evaluate(session, data, {
      timeSteps,
      delay,
      batchSize,
      signal: io.signal,
      onProgress: ({ done, total }) => progress.update(done, total, 'images'),
      ...(limit === undefined ? {} : { limit }),
    }),
  );
}

function earlyExitCurve(
  session: SpikingSession,
  data: Dataset,
  thresholds: readonly number[],
  { timeSteps, exitMeasure, exitChunks, limit, batchSize }: EvalCommandOptions,
  io: Io,
): Promise<EarlyExitEvaluation> {
  return withProgress(io, 'Early exit', (progress) =>
    evaluateEarlyExit(session, data, {
      timeSteps: Math.max(...timeSteps),
      thresholds,
      batchSize,
      signal: io.signal,
      onProgress: ({ done, total }) => progress.update(done, total, 'images'),
      ...(exitMeasure === undefined ? {} : { measure: exitMeasure }),
      ...(exitChunks === undefined ? {} : { chunks: exitChunks }),
      ...(limit === undefined ? {} : { limit }),
    }),
  );
}

/** The same network, dense and quantised, on the same images with the same batches and threads. */
async function compareDense(
  network: TrainedNetwork,
  session: Simulator,
  data: Dataset,
  { timeSteps, limit, batchSize }: Pick<EvalCommandOptions, 'timeSteps' | 'limit' | 'batchSize'>,
  io: Io,
): Promise<Required<Pick<ReportData, 'dense' | 'comparison'>>> {
  const test = firstImages(data.test, limit);
  const { normalization, shape } = session.model.input;
  const dense = await withProgress(io, 'Dense network', async (progress) => {
    await using runtime = await DenseSession.create(exportOnnx(network), { threads: session.threads });
    const onProgress = ({ done, total }: { done: number; total: number }): void => progress.update(done, total, 'images');
    return await evaluateDense(runtime, test, { normalization, shape, batchSize, signal: io.signal, onProgress });
  });
  const steps = Math.max(...timeSteps);
  const images = Math.min(200, test.count);
  const layers = await compareLayers(network, session, test, { timeSteps: steps, limit: images, signal: io.signal });
  return { dense, comparison: { timeSteps: steps, images, layers } };
}

function printEvaluation(evaluation: Evaluation, dense: DenseEvaluation | undefined, output: Output): void {
  const { synapticOperations: operations } = evaluation;
  const rows = evaluation.timeSteps.map((steps, i) => [
    String(steps),
    percent(evaluation.top1[i]!),
    percent(evaluation.top5[i]!),
    significant(evaluation.spikesPerNeuron[i]!),
    compact(operations.effectiveACs[i]!),
    compact(operations.effectiveMACs[i]!),
  ]);
  output.print(textTable(['T', 'top-1', 'top-5', 'spikes/neuron', 'ACs/image', 'MACs/image'], rows));
  if (evaluation.delay !== undefined) output.print(`Not plain: the read-out begins after step ${evaluation.delay}, the steps before do not count.`);
  if (dense) output.print(`Dense network: top-1 ${percent(dense.top1)}, top-5 ${percent(dense.top5)}.`);
  output.print(
    `${evaluation.images} images, ${significant(evaluation.imagesPerSecond)} images/s at T = ${Math.max(...evaluation.timeSteps)} ` +
      `with statistics, ${evaluation.threads} threads, ${evaluation.isa}.`,
  );
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

function evalCommandLine(file: string, options: EvalCommandOptions): string {
  const { data, timeSteps, delay, limit, batchSize, threads, against, earlyExit, exitMeasure, exitChunks } = options;
  const parts = ['noisefloor eval', file, '--data', data, '--time-steps', timeSteps.join(','), '--batch-size', String(batchSize)];
  if (delay > 0) parts.push('--delay', String(delay));
  if (limit !== undefined) parts.push('--limit', String(limit));
  if (threads !== undefined) parts.push('--threads', String(threads));
  if (against !== undefined) parts.push('--against', against);
  if (earlyExit !== undefined) parts.push('--early-exit', earlyExit.join(','));
  if (exitMeasure !== undefined) parts.push('--exit-measure', exitMeasure);
  if (exitChunks !== undefined) parts.push('--exit-chunks', exitChunks.join(','));
  return parts.join(' ');
}
