import { maxPixel, signedSums, timeStepsWithinInt32, type ChannelSums } from '../snn/bounds.js';
import { poolArea } from '../snn/geometry.js';
import { inputName } from '../snn/model.js';
import type { FoldedReadout, FoldedSpiking } from './folded.js';

/** The real numbers of one synapse of one output channel. */
export interface ChannelSynapse {
  /** Weights of a convolution; undefined for an identity. */
  readonly weights: Float64Array | undefined;
  /** Gain of an identity. */
  readonly gain: number;
  /** Largest magnitude of a weight; 0 for an identity. */
  readonly largestWeight: number;
  /** Worst-case magnitude of what the synapse adds in one step. */
  readonly worstCurrent: number;
  readonly poolArea: number;
  /** Largest value the source can have: 1 spike, or the largest pixel of the int16 input. */
  readonly largestSource: number;
  /** Source value of 1 in integers: 1 for a spike, 1 / input.scale for a pixel. */
  readonly sourceUnit: number;
  readonly analog: boolean;
  readonly shift: number;
}

/** One output channel of a layer: everything needed to choose its unit and its integers. */
export interface Channel {
  readonly synapses: readonly ChannelSynapse[];
  readonly bias: number;
  /** theta; 0 for a class of the read-out. */
  readonly threshold: number;
  readonly initialPotential: number;
}

/** Integers as float64, so that one that does not fit int32 is seen and not wrapped. */
export interface IntegerChannel {
  readonly unit: number;
  readonly bias: number;
  readonly threshold: number;
  readonly initialPotential: number;
  readonly synapses: readonly { readonly multiplier: number; readonly weights: Float64Array | undefined }[];
}

export function channelOf(layer: FoldedSpiking | FoldedReadout, c: number, inputScale: number): Channel {
  const synapses = layer.synapses.map((synapse): ChannelSynapse => {
    const analog = synapse.source === inputName;
    const sourceUnit = analog ? 1 / inputScale : 1;
    const largestSource = analog ? maxPixel * sourceUnit : 1;
    const area = poolArea(synapse);
    const base = { poolArea: area, analog, sourceUnit, largestSource, shift: 0 };
    if (synapse.kind === 'identity') {
      const gain = synapse.gain[c]!;
      return { ...base, weights: undefined, gain, largestWeight: 0, worstCurrent: gain * area * largestSource };
    }
    const fanIn = synapse.weight.length / layer.shape[0]!;
    const weights = synapse.weight.subarray(c * fanIn, (c + 1) * fanIn);
    const { negative, positive } = signedSums(weights);
    const worst = analog ? positive - negative : Math.max(positive, -negative);
    return { ...base, weights, gain: 0, largestWeight: largestMagnitude(weights), worstCurrent: worst * area * largestSource };
  });
  if (layer.kind === 'readout') return { synapses, bias: layer.bias[c]!, threshold: 0, initialPotential: 0 };
  return { synapses, bias: layer.bias[c]!, threshold: layer.threshold[c]!, initialPotential: layer.initialPotential[c]! };
}

function largestMagnitude(values: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i]!));
  return largest;
}

/** The channel with the shift of each synapse behind the input. */
export function withShifts(channel: Channel, shifts: readonly number[]): Channel {
  return { ...channel, synapses: channel.synapses.map((synapse, i) => ({ ...synapse, shift: shifts[i]! })) };
}

/**
 * Current that an integer sum of 1 gives at multiplier 1, in real units of weight: a weight scale S is an integer
 * multiple of it, so that S = multiplier * grid exactly.
 */
export function weightGrid({ sourceUnit, shift }: ChannelSynapse, unit: number): number {
  return unit / (sourceUnit * 2 ** shift);
}

/** Scale at which the largest weight is the largest integer, `limit`: the finest without clipping. */
export function finestScale({ largestWeight }: ChannelSynapse, limit: number): number {
  return largestWeight / limit;
}

/**
 * The whole multiple of the grid, at least 1, for a finest scale of `ratio` grids: the nearest at which the largest weight
 * still rounds to `limit` or less.
 */
export function wholeMultiple(ratio: number, limit: number): number {
  const least = Math.ceil((ratio * limit) / (limit + 0.49));
  return Math.max(1, least, Math.round(ratio));
}

/** Rounds a channel to integers of one unit of potential. `limit`: largest weight. */
export function roundChannel(channel: Channel, unit: number, limit: number): IntegerChannel {
  const threshold = Math.round(channel.threshold / unit);
  return {
    unit,
    bias: Math.round(channel.bias / unit),
    threshold,
    initialPotential: Math.round(channel.initialPotential / unit),
    synapses: channel.synapses.map((synapse) => roundSynapse(synapse, unit, limit)),
  };
}

function roundSynapse(synapse: ChannelSynapse, unit: number, limit: number): IntegerChannel['synapses'][number] {
  const grid = weightGrid(synapse, unit);
  if (!synapse.weights) return { multiplier: Math.max(1, Math.round(synapse.gain / grid)), weights: undefined };
  const multiplier = wholeMultiple(finestScale(synapse, limit) / grid, limit);
  const scale = multiplier * grid;
  const weights = synapse.weights.map((w) => Math.max(-limit, Math.min(limit, Math.round(w / scale))));
  return { multiplier, weights };
}

/** Most time steps for which the integers cannot leave int32. */
export function channelLimit(channel: Channel, integers: IntegerChannel): number {
  const sums: ChannelSums = {
    bias: integers.bias,
    threshold: integers.threshold,
    initialPotential: integers.initialPotential,
    synapses: integers.synapses.map(({ multiplier, weights }, i) => {
      const { poolArea, analog, shift } = channel.synapses[i]!;
      const signed = weights ? signedSums(weights) : { negative: 0, positive: 1 };
      return { ...signed, poolArea, analog, multiplier, shift };
    }),
  };
  return timeStepsWithinInt32(sums);
}

/**
 * Bound of what the rounding of bias, threshold, initial potential and identities, and the shift behind the input, move
 * a membrane in `timeSteps` steps, as a fraction of the threshold. The rounding of weights is apart: it is a property of
 * the weights, not of the potential.
 */
export function membraneError(channel: Channel, integers: IntegerChannel, timeSteps: number): number {
  const { unit } = integers;
  let perStep = Math.abs(integers.bias * unit - channel.bias) + Math.abs(integers.threshold * unit - channel.threshold);
  integers.synapses.forEach(({ multiplier, weights }, i) => {
    const synapse = channel.synapses[i]!;
    if (!weights) {
      const gainError = Math.abs(multiplier * weightGrid(synapse, unit) - synapse.gain);
      perStep += gainError * synapse.poolArea * synapse.largestSource;
    }
    if (synapse.shift > 0) perStep += unit / 2;
  });
  const initial = Math.abs(integers.initialPotential * unit - channel.initialPotential);
  return (timeSteps * perStep + initial) / channel.threshold;
}
