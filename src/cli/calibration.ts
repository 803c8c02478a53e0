import { Option } from 'commander';
import { calibrate, calibrationCorrections, type CalibrationCorrection, type CalibrationOptions } from '../convert/calibrate.js';
import { calibrationMethods, type CalibrationMethod } from '../convert/thresholds.js';
import { imageSpecs, openImages } from '../data/open.js';
import type { Split } from '../data/dataset.js';
import type { Preprocessing } from '../data/preprocessing.js';
import { readSplit, type ImageSource } from '../data/source.js';
import { refused } from '../errors.js';
import type { TrainedNetwork } from '../graph/network.js';
import { calibrationDefaults, readoutStart } from '../convert/stagger.js';
import { significant } from '../report/format.js';
import { maxTimeSteps } from '../snn/model.js';
import type { Output } from './io.js';
import { numberFrom0, positiveNumber, whole } from './options.js';

export interface CalibrationCommandOptions {
  calibrate?: string;
  calibration?: CalibrationMethod;
  calibrationScope?: 'channel' | 'layer';
  calibrationImages?: number;
  calibrationPercentile?: number;
  calibrationTimeSteps?: number;
  calibrationStagger?: number;
  calibrationCorrect?: CalibrationCorrection;
  calibrationCorrectionImages?: number;
  threads?: number;
}

/** Options of a command that calibrates relu networks. */
export function calibrationOptions(): Option[] {
  return [
    new Option('--calibrate <spec>', `for relu: training images that thresholds are found on: ${imageSpecs.join(', ')}`),
    new Option('--calibration <method>', 'how a threshold is chosen (default: mse)').choices([...calibrationMethods]),
    new Option('--calibration-scope <scope>', 'one threshold for each (default: channel)').choices(['channel', 'layer']),
    new Option('--calibration-images <n>', 'images from the first on (default: 512)').argParser(whole(1)),
    new Option('--calibration-percentile <p>', 'of the positive activations, with percentile (default: 99.9)').argParser(positiveNumber),
    new Option('--calibration-time-steps <t>', 'T of the error that mse makes least, and that corrections are measured at (default: 16, of deep networks 64)').argParser(whole(2, maxTimeSteps)),
    new Option('--calibration-stagger <steps>', 'by which each layer of neurons starts behind those it reads; networks of many layers need fewer steps so (default: 0 for up to 8 layers of neurons in a row, at most 0.25 for more, at most 1 for deep networks)').argParser(numberFrom0),
    new Option('--calibration-correct <what>', 'layer by layer: light of bias and initial potential, advanced of the weights too (default: light)').choices([...calibrationCorrections]),
    new Option('--calibration-correction-images <n>', 'images of those that corrections run on (default: 32)').argParser(whole(1)),
  ];
}

export interface Calibrated {
  readonly network: TrainedNetwork;
  /** What it was calibrated on, and the steps that it was calibrated for. */
  readonly calibration?: { readonly images: Split; readonly timeSteps: number };
}

/** The network, calibrated where --calibrate asks for it. */
export async function calibrated(
  network: TrainedNetwork,
  options: CalibrationCommandOptions,
  preprocessing: Preprocessing | undefined,
  output: Output,
): Promise<Calibrated> {
  const { calibrate: spec, calibrationImages = 512, ...rest } = options;
  if (spec === undefined) {
    const other = Object.entries(options).find(([name, value]) => name.startsWith('calibration') && value !== undefined);
    if (other === undefined) return { network };
    throw refused('Calibration needs images: give --calibrate.');
  }
  const { shape } = network.graph.input;
  const source = await openImages(spec, 'train', { shape, ...(preprocessing && { preprocessing }) });
  if (source.shape.join() !== shape.join()) {
    throw refused(`${source.spec} has images [${source.shape.join(', ')}], the network takes [${shape.join(', ')}]: calibrate on what it was trained on.`);
  }
  const images = await readSplit(source, calibrationImages);
  output.log(`Calibrating ${network.graph.name} on ${images.count} training images`);
  const onLayer = (name: string, done: number, total: number): void => output.log(`Corrected ${name}, ${done} of ${total}`);
  const { timeSteps, stagger } = calibrationDefaults(network.graph, { timeSteps: rest.calibrationTimeSteps, stagger: rest.calibrationStagger });
  const found = await calibrate(withClasses(network, source), images, { ...libraryOptions(rest), timeSteps, stagger, onLayer });
  if (stagger > 0) output.log(`Layers start ${significant(stagger)} steps one behind the other, the read-out after step ${readoutStart(found.graph, stagger)}: --calibration-stagger 0 lets all start at once`);
  return { network: found, calibration: { images, timeSteps } };
}

function libraryOptions(options: CalibrationCommandOptions): CalibrationOptions {
  const { calibration: method, calibrationScope: scope, calibrationPercentile: percentile, calibrationCorrect: correct = 'light' } = options;
  const { calibrationCorrectionImages: correctionImages, threads } = options;
  return {
    ...(method && { method }),
    ...(scope && { perChannel: scope === 'channel' }),
    ...(percentile !== undefined && { percentile }),
    ...(correctionImages !== undefined && { correctionImages }),
    ...(threads !== undefined && { threads }),
    correct,
  };
}

/** An imported network knows no classes: those of the data set, where they are as many. */
function withClasses(network: TrainedNetwork, { classes }: ImageSource): TrainedNetwork {
  const takes = 'imported' in network.provenance && classes?.length === network.classes.length;
  return takes ? { ...network, classes } : network;
}
