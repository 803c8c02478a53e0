import { invalidArgument, NoisefloorError, refused, unknownName } from '../errors.js';
import type { ActivationNode, GraphNode } from '../graph/graph.js';
import type { NeuronSettings, TrainedNetwork } from '../graph/network.js';
import { poolsBehindActivations } from '../graph/poolOrder.js';
import { inferShapes } from '../graph/shapes.js';
import { notNegative } from '../numbers.js';
import { maxTimeSteps } from '../snn/model.js';
import { elementCount } from '../tensor.js';
import { measureHistograms, type CalibrationImages, type Histogram, type TapOptions } from './activations.js';
import { correctNeurons } from './correct.js';
import { conversionError } from './current.js';
import { settleThresholds } from './floors.js';
import { fold } from './fold.js';
import { calibrationDefaults, readoutStart } from './stagger.js';
import { checkThresholdOptions, chooseThreshold, type ThresholdOptions, type ThresholdRule } from './thresholds.js';

export const calibrationCorrections = ['light', 'advanced', 'none'] as const;
/**
 * `light`: bias and initial potential of each channel, see `correctNeurons`. `advanced`: before that, the weights of each layer are
 * trained on the images, see `reconstructLayer`. `none`: thresholds alone.
 */
export type CalibrationCorrection = (typeof calibrationCorrections)[number];

export interface CalibrationOptions extends ThresholdOptions, TapOptions {
  /** A threshold for each channel (default), or one for the layer. */
  readonly perChannel?: boolean;
  /**
   * Steps, such as 1 or 0.5, by which each layer of neurons starts behind those it reads, the read-out too; see `staggerLayers`. A
   * network of many layers needs far fewer steps so, but gives nothing before its read-out starts. Default: see `calibrationDefaults`.
   */
  readonly stagger?: number;
  /** Default `light`. Its T is `timeSteps`. */
  readonly correct?: CalibrationCorrection;
  /** Images that corrections are measured on, spread over all. Default 32. */
  readonly correctionImages?: number;
  /** Of `advanced`: the order of the images. Default 0. */
  readonly seed?: number;
  /** Called after each layer that is corrected. */
  readonly onLayer?: (name: string, done: number, total: number) => void;
}

/**
 * Finds what the spiking neurons of every relu activation need, from images: the result converts. Runs the dense network in
 * ONNX Runtime and, for corrections, the layers of the spiking one in the engine, one after the other, twice each.
 *
 * A channel that is silent on all images gets a threshold that its own largest current is for as usual in its layer, see
 * `settleThresholds`. A capped relu (ReLU6) has no threshold above its cap.
 *
 * @param images a few hundred of the training split. Not the test images.
 * @throws NoisefloorError INVALID_ARGUMENT without images or without a relu; CONVERSION where a layer is silent on all
 *   images; MISSING_DEPENDENCY without onnxruntime-node
 */
export async function calibrate(given: TrainedNetwork, images: CalibrationImages, options: CalibrationOptions = {}): Promise<TrainedNetwork> {
  const network = { ...given, graph: poolsBehindActivations(given.graph) };
  notNegative('stagger', options.stagger ?? 0);
  const { timeSteps, stagger } = calibrationDefaults(network.graph, options);
  const rule = checkThresholdOptions({ ...options, timeSteps });
  const { perChannel = true, correct = 'light', correctionImages = 32, onLayer } = options;
  if (!calibrationCorrections.includes(correct)) throw unknownName('correction', String(correct), calibrationCorrections);
  if (!Number.isInteger(correctionImages) || correctionImages < 1) throw invalidArgument('correctionImages', 'whole number >= 1', correctionImages);
  if (correct !== 'none' && rule.timeSteps < 2) throw invalidArgument('timeSteps', 'whole number >= 2, for corrections,', rule.timeSteps);
  checkStepsLeft(network, stagger, correct === 'none' ? maxTimeSteps : rule.timeSteps);
  const pixels = elementCount(network.graph.input.shape);
  if (images.count < 1 || images.images.length !== images.count * pixels) {
    throw invalidArgument('images.length', `${pixels} for each of ${images.count} images, one or more,`, images.images.length);
  }
  const layers = network.graph.nodes.filter(isRelu);
  if (layers.length === 0) {
    throw new NoisefloorError('INVALID_ARGUMENT', `${network.graph.name} has no relu activation: nothing to calibrate. Convert it as it is.`);
  }
  const histograms = await measureHistograms(network, images, layers.map(({ name }) => name), perChannel, options);
  const found = new Map(layers.map((node) => [node.name, layerThresholds(node, histograms.get(node.name)!, rule)]));
  const neurons = perChannel ? perChannelNeurons(network, layers, found) : perLayerNeurons(network, found);
  const calibration = { ...describe(rule, perChannel, images.count), ...(stagger > 0 && { stagger }), correct, ...(correct !== 'none' && { correctionImages: Math.min(correctionImages, images.count) }) };
  const calibrated = { ...network, neurons, ...(stagger > 0 && { stagger }), provenance: { ...network.provenance, calibration } };
  if (correct === 'none') return calibrated;
  return correctNeurons(calibrated, spread(images, correctionImages), {
    ...options,
    timeSteps: rule.timeSteps,
    weights: correct === 'advanced',
    ...(onLayer && { onLayer }),
  });
}

/** Two steps at least must be left for the last layer. */
function checkStepsLeft({ graph }: TrainedNetwork, stagger: number, timeSteps: number): void {
  const last = readoutStart(graph, stagger);
  if (last + 2 <= timeSteps) return;
  throw refused(`With stagger ${stagger} the read-out of ${graph.name} starts at step ${last}: give at least ${last + 2} time steps for ${timeSteps}, or a smaller stagger.`);
}

/** `count` of the images, evenly apart. */
function spread({ images, count: all }: CalibrationImages, count: number): CalibrationImages {
  if (count >= all) return { images, count: all };
  const size = images.length / all;
  const chosen = images instanceof Float32Array ? new Float32Array(count * size) : new Uint8Array(count * size);
  for (let i = 0; i < count; i++) {
    const from = Math.floor((i * all) / count);
    chosen.set(images.subarray(from * size, (from + 1) * size), i * size);
  }
  return { images: chosen, count };
}

function isRelu(node: GraphNode): node is ActivationNode {
  return node.op === 'activation' && node.activation.kind === 'relu';
}

/** Of each histogram; 0 where it is of a silent channel. */
function layerThresholds(node: ActivationNode, histograms: readonly Histogram[], rule: ThresholdRule): Float64Array {
  const largest = histograms.reduce((most, histogram) => (histogram.largest <= most ? most : histogram.largest), 0);
  if (!(largest > 0 && Number.isFinite(largest))) {
    throw conversionError(node.name, `its largest activation on the images is ${largest}`, 'Calibrate on other images, or train again.');
  }
  return Float64Array.from(histograms, (histogram) => (histogram.largest > 0 ? Math.min(capOf(node), chooseThreshold(histogram, rule)) : 0));
}

function capOf({ activation }: ActivationNode): number {
  return activation.kind === 'relu' ? (activation.cap ?? Infinity) : Infinity;
}

function perLayerNeurons({ graph, neurons }: TrainedNetwork, found: ReadonlyMap<string, Float64Array>): Map<string, NeuronSettings> {
  const shapes = inferShapes(graph);
  const layers = [...found].map(([name, [threshold]]) => [name, { threshold: new Float64Array(shapes.get(name)![0]!).fill(threshold!) }] as const);
  return new Map<string, NeuronSettings>([...(neurons ?? []), ...layers]);
}

function perChannelNeurons(network: TrainedNetwork, layers: readonly ActivationNode[], found: ReadonlyMap<string, Float64Array>): Map<string, NeuronSettings> {
  const draft = [...found].map(([name, thresholds]) => [name, { threshold: thresholds.map((theta) => theta || 1) }] as const);
  const folded = fold({ ...network, neurons: new Map([...(network.neurons ?? []), ...draft]) });
  const caps = new Map(layers.map((node) => [node.name, capOf(node)]));
  return new Map([...(network.neurons ?? []), ...settleThresholds(folded, found, (name) => caps.get(name)!)]);
}

function describe({ method, timeSteps, percentile }: ThresholdRule, perChannel: boolean, images: number): object {
  return { method, perChannel, images, timeSteps, ...(method === 'percentile' && { percentile }) };
}
