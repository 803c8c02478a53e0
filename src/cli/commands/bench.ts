import { Option, type Command } from 'commander';
import { openImages } from '../../data/open.js';
import type { Split } from '../../data/dataset.js';
import { readSplit } from '../../data/source.js';
import { DenseSession } from '../../evaluate/dense.js';
import { sourceFor, type Simulator } from '../../evaluate/simulator.js';
import { timeInTurn, type Contestant, type Timing } from '../../evaluate/timing.js';
import { Random } from '../../random.js';
import { significant } from '../../report/format.js';
import { describeMachine, describeVersions } from '../../report/machine.js';
import type { SpikingModel } from '../../snn/model.js';
import { SpikingSession } from '../../snn/session.js';
import { elementCount } from '../../tensor.js';
import { Output, type Io } from '../io.js';
import { checkReadout, modelArgument, readModel } from '../model.js';
import { shared, whole } from '../options.js';
import { withProgress } from '../progress.js';
import { textTable } from '../table.js';

interface BenchCommandOptions {
  against?: string;
  data?: string;
  timeSteps: number;
  batchSize: number;
  runs: number;
  threads?: number;
  seed: number;
  json: boolean;
}

export function addBench(program: Command, io: Io): void {
  program
    .command('bench')
    .description('Measure speed: median, p95 and throughput at batch 1 and batch N, both sides taking turns on the same images.')
    .argument('<model>', modelArgument)
    .option('--against <dense.onnx>', 'a dense network to measure beside it, in ONNX Runtime with the same threads')
    .option('--data <spec>', 'real images; without it random ones, on which spiking activity is not that of real use')
    .addOption(shared.oneTimeStep(4))
    .addOption(shared.batchSize(32))
    .addOption(new Option('--runs <n>', 'batches measured of each side').argParser(whole(1)).default(30))
    .addOption(shared.threads())
    .addOption(shared.seed())
    .addOption(shared.json())
    .action((file: string, options: BenchCommandOptions) => benchAction(file, options, io));
}

async function benchAction(file: string, options: BenchCommandOptions, io: Io): Promise<void> {
  const output = new Output(io, options.json);
  const model = await readModel(file, io);
  checkReadout(model, options.timeSteps);
  const split = await benchImages(model, options, output);
  await using session = await SpikingSession.create(model, { threads: options.threads });
  const { threads } = session;
  const dense = options.against === undefined ? undefined : await DenseSession.create(options.against, { threads });
  try {
    const timings = await measure(session, dense, split, options, io);
    output.document({
      command: 'bench',
      model: file,
      ...(options.against === undefined ? {} : { against: options.against }),
      images: options.data ?? 'random',
      timeSteps: options.timeSteps,
      threads,
      timings,
      machine: describeMachine(),
      versions: describeVersions(),
    });
    printTimings(timings, options.timeSteps, threads, output);
  } finally {
    await dense?.dispose();
  }
}

async function measure(
  session: Simulator,
  dense: DenseSession | undefined,
  split: Split,
  { timeSteps, batchSize, runs }: BenchCommandOptions,
  io: Io,
): Promise<Timing[]> {
  const { normalization, shape } = session.model.input;
  const contestants: Contestant[] = [
    { name: `spiking, ${session.isa}`, run: (images) => session.run(images, { timeSteps, signal: io.signal }) },
    ...(dense ? [{ name: 'dense, ONNX Runtime', run: (images: Float32Array) => dense.run(images, shape) }] : []),
  ];
  const timings: Timing[] = [];
  for (const size of new Set([1, batchSize])) {
    const measured = await withProgress(io, `Batch ${size}`, (progress) =>
      timeInTurn(contestants, { split, normalization, shape }, {
        batchSize: size,
        runs,
        signal: io.signal,
        onProgress: ({ done, total }) => progress.update(done, total),
      }),
    );
    timings.push(...measured);
  }
  return timings;
}

async function benchImages(model: SpikingModel, { data, batchSize, runs, seed }: BenchCommandOptions, output: Output): Promise<Split> {
  if (data !== undefined) return readSplit(sourceFor(model, await openImages(data, 'test', model.input)), batchSize * runs);
  output.log('Random images: spiking activity, and so speed, differs from real ones. Pass --data for those.');
  const random = new Random(seed);
  const count = Math.max(8, batchSize);
  const images = Uint8Array.from({ length: count * elementCount(model.input.shape) }, () => random.integer(256));
  return { images, labels: new Uint8Array(count), count };
}

function printTimings(timings: readonly Timing[], timeSteps: number, threads: number, output: Output): void {
  const rows = timings.map((timing) => [
    timing.name,
    String(timing.batchSize),
    significant(timing.median),
    significant(timing.p95),
    significant(timing.median / timing.batchSize),
    significant(timing.imagesPerSecond),
  ]);
  output.print(textTable(['network', 'batch', 'median ms', 'p95 ms', 'median ms/image', 'images/s'], rows));
  output.print(`T = ${timeSteps}, ${threads} threads on each side.`);
}
