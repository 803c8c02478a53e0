import { invalidArgument, NoisefloorError } from '../errors.js';
import type { ActivationNode, GraphNode } from '../graph/graph.js';
import type { NeuronSettings, TrainedNetwork } from '../graph/network.js';
import { inferShapes } from '../graph/shapes.js';
import { elementCount } from '../tensor.js';
import { measureHistograms, type CalibrationImages, type Histogram, type TapOptions } from './activations.js';
import { conversionError } from './current.js';
import { checkThresholdOptions, chooseThreshold, type ThresholdOptions, type ThresholdRule } from './thresholds.js';

export interface CalibrationOptions extends ThresholdOptions, TapOptions {
  /** A threshold for each channel (default), or one for the layer. */
  readonly perChannel?: boolean;
}

/**
 * Finds what the spiking neurons of every relu activation need, from images: the result converts. Runs the dense network in
 * ONNX Runtime.
 *
 * A channel that is silent on all images gets the middle one of the thresholds of its layer. A capped relu (ReLU6) has no
 * threshold above its cap.
 *
 * @param images a few hundred of the training split. Not the test images.
 * @throws NoisefloorError INVALID_ARGUMENT without images or without a relu; CONVERSION where a layer is silent on all
 *   images; MISSING_DEPENDENCY without onnxruntime-node
 */
export async function calibrate(network: TrainedNetwork, images: CalibrationImages, options: CalibrationOptions = {}): Promise<TrainedNetwork> {
  const rule = checkThresholdOptions(options);
  const { perChannel = true } = options;
  const pixels = elementCount(network.graph.input.shape);
  if (images.count < 1 || images.images.length !== images.count * pixels) {
    throw invalidArgument('images.length', `${pixels} for each of ${images.count} images, one or more,`, images.images.length);
  }
  const layers = network.graph.nodes.filter(isRelu);
  if (layers.length === 0) {
    throw new NoisefloorError('INVALID_ARGUMENT', `${network.graph.name} has no relu activation: nothing to calibrate. Convert it as it is.`);
  }
  const histograms = await measureHistograms(network, images, layers.map(({ name }) => name), perChannel, options);
  const shapes = inferShapes(network.graph);
  const neurons = new Map<string, NeuronSettings>(network.neurons);
  for (const node of layers) {
    const found = layerThresholds(node, histograms.get(node.name)!, rule);
    const channels = shapes.get(node.name)![0]!;
    neurons.set(node.name, { threshold: perChannel ? found : new Float64Array(channels).fill(found[0]!) });
  }
  return { ...network, neurons, provenance: { ...network.provenance, calibration: describe(rule, perChannel, images.count) } };
}

function isRelu(node: GraphNode): node is ActivationNode {
  return node.op === 'activation' && node.activation.kind === 'relu';
}

function layerThresholds({ name, activation }: ActivationNode, histograms: readonly Histogram[], rule: ThresholdRule): Float64Array {
  const largest = histograms.reduce((most, histogram) => (histogram.largest <= most ? most : histogram.largest), 0);
  if (!(largest > 0 && Number.isFinite(largest))) {
    throw conversionError(name, `its largest activation on the images is ${largest}`, 'Calibrate on other images, or train again.');
  }
  const chosen = histograms.map((histogram) => (histogram.largest > 0 ? chooseThreshold(histogram, rule) : 0));
  const active = chosen.filter((theta) => theta > 0).sort((a, b) => a - b);
  const usual = active[Math.floor(active.length / 2)]!;
  const cap = activation.kind === 'relu' ? (activation.cap ?? Infinity) : Infinity;
  return Float64Array.from(chosen, (theta) => Math.min(cap, theta > 0 ? theta : usual));
}

function describe({ method, timeSteps, percentile }: ThresholdRule, perChannel: boolean, images: number): object {
  return { method, perChannel, images, ...(method === 'mse' && { timeSteps }), ...(method === 'percentile' && { percentile }) };
}
