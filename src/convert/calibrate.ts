import { invalidArgument, NoisefloorError, unknownName } from '../errors.js';
import type { ActivationNode, Graph, GraphNode } from '../graph/graph.js';
import type { TrainedNetwork } from '../graph/network.js';
import { exportOnnx } from '../onnx/export.js';
import { loadRuntime, openSession } from '../onnx/runtime.js';
import { elementCount, type Parameters } from '../tensor.js';
import { conversionError } from './current.js';

export const calibrationMethods = ['maximum', 'percentile', 'mse'] as const;
/**
 * How a threshold is chosen from the activations of its layer on all images. `maximum`: the largest (Diehl et al. 2015).
 * `percentile`: below it, that share of the positive ones (Rueckauer et al. 2017). `mse`: least mean square error of what
 * the neurons give in T steps under a constant current, over 95 thresholds from the maximum down (SNN Calibration, Li et
 * al., ICML 2021).
 */
export type CalibrationMethod = (typeof calibrationMethods)[number];

export interface CalibrationOptions {
  /** Default `mse`. */
  readonly method?: CalibrationMethod;
  /** Of `percentile`, above 0 and at most 100. Default 99.9. */
  readonly percentile?: number;
  /** Of `mse`: T. Default 8. */
  readonly timeSteps?: number;
  /** Images a run of ONNX Runtime. Default 32. */
  readonly batchSize?: number;
  /** Threads of ONNX Runtime. Default: all cores. */
  readonly threads?: number;
}

/** Bins between 0 and the maximum of a layer: a threshold is fixed to a four-thousandth of it. */
const binCount = 4096;
const mseCandidates = 95;

/**
 * Gives every relu activation of a network the threshold that its spiking neurons need, from images: the result has tcl
 * activations in their place and converts. Runs the dense network in ONNX Runtime twice.
 *
 * @param images normalised, [count, C, H, W]; a few hundred of the training split. Not the test images.
 * @throws NoisefloorError INVALID_ARGUMENT without images or without a relu; CONVERSION where a layer is silent on all
 *   images; MISSING_DEPENDENCY without onnxruntime-node
 */
export async function calibrate(
  network: TrainedNetwork,
  { images, count }: { readonly images: Float32Array; readonly count: number },
  options: CalibrationOptions = {},
): Promise<TrainedNetwork> {
  const { method = 'mse', percentile = 99.9, timeSteps = 8 } = options;
  checkOptions(method, percentile, timeSteps);
  const pixels = elementCount(network.graph.input.shape);
  if (count < 1 || images.length !== count * pixels) throw invalidArgument('images.length', `${pixels} for each of ${count} images, one or more,`, images.length);
  const layers = network.graph.nodes.filter(isRelu).map(({ name }) => name);
  if (layers.length === 0) throw new NoisefloorError('INVALID_ARGUMENT', `${network.graph.name} has no relu activation: nothing to calibrate. Convert it as it is.`);
  const thresholds = new Map<string, number>();
  for (const [name, histogram] of await measure(network, images, layers, options)) {
    thresholds.set(name, chooseThreshold(histogram, method, percentile, timeSteps));
  }
  return withThresholds(network, thresholds, { method, images: count, ...(method === 'mse' ? { timeSteps } : {}), ...(method === 'percentile' ? { percentile } : {}) });
}

function checkOptions(method: CalibrationMethod, percentile: number, timeSteps: number): void {
  if (!calibrationMethods.includes(method)) throw unknownName('method', String(method), calibrationMethods);
  if (!(percentile > 0 && percentile <= 100)) throw invalidArgument('percentile', 'number above 0, at most 100', percentile);
  if (!Number.isInteger(timeSteps) || timeSteps < 1) throw invalidArgument('timeSteps', 'whole number >= 1', timeSteps);
}

function isRelu(node: GraphNode): node is ActivationNode {
  return node.op === 'activation' && node.activation.kind === 'relu';
}

/** Positive activations of one layer, by size. */
interface Histogram {
  readonly largest: number;
  /** Of (k, k + 1] bin widths. */
  readonly bins: Float64Array;
}

async function measure(network: TrainedNetwork, images: Float32Array, layers: readonly string[], options: CalibrationOptions): Promise<Map<string, Histogram>> {
  const largest = new Map<string, number>();
  await tap(network, images, layers, options, (name, values) => {
    largest.set(name, values.reduce((most, value) => Math.max(most, value), largest.get(name) ?? 0));
  });
  const histograms = new Map<string, Histogram>();
  for (const [name, most] of largest) {
    if (!(most > 0 && Number.isFinite(most))) {
      throw conversionError(name, `its largest activation on the images is ${most}`, 'Calibrate on other images, or train again.');
    }
    histograms.set(name, { largest: most, bins: new Float64Array(binCount) });
  }
  await tap(network, images, layers, options, (name, values) => {
    const { bins, largest: most } = histograms.get(name)!;
    const perBin = binCount / most;
    for (const value of values) if (value > 0) bins[Math.min(binCount - 1, Math.ceil(value * perBin) - 1)]!++;
  });
  return histograms;
}

/** Hands over the activations of each layer, batch by batch. */
async function tap(
  network: TrainedNetwork,
  images: Float32Array,
  layers: readonly string[],
  { batchSize = 32, threads }: CalibrationOptions,
  take: (name: string, values: Float32Array) => void,
): Promise<void> {
  const ort = await loadRuntime();
  const session = await openSession(exportOnnx(network, { taps: layers }), { threads });
  try {
    const pixels = elementCount(network.graph.input.shape);
    for (let begin = 0; begin < images.length; begin += batchSize * pixels) {
      const batch = images.subarray(begin, begin + batchSize * pixels);
      const input = new ort.Tensor('float32', batch, [batch.length / pixels, ...network.graph.input.shape]);
      const results = await session.run({ input }, [...layers]);
      for (const name of layers) take(name, results[name]!.data as Float32Array);
    }
  } finally {
    await session.release();
  }
}

function chooseThreshold({ largest, bins }: Histogram, method: CalibrationMethod, percentile: number, timeSteps: number): number {
  switch (method) {
    case 'maximum':
      return largest;
    case 'percentile':
      return (largest * binsBelow(bins, percentile / 100)) / binCount;
    case 'mse': {
      const candidates = Array.from({ length: mseCandidates }, (_, i) => largest * (1 - i / 100));
      const errors = candidates.map((theta) => squaredError({ largest, bins }, theta, timeSteps));
      return candidates[errors.indexOf(Math.min(...errors))]!;
    }
  }
}

/** The least number of bins that holds at least `share` of what is counted. */
function binsBelow(bins: Float64Array, share: number): number {
  const wanted = share * bins.reduce((sum, n) => sum + n, 0);
  let sum = 0;
  for (let k = 0; k < bins.length; k++) {
    sum += bins[k]!;
    if (sum >= wanted) return k + 1;
  }
  return bins.length;
}

/** Of theta spikes / T against the activation, each bin standing at its middle. */
function squaredError({ largest, bins }: Histogram, theta: number, timeSteps: number): number {
  return bins.reduce((sum, n, k) => {
    const activation = (largest * (k + 0.5)) / binCount;
    const spikes = Math.min(timeSteps, Math.floor((activation * timeSteps) / theta + 0.5));
    return sum + n * (activation - (theta * spikes) / timeSteps) ** 2;
  }, 0);
}

function withThresholds(network: TrainedNetwork, thresholds: ReadonlyMap<string, number>, calibration: object): TrainedNetwork {
  const parameters: Parameters = new Map(network.parameters);
  const nodes = network.graph.nodes.map((node): GraphNode => {
    const theta = thresholds.get(node.name);
    if (theta === undefined || node.op !== 'activation') return node;
    parameters.set(`${node.name}.threshold`, { shape: [], data: Float32Array.of(theta) });
    return { ...node, activation: { kind: 'tcl', initialThreshold: theta } };
  });
  const graph: Graph = { ...network.graph, nodes };
  return { ...network, graph, parameters, provenance: { ...network.provenance, calibration } };
}
