import { Option, type Command } from 'commander';
import { calibrate, calibrationMethods, type CalibrationMethod } from '../../convert/calibrate.js';
import { convert, usualTimeSteps, type Conversion } from '../../convert/convert.js';
import { weightTypes, type WeightType } from '../../convert/quantize.js';
import { normalizeRange } from '../../data/batches.js';
import { datasetSpecs, openDataset } from '../../data/open.js';
import { NoisefloorError } from '../../errors.js';
import type { TrainedNetwork } from '../../graph/network.js';
import { bytes, percent } from '../../report/format.js';
import { writeSpikingModel } from '../../snn/file.js';
import { maxTimeSteps } from '../../snn/model.js';
import { Output, type Io } from '../io.js';
import { positiveNumber, shared, whole } from '../options.js';
import { textTable } from '../table.js';
import { importNotes, importOptions, readTrained, type ImportOptions } from '../trained.js';

interface ConvertCommandOptions extends ImportOptions {
  out: string;
  weights: WeightType;
  maxTimeSteps: number;
  calibrate?: string;
  calibration?: CalibrationMethod;
  calibrationImages?: number;
  calibrationPercentile?: number;
  calibrationTimeSteps?: number;
  json: boolean;
}

export function addConvert(program: Command, io: Io): void {
  const command = program
    .command('convert')
    .description('Convert a trained network to a spiking model, one file of integers.')
    .argument('<network>', 'folder of a training run, or an ONNX or NIR file (model.onnx, model.nir)')
    .requiredOption('--out <file>', 'the spiking model to write, such as model.safetensors')
    .addOption(
      new Option('--weights <type>', 'width of the weights; the loss of either is reported')
        .choices([...weightTypes])
        .default('int8'),
    )
    .addOption(
      new Option('--max-time-steps <t>', 'the most time steps that 32-bit sums must hold in the worst case')
        .argParser(whole(1, maxTimeSteps))
        .default(usualTimeSteps),
    )
    .addOption(
      new Option(
        '--calibrate <spec>',
        `for relu: training images that thresholds are found on: ${datasetSpecs.join(', ')}`,
      ),
    )
    .addOption(new Option('--calibration <method>', 'how a threshold is chosen (default: mse)').choices([...calibrationMethods]))
    .addOption(new Option('--calibration-images <n>', 'images from the first on (default: 512)').argParser(whole(1)))
    .addOption(
      new Option('--calibration-percentile <p>', 'of the positive activations, with percentile (default: 99.9)')
        .argParser(positiveNumber),
    )
    .addOption(
      new Option('--calibration-time-steps <t>', 'T of the error that mse makes least (default: 8)')
        .argParser(whole(1, maxTimeSteps)),
    )
    .addOption(shared.json())
    .action((path: string, options: ConvertCommandOptions) => convertAction(path, options, io));
  for (const option of importOptions()) command.addOption(option);
}

async function convertAction(path: string, options: ConvertCommandOptions, io: Io): Promise<void> {
  const { out, weights, maxTimeSteps: timeSteps, json } = options;
  const output = new Output(io, json);
  const trained = await readTrained(path, options);
  for (const note of importNotes(trained)) output.log(note);
  const network = await calibrated(trained, options, output);
  output.log(`Converting ${network.graph.name}`);
  const { model, report } = convert(network, { weights, timeSteps });
  await writeSpikingModel(out, model);
  output.document({ command: 'convert', network: path, model: out, ...report });
  printReport(report, out, output);
}

async function calibrated(network: TrainedNetwork, options: ConvertCommandOptions, output: Output): Promise<TrainedNetwork> {
  const {
    calibrate: spec,
    calibration: method,
    calibrationImages = 512,
    calibrationPercentile: percentile,
    calibrationTimeSteps: timeSteps,
  } = options;
  if (spec === undefined) {
    if ([method, options.calibrationImages, percentile, timeSteps].every((option) => option === undefined)) return network;
    throw new NoisefloorError('INVALID_ARGUMENT', 'Calibration needs images: give --calibrate.');
  }
  const data = await openDataset(spec);
  const { shape } = network.graph.input;
  if (data.shape.join() !== shape.join()) {
    throw new NoisefloorError(
      'INVALID_ARGUMENT',
      `${data.spec} has images [${data.shape.join(', ')}], the network takes [${shape.join(', ')}]: ` +
        'calibrate on what it was trained on.',
    );
  }
  const count = Math.min(calibrationImages, data.train.count);
  output.log(`Calibrating ${network.graph.name} on ${count} training images`);
  return calibrate(
    withClasses(network, data.classes),
    { images: normalizeRange(data.train, 0, count, network.normalization, shape), count },
    { method, percentile, timeSteps },
  );
}

/** An imported network knows no classes: those of the data set, where they are as many. */
function withClasses(network: TrainedNetwork, classes: readonly string[]): TrainedNetwork {
  const named = !('imported' in network.provenance) || classes.length !== network.classes.length;
  return named ? network : { ...network, classes };
}

function printReport(report: Conversion['report'], out: string, output: Output): void {
  const rows = report.layers.map((layer) => [
    layer.name,
    bytes(layer.weightBytes),
    percent(layer.weightError[report.weights], 3),
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
