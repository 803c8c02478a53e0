import { poolArea } from './geometry.js';
import { inputName, maxTimeSteps, type SnnLayer, type SpikingModel, type Synapse } from './model.js';

export const int32Max = 2 ** 31 - 1;
const int32Min = -(2 ** 31);
/** Largest magnitude of a pixel of the analog input, int16. */
export const maxPixel = 32768;

/** What bounds the sums of one output channel of one synapse. */
export interface ChannelWeights {
  /** Sums of the negative and of the positive integer weights; 0 and 1 for an identity. */
  readonly negative: number;
  readonly positive: number;
  readonly poolArea: number;
  readonly analog: boolean;
  readonly multiplier: number;
  readonly shift: number;
}

/** What bounds the potential of one channel of a layer; a read-out has no threshold and starts at 0. */
export interface ChannelSums {
  readonly synapses: readonly ChannelWeights[];
  readonly bias: number;
  readonly threshold: number;
  readonly initialPotential: number;
}

/** Smallest and largest value of any partial sum of some integers; low <= 0 <= high. */
interface Range {
  readonly low: number;
  readonly high: number;
}

/**
 * Most time steps, at most 1,024, for which no product, current or membrane of one channel can leave int32, whatever the
 * image and the order of the additions, and with no credit given for resets; 0 if a single step can.
 */
export function timeStepsWithinInt32({ synapses, bias, threshold, initialPotential }: ChannelSums): number {
  let low = Math.min(0, bias);
  let high = Math.max(0, bias);
  for (const synapse of synapses) {
    const product = productRange(synapse);
    if (!fitsInt32(product)) return 0;
    low += Math.floor(product.low / 2 ** synapse.shift);
    high += Math.floor(product.high / 2 ** synapse.shift);
  }
  if (!fitsInt32({ low, high })) return 0;
  const roomAbove = int32Max - Math.max(0, initialPotential);
  const roomBelow = int32Min - Math.min(0, initialPotential) + threshold;
  const up = high === 0 ? maxTimeSteps : Math.floor(roomAbove / high);
  const down = low === 0 ? maxTimeSteps : Math.floor(roomBelow / low);
  return Math.max(0, Math.min(maxTimeSteps, up, down));
}

/**
 * Worst case of acc * multiplier + rounding, before the shift, over all spikes or pixels there can be. A window of n
 * spikes adds up to n times a weight.
 */
function productRange({ negative, positive, poolArea: area, analog, multiplier, shift }: ChannelWeights): Range {
  const magnitude = (positive - negative) * maxPixel;
  const half = shift > 0 ? 2 ** (shift - 1) : 0;
  return {
    low: (analog ? -magnitude : negative) * area * multiplier,
    high: (analog ? magnitude : positive) * area * multiplier + half,
  };
}

function fitsInt32({ low, high }: Range): boolean {
  return low >= int32Min && high <= int32Max;
}

function channelWeights(synapse: Synapse, channel: number): ChannelWeights {
  const base = {
    poolArea: poolArea(synapse),
    analog: synapse.source === inputName,
    multiplier: synapse.multiplier[channel]!,
    shift: synapse.shift,
  };
  if (synapse.kind === 'identity') return { ...base, negative: 0, positive: 1 };
  const fanIn = synapse.weight.length / synapse.multiplier.length;
  return { ...base, ...signedSums(synapse.weight.subarray(channel * fanIn, (channel + 1) * fanIn)) };
}

/** Sums of the negative and of the positive numbers of `values`. */
export function signedSums(values: ArrayLike<number>): { readonly negative: number; readonly positive: number } {
  let negative = 0;
  let positive = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value < 0) negative += value;
    else positive += value;
  }
  return { negative, positive };
}

/** {@link timeStepsWithinInt32} of one channel of a layer. */
export function channelTimeSteps(layer: SnnLayer, channel: number): number {
  if (layer.kind === 'maxPool') return maxTimeSteps;
  return timeStepsWithinInt32({
    synapses: layer.synapses.map((synapse) => channelWeights(synapse, channel)),
    bias: layer.bias[channel]!,
    threshold: layer.kind === 'spiking' ? layer.threshold[channel]! : 0,
    initialPotential: layer.kind === 'spiking' ? layer.initialPotential[channel]! : 0,
  });
}

/**
 * Most time steps, at most 1,024, for which no sum of the model can leave int32, whatever the image: a bound from the
 * integer weights alone. 0 if a single step can overflow.
 */
export function largestTimeSteps(model: SpikingModel): number {
  let timeSteps = maxTimeSteps;
  for (const layer of model.layers) {
    for (let c = 0; c < layer.shape[0]!; c++) timeSteps = Math.min(timeSteps, channelTimeSteps(layer, c));
  }
  return timeSteps;
}
