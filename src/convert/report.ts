import type { TrainedNetwork } from '../graph/network.js';
import { largestTimeSteps } from '../snn/bounds.js';
import { readoutOf, type SnnLayer, type SpikingModel } from '../snn/model.js';
import { simulate } from '../snn/reference.js';
import { elementCount } from '../tensor.js';
import type { FoldedNetwork, FoldedSynapse } from './folded.js';
import { weightTypes, type QuantizedNetwork, type WeightType } from './quantize.js';
import { simulateFolded, type FoldedResult } from './simulate.js';

/** What making the network integer cost; plain JSON, also in the provenance of the model. */
export interface ConversionReport {
  readonly weights: WeightType;
  /** The most time steps the model can run without any risk of overflow, 1 to 1,024. */
  readonly largestTimeSteps: number;
  /** Bytes of weights; multipliers, biases and thresholds come on top, a few numbers a channel. */
  readonly weightBytes: number;
  /** Smallest threshold of any channel, in integer units of potential; 0 without spiking layers. */
  readonly smallestThreshold: number;
  readonly layers: readonly LayerReport[];
  /** Only if the network carries samples. */
  readonly observed?: ObservedLoss;
}

export interface LayerReport {
  readonly name: string;
  readonly weightBytes: number;
  /** rms rounding error of the weights relative to their rms, had they this width: what one loses against another. None of a width that int32 has no room for. */
  readonly weightError: Readonly<Partial<Record<WeightType, number>>>;
  /** Most that rounding of biases and residual connections can move a membrane, as a fraction of the threshold. */
  readonly membraneError: number;
}

/** The integer model against a float64 simulation of the same spiking network on real images. */
export interface ObservedLoss {
  readonly images: number;
  readonly timeSteps: number;
  /**
   * Sum over neurons of the difference in spike count, relative to all spikes of the float64 simulation. It grows with
   * depth, as a spike more or less moves others; accuracy depends on the logits.
   */
  readonly spikeCountDifference: number;
  /** rms difference of the logits after the last step, relative to their range. */
  readonly logitDeviation: number;
  /** Share of images with the same top-1 class after the last step. */
  readonly top1Agreement: number;
}

export function buildReport(
  model: SpikingModel,
  quantized: Readonly<Partial<Record<WeightType, QuantizedNetwork>>>,
  weights: WeightType,
  observed: ObservedLoss | undefined,
): ConversionReport {
  const layers = model.layers.map((layer, l): LayerReport => ({
    name: layer.name,
    weightBytes: weightBytes(layer),
    weightError: Object.fromEntries(weightTypes.flatMap((type) => (quantized[type] ? [[type, quantized[type].layers[l]!.weightError]] : []))),
    membraneError: quantized[weights]!.layers[l]!.membraneError,
  }));
  const thresholds = model.layers.flatMap((layer) => (layer.kind === 'spiking' ? [Math.min(...layer.threshold)] : []));
  return {
    weights,
    largestTimeSteps: largestTimeSteps(model),
    weightBytes: layers.reduce((sum, layer) => sum + layer.weightBytes, 0),
    smallestThreshold: thresholds.length > 0 ? Math.min(...thresholds) : 0,
    layers,
    ...(observed && { observed }),
  };
}

function weightBytes({ synapses }: SnnLayer): number {
  return synapses.reduce((sum, synapse) => sum + (synapse.kind === 'conv2d' ? synapse.weight.byteLength : 0), 0);
}

/** Multiplications the two simulations may take together, were every neuron to spike: some seconds. */
const operationBudget = 5e9;
const mostImages = 16;

/** Runs both simulations on a few of the network's samples, fewer for a larger network; undefined without samples. */
export function observeLoss(network: FoldedNetwork, model: SpikingModel, samples: TrainedNetwork['samples']): ObservedLoss | undefined {
  if (!samples || samples.count === 0) return undefined;
  const perStep = 2 * network.layers.flatMap((layer) => layer.synapses.map((s: FoldedSynapse) => operations(s, layer.shape))).reduce((a, b) => a + b, 0);
  const affordable = [8, 4, 2].find((steps) => steps * perStep <= operationBudget) ?? 1;
  const timeSteps = Math.min(affordable, largestTimeSteps(model));
  const images = Math.max(1, Math.min(mostImages, samples.count, Math.floor(operationBudget / (perStep * timeSteps))));
  const pixels = samples.images.subarray(0, images * elementCount(network.inputShape));
  const exact = simulateFolded(network, pixels, images, timeSteps);
  const integer = simulate(model, pixels, images, { timeSteps, counts: true });
  const last = (timeSteps - 1) * images * integer.classes;
  const unit = readoutOf(model).unit[0]!;
  const logits = Float64Array.from(integer.potentials.subarray(last), (potential) => potential * unit);
  return { images, timeSteps, ...compare(exact, exact.logits.subarray(last), integer.counts!, logits, images) };
}

function operations(synapse: FoldedSynapse, shape: readonly number[]): number {
  return synapse.kind === 'identity' ? elementCount(shape) : synapse.weight.length * shape[1]! * shape[2]!;
}

function compare(exact: FoldedResult, exactLogits: Float64Array, counts: readonly Uint16Array[], logits: Float64Array, images: number) {
  let spikes = 0;
  let different = 0;
  exact.counts.forEach((layer, l) => {
    layer.forEach((count, i) => {
      spikes += count;
      different += Math.abs(count - counts[l]![i]!);
    });
  });
  const squares = logits.reduce((sum, logit, i) => sum + (logit - exactLogits[i]!) ** 2, 0);
  const range = Math.max(...exactLogits) - Math.min(...exactLogits);
  const classes = logits.length / images;
  let agreeing = 0;
  for (let n = 0; n < images; n++) {
    const at = [n * classes, (n + 1) * classes] as const;
    if (largestIndex(logits.subarray(...at)) === largestIndex(exactLogits.subarray(...at))) agreeing++;
  }
  return {
    spikeCountDifference: different / Math.max(1, spikes),
    logitDeviation: range === 0 ? 0 : Math.sqrt(squares / logits.length) / range,
    top1Agreement: agreeing / images,
  };
}

function largestIndex(values: Float64Array): number {
  return values.indexOf(Math.max(...values));
}
