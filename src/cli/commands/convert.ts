import { Option, type Command } from 'commander';
import { convert, type Conversion } from '../../convert/convert.js';
import { weightTypes, type WeightType } from '../../convert/quantize.js';
import type { Split } from '../../data/dataset.js';
import { refused } from '../../errors.js';
import { compareLayers } from '../../evaluate/compare.js';
import type { TrainedNetwork } from '../../graph/network.js';
import { bytes, percent } from '../../report/format.js';
import { writeSpikingModel } from '../../snn/file.js';
import { maxTimeSteps, type SpikingModel } from '../../snn/model.js';
import { SpikingSession } from '../../snn/session.js';
import { calibrated, calibrationOptions, type CalibrationCommandOptions } from '../calibration.js';
import { printComparison, type Comparison } from '../comparison.js';
import { Output, type Io } from '../io.js';
import { shared, whole } from '../options.js';
import { preprocessingOption, preprocessingOptions, type PreprocessingCommandOptions } from '../preprocessing.js';
import { textTable } from '../table.js';
import { importNotes, importOptions, readTrained, type ImportOptions } from '../trained.js';

interface ConvertCommandOptions extends ImportOptions, PreprocessingCommandOptions, CalibrationCommandOptions {
  out: string;
  weights: WeightType;
  maxTimeSteps?: number;
  compare: boolean;
  threads?: number;
  json: boolean;
}

export function addConvert(program: Command, io: Io): void {
  const command = program
    .command('convert')
    .description('Convert a trained network to a spiking model, one file of integers.')
    .argument('<network>', 'folder of a training run, or an ONNX or NIR file (model.onnx, model.nir)')
    .requiredOption('--out <file>', 'the spiking model to write, such as model.safetensors')
    .addOption(
      new Option('--weights <type>', 'width of the weights: int7 runs faster, int16 rounds less; the loss is reported')
        .choices([...weightTypes])
        .default('int8'),
    )
    .addOption(
      new Option('--max-time-steps <t>', 'the most time steps that 32-bit sums must hold in the worst case (default: 64; calibrated: 256, 128 or 64)')
        .argParser(whole(1, maxTimeSteps)),
    )
    .option('--compare', 'with --calibrate: the dense network against the spiking one, layer by layer, on some of its images', false)
    .addOption(shared.threads('threads of calibration'))
    .addOption(shared.json())
    .action((path: string, options: ConvertCommandOptions) => convertAction(path, options, io));
  for (const option of [...importOptions(), ...preprocessingOptions(), ...calibrationOptions()]) command.addOption(option);
}

async function convertAction(path: string, options: ConvertCommandOptions, io: Io): Promise<void> {
  const { out, weights, maxTimeSteps: timeSteps, json } = options;
  const output = new Output(io, json);
  const trained = await readTrained(path, options);
  for (const note of importNotes(trained)) output.log(note);
  const preprocessing = preprocessingOption(options, trained.graph.input.shape);
  if (options.compare && options.calibrate === undefined) throw refused('--compare needs images: give --calibrate, or compare with eval --against.');
  const { network, calibration } = await calibrated(trained, options, preprocessing, output);
  output.log(`Converting ${network.graph.name}`);
  const { model, report } = convert(network, { weights, ...(timeSteps !== undefined && { timeSteps }), ...(preprocessing && { preprocessing }) });
  await writeSpikingModel(out, model);
  const comparison = options.compare ? await compare(trained, model, calibration!.images, Math.min(report.largestTimeSteps, calibration!.timeSteps)) : undefined;
  output.document({ command: 'convert', network: path, model: out, ...report, ...(comparison && { comparison }) });
  printReport(report, out, output);
  if (comparison) printComparison(comparison, output);
}

const comparedImages = 32;

async function compare(network: TrainedNetwork, model: SpikingModel, images: Split, timeSteps: number): Promise<Comparison> {
  await using session = await SpikingSession.create(model);
  const layers = await compareLayers(network, session, images, { timeSteps, limit: comparedImages, batchSize: 8 });
  return { timeSteps, images: Math.min(comparedImages, images.count), layers };
}

function printReport(report: Conversion['report'], out: string, output: Output): void {
  const rows = report.layers.map((layer) => [
    layer.name,
    bytes(layer.weightBytes),
    percent(layer.weightError[report.weights]!, 3),
    percent(layer.membraneError, 4),
  ]);
  output.print(textTable(['layer', 'weights', 'rounding of weights', 'membrane, of theta'], rows));
  if (report.observed) {
    const { images, timeSteps, spikeCountDifference, top1Agreement } = report.observed;
    output.print(
      `Against float64 on ${images} images at T = ${timeSteps}: ${percent(spikeCountDifference, 3)} of the spikes differ, ` +
        `${percent(top1Agreement, 1)} of the answers agree.`,
    );
  }
  output.print(
    `Wrote ${out}: ${report.weights}, ${bytes(report.weightBytes)} of weights, up to ${report.largestTimeSteps} time steps.`,
  );
}
