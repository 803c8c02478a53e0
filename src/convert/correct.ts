import type { NeuronSettings, TrainedNetwork } from '../graph/network.js';
import { inferShapes } from '../graph/shapes.js';
import { spikeCounts, type SpikeTrains } from '../snn/replay.js';
import { elementCount } from '../tensor.js';
import { channelMeans, tapActivations, type CalibrationImages, type TapOptions } from './activations.js';
import { fold } from './fold.js';
import type { FoldedSpiking } from './folded.js';
import { reconstructLayer } from './reconstruct.js';
import { DenseTargets } from './targets.js';
import { LayerWalk } from './walk.js';

export interface CorrectionOptions extends TapOptions {
  /** Also trains the weights of each layer, see `reconstructLayer`. Default false. */
  readonly weights?: boolean;
  /** Of the order in which that sees the images. Default 0. */
  readonly seed?: number;
  /** Spikes are counted over T steps and over T / 2. */
  readonly timeSteps: number;
  /** Called after each layer. */
  readonly onLayer?: (name: string, done: number, total: number) => void;
}

/** What a channel of the dense network does, over images and positions; both [C]. */
interface ChannelActivity {
  readonly mean: Float64Array;
  /** Share of activations above 0: of a change of the input, the output follows so much. */
  readonly active: Float64Array;
}

/** Of the activations of a channel, at least: below, a correction would wake neurons that should be silent. */
const leastActive = 0.25;
/** Most that a correction may move the current, and the initial potential, in units of theta. */
const mostBias = 0.25;
const mostPotential = 2;

/**
 * Corrects bias and initial potential of each channel so that the spiking network gives, on average over images and
 * positions, what the dense network gives ("light" of SNN Calibration, Li et al., ICML 2021). Layer by layer, from the
 * input on: each is measured behind layers that are corrected, in the engine, with int8 weights.
 *
 * The error at T steps is about a + b / T: clipping and uneven spikes stay, a late start fades. Two measurements tell them
 * apart (our addition): a goes to the bias, b to the initial potential, so that the correction holds for other T.
 *
 * @param network with neurons of a calibration; only those are corrected
 */
export async function correctNeurons(network: TrainedNetwork, images: CalibrationImages, options: CorrectionOptions): Promise<TrainedNetwork> {
  const folded = fold(network);
  const neurons = new Map<string, NeuronSettings>(network.neurons);
  const names = folded.layers.flatMap(({ name }) => (neurons.has(name) ? [name] : []));
  const dense = await denseActivity(network, images, names, options);
  const targets = new DenseTargets(network, images, names, options);
  const walk = new LayerWalk(network, folded, images, options);
  for (const layer of folded.layers) {
    if (layer.kind !== 'spiking') {
      walk.settle(layer);
      continue;
    }
    const activity = dense.get(layer.name);
    let settled = layer;
    if (activity) {
      const trained = options.weights ? await reconstructed(layer, walk, targets, images.count, options) : layer;
      settled = corrected(trained, activity, spikeRates(await walk.spikes(trained), layer.start ?? 0), options.timeSteps - (layer.start ?? 0));
      neurons.set(layer.name, { threshold: layer.threshold, ...difference(layer, settled, neurons.get(layer.name)!) });
      options.onLayer?.(layer.name, names.indexOf(layer.name) + 1, names.length);
    }
    walk.settle(settled, await walk.spikes(settled));
  }
  return { ...network, neurons };
}

/** The layer, trained on what the corrected ones before it give. */
async function reconstructed(layer: FoldedSpiking, walk: LayerWalk, targets: DenseTargets, count: number, options: CorrectionOptions): Promise<FoldedSpiking> {
  if (count < 2) return layer;
  return (await reconstructLayer(layer, walk.sources(layer), await targets.of(layer.name), count, options)).layer;
}

async function denseActivity(
  network: TrainedNetwork,
  images: CalibrationImages,
  names: readonly string[],
  options: TapOptions,
): Promise<Map<string, ChannelActivity>> {
  const shapes = inferShapes(network.graph);
  const activities = new Map<string, ChannelActivity>();
  for (const name of names) {
    const channels = shapes.get(name)![0]!;
    activities.set(name, { mean: new Float64Array(channels), active: new Float64Array(channels) });
  }
  await tapActivations(network, images, names, options, (name, values) => {
    const { mean, active } = activities.get(name)!;
    const weight = values.length / elementCount(shapes.get(name)!) / images.count;
    channelMeans(values, mean.length, elementCount(shapes.get(name)!), (c, sum, positive) => {
      mean[c]! += weight * sum;
      active[c]! += weight * positive;
    });
  });
  return activities;
}

interface SpikeRates {
  /** Spikes a step of each channel of the last layer, over the steps that it takes part in and over half of them; [C]. */
  readonly whole: Float64Array;
  readonly half: Float64Array;
}

function spikeRates(trains: SpikeTrains, start: number): SpikeRates {
  const { shape, timeSteps } = trains;
  const rates = (steps: number): Float64Array => {
    const means = new Float64Array(shape[0]!);
    channelMeans(spikeCounts(trains, start + steps), shape[0]!, elementCount(shape), (c, mean) => (means[c] = mean / steps));
    return means;
  };
  return { whole: rates(timeSteps - start), half: rates((timeSteps - start) >> 1) };
}

function corrected(layer: FoldedSpiking, { mean, active }: ChannelActivity, { whole, half }: SpikeRates, timeSteps: number): FoldedSpiking {
  const early = timeSteps >> 1;
  const change = (c: number): { steady: number; transient: number } => {
    const theta = layer.threshold[c]!;
    const [late, soon] = [mean[c]! - theta * whole[c]!, mean[c]! - theta * half[c]!];
    const transient = ((soon - late) * timeSteps * early) / (timeSteps - early);
    const response = Math.max(leastActive, active[c]!);
    return {
      steady: within((late - transient / timeSteps) / response, mostBias * theta),
      transient: within(transient / response, mostPotential * theta),
    };
  };
  return {
    ...layer,
    bias: layer.bias.map((b, c) => b + change(c).steady),
    initialPotential: layer.initialPotential.map((v, c) => v + change(c).transient),
  };
}

function within(value: number, most: number): number {
  return Math.max(-most, Math.min(most, value));
}

/** The settings that make `after` of `before`. */
function difference(before: FoldedSpiking, after: FoldedSpiking, settings: NeuronSettings): Omit<NeuronSettings, 'threshold'> {
  const bias = after.bias.map((b, c) => b - before.bias[c]! + (settings.bias?.[c] ?? 0));
  const weights = after.synapses.map((synapse) => (synapse.kind === 'conv2d' ? synapse.weight : undefined));
  const changed = after.synapses.some((synapse, i) => synapse !== before.synapses[i]);
  return { bias, initialPotential: after.initialPotential, ...(changed && { weights }) };
}
