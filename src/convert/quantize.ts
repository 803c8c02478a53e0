import type { Normalization } from '../data/dataset.js';
import { int32Max } from '../snn/bounds.js';
import { inputName, type MaxPoolLayer, type SnnLayer, type SpikingModel, type Synapse } from '../snn/model.js';
import {
  channelLimit,
  channelOf,
  finestScale,
  membraneError,
  roundChannel,
  weightGrid,
  wholeMultiple,
  withShifts,
  type Channel,
  type IntegerChannel,
} from './channel.js';
import { conversionError } from './current.js';
import type { FoldedNetwork, FoldedReadout, FoldedSpiking, FoldedSynapse } from './folded.js';

type WeightedLayer = FoldedSpiking | FoldedReadout;

export const weightTypes = ['int7', 'int8', 'int16'] as const;
export type WeightType = (typeof weightTypes)[number];

const largestWeight: Record<WeightType, number> = { int7: 63, int8: 127, int16: 32767 };
const storedAs = { int7: Int8Array, int8: Int8Array, int16: Int16Array } as const;
/** Most that rounding may move a membrane over all time steps, as a fraction of the threshold. */
export const membraneTolerance = 0.01;
/** Units of potential a threshold has where nothing asks for more, and at most. */
const usualThreshold = 2 ** 16;
const largestThreshold = 2 ** 22;
/** Multiples of the grid that are tried for a channel of several convolutions. */
const mostMultiples = 256;
/** Room for the rounding of weights where a bound is taken from real weights. */
const roundingSlack = 1.05;

export interface QuantizeOptions {
  readonly weights: WeightType;
  /** Steps that must not overflow int32 and for which `membraneTolerance` holds. */
  readonly timeSteps: number;
}

export interface QuantizedLayer {
  readonly layer: SnnLayer;
  /** rms of what rounding changes the weights by, relative to the rms of the weights; 0 without weights. */
  readonly weightError: number;
  /** Worst channel, as a fraction of the threshold over all time steps; 0 for the read-out. */
  readonly membraneError: number;
}

export interface QuantizedNetwork {
  readonly inputScale: number;
  readonly layers: readonly QuantizedLayer[];
}

/** Rounds a folded network to the integers of a spiking model. @throws NoisefloorError CONVERSION if int32 is too narrow. */
export function quantize(network: FoldedNetwork, options: QuantizeOptions): QuantizedNetwork {
  const inputScale = chooseInputScale(network.normalization);
  return { inputScale, layers: network.layers.map((layer) => (layer.kind === 'maxPool' ? unrounded(layer) : quantizeLayer(layer, inputScale, options))) };
}

/** The spiking model of a quantised network. */
export function assembleModel(
  { inputShape, normalization, classes }: FoldedNetwork,
  { inputScale, layers }: QuantizedNetwork,
  name: string,
  provenance: SpikingModel['provenance'],
): SpikingModel {
  const input = { shape: inputShape, normalization, scale: inputScale };
  return { name, input, layers: layers.map(({ layer }) => layer), classes, provenance };
}

/** Largest power of two at which every pixel from 0 to 255 fits int16 after normalisation. */
function chooseInputScale({ mean, std }: Normalization): number {
  const extremes = mean.flatMap((m, c) => [Math.abs(m / std[c]!), Math.abs((1 - m) / std[c]!)]);
  return 2 ** Math.floor(Math.log2(32767 / Math.max(...extremes)));
}

function unrounded(layer: MaxPoolLayer): QuantizedLayer {
  return { layer, weightError: 0, membraneError: 0 };
}

function quantizeLayer(layer: WeightedLayer, inputScale: number, options: QuantizeOptions): QuantizedLayer {
  const limit = largestWeight[options.weights];
  const draft = Array.from({ length: layer.shape[0]! }, (_, c) => channelOf(layer, c, inputScale));
  const shifts = chooseShifts(layer, draft, limit, options.timeSteps);
  const channels = draft.map((channel) => withShifts(channel, shifts));
  const integers =
    layer.kind === 'readout'
      ? roundReadout(layer.name, channels, limit, options.timeSteps)
      : channels.map((channel, c) => roundNeurons(layer.name, c, channel, limit, options.timeSteps));
  const errors = layer.kind === 'readout' ? [0] : channels.map((c, i) => membraneError(c, integers[i]!, options.timeSteps));
  return {
    layer: assembleLayer(layer, integers, shifts, options.weights),
    weightError: weightError(channels, integers),
    membraneError: Math.max(...errors),
  };
}

/** Units in a threshold that rounding asks for, before int32 is asked. */
function wantedThreshold(channel: Channel, limit: number, timeSteps: number): number {
  const scales = channel.synapses.map((s) => (s.analog ? 0 : finestScale(s, limit))).filter((scale) => scale > 0);
  const forWeights = scales.length > 0 ? channel.threshold / Math.min(...scales) : 0;
  const wanted = Math.max(usualThreshold, leastThreshold(channel, timeSteps), Math.min(forWeights, usualThreshold * 16));
  return Math.min(wanted, largestThreshold);
}

/**
 * Units a threshold must have so that rounding moves a membrane by less than 1 % of it in T steps. With theta = N units
 * and N even, threshold and initial potential are exact. Each step errs by at most 1/2 unit for the bias, 1/2 unit for
 * each spike an identity passes (as many as its pool's area), and 1/2 unit for the shift behind the input, so over T
 * steps by T / 2 * (1 + areas + shifts) units, and that is at most N / 100 if N >= 50 T (1 + areas + shifts): 3,200 for
 * a plain convolution at T = 64, 6,400 with a residual connection.
 */
function leastThreshold(channel: Channel, timeSteps: number): number {
  let roundings = 1;
  for (const { weights, poolArea, analog } of channel.synapses) {
    if (analog) roundings += 1;
    else if (!weights) roundings += poolArea;
  }
  return Math.ceil((timeSteps / 2 / membraneTolerance) * roundings);
}

/** Units in a threshold that int32 leaves room for, from the real weights; the integers are checked afterwards. */
function roomForThreshold(channel: Channel, timeSteps: number): number {
  const { threshold, synapses } = channel;
  const current = synapses.reduce((sum, synapse) => sum + synapse.worstCurrent, Math.abs(channel.bias));
  const forMembrane = (int32Max * threshold) / (timeSteps * current + threshold + Math.abs(channel.initialPotential));
  const products = synapses.map((synapse) => synapse.worstCurrent * 2 ** synapse.shift * roundingSlack);
  return Math.min(forMembrane, (int32Max * threshold) / Math.max(...products));
}

/**
 * For each analog synapse, the shift: the larger, the finer the grid of its weight scales, but products must fit int32.
 * It starts as large as the wanted units of all channels allow. If that is too coarse for the middle channel, because one
 * channel is far stronger than the rest, it grows, and the strong ones take coarser units.
 */
function chooseShifts(layer: WeightedLayer, channels: readonly Channel[], limit: number, timeSteps: number): number[] {
  const wanted = unitsOf(channels, timeSteps, (channel) => {
    return Math.min(wantedThreshold(channel, limit, timeSteps), roomForThreshold(channel, timeSteps));
  });
  const coarsest = unitsOf(channels, timeSteps, (channel) => leastThreshold(channel, timeSteps));
  return layer.synapses.map((synapse, i) => {
    if (synapse.source !== inputName) return 0;
    const free = shiftRoom(channels, i, wanted);
    const needed = shiftNeeded(channels, i, wanted);
    return Math.max(0, Math.min(30, Math.max(free, Math.min(needed, shiftRoom(channels, i, coarsest)))));
  });
}

/** Units of potential in real numbers: theta by its units, or the one unit of a read-out. */
function unitsOf(channels: readonly Channel[], timeSteps: number, thresholdUnits: (channel: Channel) => number): number[] {
  if (channels[0]!.threshold === 0) return channels.map(() => readoutUnit(channels, timeSteps));
  return channels.map((channel) => channel.threshold / thresholdUnits(channel));
}

function shiftRoom(channels: readonly Channel[], i: number, units: readonly number[]): number {
  const currents = channels.map(({ synapses }, c) => synapses[i]!.worstCurrent / units[c]!);
  return Math.floor(Math.log2(int32Max / (roundingSlack * Math.max(1, ...currents))));
}

/** Shift at which the middle channel's grid is an eighth of the scale of its weights in 8 bits. */
function shiftNeeded(channels: readonly Channel[], i: number, units: readonly number[]): number {
  const ratios = channels.flatMap(({ synapses }, c) => {
    const scale = finestScale(synapses[i]!, largestWeight.int8);
    return scale > 0 ? [weightGrid(synapses[i]!, units[c]!) / scale] : [];
  });
  ratios.sort((a, b) => a - b);
  return ratios.length === 0 ? 0 : Math.ceil(Math.log2(8 * ratios[Math.floor(ratios.length / 2)]!));
}

function roundNeurons(name: string, c: number, channel: Channel, limit: number, timeSteps: number): IntegerChannel {
  const least = leastThreshold(channel, timeSteps);
  let units = Math.min(wantedThreshold(channel, limit, timeSteps), roomForThreshold(channel, timeSteps));
  for (; units >= least; units /= 1.1) {
    const unit = channel.threshold / alignThreshold(channel, evenBelow(units), least, limit);
    const integers = roundChannel(channel, unit, limit);
    const fits = channelLimit(channel, integers) >= timeSteps;
    if (fits && membraneError(channel, integers, timeSteps) <= membraneTolerance) return integers;
  }
  throw tooNarrow(name, `channel ${c}`, timeSteps);
}

/**
 * The units of a threshold, at most `units`, at which the finest scale of a convolution is a whole multiple of its grid:
 * so its weights use their whole range, and weights trained as integers stay those integers. Of several convolutions, the
 * one that would lose most is aligned, at the multiple at which the others lose least.
 */
function alignThreshold(channel: Channel, units: number, least: number, limit: number): number {
  const unit = channel.threshold / units;
  const ratios = channel.synapses.map((synapse) => finestScale(synapse, limit) / weightGrid(synapse, unit)).filter((r) => r >= 1);
  const ratio = Math.min(...ratios);
  if (!Number.isFinite(ratio)) return units;
  const multiples = ratios.length > 1 ? mostMultiples : 1;
  let [best, bestLoss] = [units, Infinity];
  for (let multiple = Math.floor(ratio); multiple > Math.max(0, Math.floor(ratio) - multiples); multiple--) {
    const aligned = evenBelow((units * multiple) / ratio);
    if (aligned < Math.max(least, units / 2)) break;
    const loss = Math.max(...ratios.map((r) => r * (aligned / units)).map((r) => Math.abs(wholeMultiple(r, limit) / r - 1)));
    if (loss < bestLoss) [best, bestLoss] = [aligned, loss];
  }
  return best;
}

/** Even, so that theta / 2 is a whole number; 1e-9 against float64 rounding. */
function evenBelow(x: number): number {
  return 2 * Math.floor(x / 2 + 1e-9);
}

function readoutUnit(channels: readonly Channel[], timeSteps: number): number {
  const currents = channels.map((channel) => channel.synapses.reduce((sum, s) => sum + s.worstCurrent, Math.abs(channel.bias)));
  const largest = Math.max(...currents);
  return largest > 0 ? (roundingSlack * timeSteps * largest) / int32Max : 1;
}

/** One unit for all classes, as fine as the worst of them leaves room for. */
function roundReadout(name: string, channels: readonly Channel[], limit: number, timeSteps: number): IntegerChannel[] {
  let unit = readoutUnit(channels, timeSteps);
  for (let attempt = 0; attempt < 100; attempt++, unit *= 1.1) {
    const integers = channels.map((channel) => roundChannel(channel, unit, limit));
    if (channels.every((channel, c) => channelLimit(channel, integers[c]!) >= timeSteps)) return integers;
  }
  throw tooNarrow(name, 'a class', timeSteps);
}

function tooNarrow(node: string, channel: string, timeSteps: number): Error {
  const why = `the largest current of ${channel} is so strong that int32 cannot hold ${timeSteps} time steps precisely enough`;
  const remedy =
    'Convert for fewer time steps (option timeSteps, --max-time-steps), or train with weight decay and look for a batch norm variance near 0.';
  return conversionError(node, why, remedy);
}

function assembleLayer(layer: WeightedLayer, integers: readonly IntegerChannel[], shifts: readonly number[], type: WeightType): SnnLayer {
  const { name, shape, start } = layer;
  const base = {
    name,
    shape,
    ...(start !== undefined && { start }),
    synapses: layer.synapses.map((synapse, i) => assembleSynapse(synapse, i, integers, shifts[i]!, type)),
    bias: Int32Array.from(integers, ({ bias }) => bias),
    unit: Float64Array.from(integers, ({ unit }) => unit),
  };
  if (layer.kind === 'readout') return { ...base, kind: 'readout' };
  return {
    ...base,
    kind: 'spiking',
    threshold: Int32Array.from(integers, ({ threshold }) => threshold),
    initialPotential: Int32Array.from(integers, ({ initialPotential }) => initialPotential),
  };
}

function assembleSynapse(synapse: FoldedSynapse, i: number, integers: readonly IntegerChannel[], shift: number, type: WeightType): Synapse {
  const { source, pool, stride } = synapse;
  const multiplier = Int32Array.from(integers, ({ synapses }) => synapses[i]!.multiplier);
  const base = { source, ...(pool && { pool }), stride, shift, multiplier };
  if (synapse.kind === 'identity') return { ...base, kind: 'identity' };
  const { kernel, padding, groups } = synapse;
  const weight = new storedAs[type](synapse.weight.length);
  integers.forEach(({ synapses }, c) => weight.set(synapses[i]!.weights!, (c * weight.length) / integers.length));
  return { ...base, kind: 'conv2d', kernel, padding, groups, weight };
}

function weightError(channels: readonly Channel[], integers: readonly IntegerChannel[]): number {
  let squaredError = 0;
  let squaredWeight = 0;
  channels.forEach(({ synapses }, c) => {
    const { unit, synapses: rounded } = integers[c]!;
    synapses.forEach((synapse, i) => {
      const { multiplier, weights } = rounded[i]!;
      if (!synapse.weights || !weights) return;
      const scale = multiplier * weightGrid(synapse, unit);
      for (let k = 0; k < weights.length; k++) {
        const w = synapse.weights[k]!;
        squaredError += (w - weights[k]! * scale) ** 2;
        squaredWeight += w ** 2;
      }
    });
  });
  return squaredWeight === 0 ? 0 : Math.sqrt(squaredError / squaredWeight);
}
